//! The directory as plain data: who a username is, who holds a role, who vouches for whom, who decides for whom, and what is
//! wrong with an entry.
//!
//! Pure: a [`Snapshot`] is built from the specs of Identities, `BusinessRoles`, Delegations and `BusinessCalendars` and never
//! changes. It may not do IO and knows no clock: every question about validity takes the moment. Called by [`crate::engine`] and
//! by the directory's controllers.
//!
//! - this file: people and the roles that they hold
//! - `contact`: how they are reached
//! - `relations`: managers, guarantors, attributes
//! - [`delegations`]: standing substitutes
//! - `likeness`: names that look alike

mod contact;
pub mod delegations;
mod likeness;
pub use contact::Contact;
pub use likeness::looks;
mod relations;

use crate::api::{BusinessRoleSpec, DelegationSpec, IdentitySpec, Member};
use crate::calendar::Calendar;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All people and roles at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    people: BTreeMap<String, IdentitySpec>,
    roles: BTreeMap<String, Role>,
    /// Which Identities claim a username, as username or alias.
    claims: HashMap<String, BTreeSet<String>>,
    /// Which Identities have a username that looks like this.
    faces: HashMap<String, BTreeSet<String>>,
    /// Which roles list a role among their subroles.
    superiors: HashMap<String, BTreeSet<String>>,
    /// In the order in which they were made.
    delegations: Vec<Standing>,
    calendars: BTreeMap<String, Result<Calendar, Vec<String>>>,
}

#[derive(Debug)]
struct Role {
    spec: BusinessRoleSpec,
    /// A person may be listed several times, for several periods.
    members: BTreeMap<String, Vec<Member>>,
}

/// A standing delegation whose principal is proven.
#[derive(Clone, Debug)]
pub struct Standing {
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
    /// metadata.creationTimestamp in seconds.
    pub created_at: i64,
    /// The spec.
    pub spec: DelegationSpec,
}

/// What the directory says of a username.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup<'a> {
    /// No Identity claims it: the person is known to Kubernetes alone.
    Unknown,
    /// This Identity does, and it counts.
    Known(&'a str),
    /// This Identity does, but it is inactive, or not valid at that moment.
    Inactive(&'a str),
    /// Several Identities claim it: none of them counts.
    Contested,
}

impl Snapshot {
    /// The directory of these Identities and roles, by metadata.name.
    pub fn new<'a>(
        identities: impl IntoIterator<Item = (&'a str, &'a IdentitySpec)>,
        roles: impl IntoIterator<Item = (&'a str, &'a BusinessRoleSpec)>,
    ) -> Self {
        let mut snapshot = Self::default();
        for (name, spec) in identities {
            for username in usernames(spec) {
                snapshot.claims.entry(username.to_owned()).or_default().insert(name.to_owned());
                snapshot.faces.entry(looks(username)).or_default().insert(name.to_owned());
            }
            snapshot.people.insert(name.to_owned(), spec.clone());
        }
        for (name, spec) in roles {
            for subrole in &spec.subroles {
                snapshot.superiors.entry(subrole.clone()).or_default().insert(name.to_owned());
            }
            let mut members: BTreeMap<String, Vec<Member>> = BTreeMap::new();
            for member in &spec.members {
                members.entry(member.identity.clone()).or_default().push(member.clone());
            }
            snapshot.roles.insert(name.to_owned(), Role { spec: spec.clone(), members });
        }
        snapshot
    }

    /// The same with standing delegations: those alone whose principal is proven.
    #[must_use]
    pub fn with_delegations(mut self, delegations: impl IntoIterator<Item = Standing>) -> Self {
        self.delegations = delegations.into_iter().collect();
        self.delegations.sort_by(|a, b| (a.created_at, &a.uid).cmp(&(b.created_at, &b.uid)));
        self
    }

    /// The same with business calendars, by metadata.name.
    #[must_use]
    pub fn with_calendars(
        mut self,
        calendars: impl IntoIterator<Item = (String, Result<Calendar, Vec<String>>)>,
    ) -> Self {
        self.calendars = calendars.into_iter().collect();
        self
    }

    /// The calendar of that name.
    ///
    /// # Errors
    /// There is none, or it cannot be used: what to do.
    pub fn calendar(&self, name: &str) -> Result<&Calendar, String> {
        match self.calendars.get(name) {
            Some(Ok(calendar)) => Ok(calendar),
            Some(Err(faults)) => Err(format!("BusinessCalendar {name} cannot be used: {}", faults.join("; "))),
            None => Err(format!("there is no BusinessCalendar {name}; create it or name another one")),
        }
    }

    /// Who a username is.
    #[must_use]
    pub fn look_up(&self, username: &str, now: Timestamp) -> Lookup<'_> {
        let Some(claims) = self.claims.get(username) else {
            return Lookup::Unknown;
        };
        match claims.first() {
            Some(name) if claims.len() == 1 && !self.is_contested(name) => {
                if self.counts(name, now) {
                    Lookup::Known(name)
                } else {
                    Lookup::Inactive(name)
                }
            }
            _ => Lookup::Contested,
        }
    }

    /// The Identity that a username belongs to, whether or not it counts now; none while several claim it.
    #[must_use]
    pub fn identity_of(&self, username: &str) -> Option<&str> {
        match self.claims.get(username) {
            Some(claims) if claims.len() == 1 => claims.first().map(String::as_str),
            _ => None,
        }
    }

    /// One key per person: the Identity where there is one, else the username.
    #[must_use]
    pub fn person(&self, username: &str) -> String {
        self.identity_of(username).map_or_else(|| format!("user {username}"), Self::identified)
    }

    /// The key of the person behind an Identity.
    #[must_use]
    pub fn identified(identity: &str) -> String {
        format!("identity {identity}")
    }

    /// The username that people mean by a name: that of the Identity of this metadata.name, else the name itself.
    #[must_use]
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.username(name).unwrap_or(name)
    }

    /// The username of whom a request is about: a username that somebody has, else that of the Identity of this metadata.name, else
    /// the name itself.
    #[must_use]
    pub fn subject<'a>(&'a self, name: &'a str) -> &'a str {
        if self.claims.contains_key(name) { name } else { self.resolve(name) }
    }

    /// Whether two usernames are one person, as far as the directory knows.
    #[must_use]
    pub fn same_person(&self, one: &str, other: &str) -> bool {
        one == other || self.claims.get(one).zip(self.claims.get(other)).is_some_and(|(a, b)| !a.is_disjoint(b))
    }

    /// The username of an Identity.
    #[must_use]
    pub fn username(&self, identity: &str) -> Option<&str> {
        self.people.get(identity).map(|person| person.username.as_str())
    }

    /// Whether there is a role of that name.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// Whether the Identity holds the role: a valid member of it or of a superior role (semantics.md 1).
    #[must_use]
    pub fn holds(&self, role: &str, identity: &str, now: Timestamp) -> bool {
        self.counts(identity, now)
            && self.with_superiors(role).iter().any(|role| {
                self.roles
                    .get(*role)
                    .and_then(|role| role.members.get(identity))
                    .is_some_and(|periods| valid(periods, now))
            })
    }

    /// The Identities that hold the role, each once.
    #[must_use]
    pub fn holders(&self, role: &str, now: Timestamp) -> BTreeSet<&str> {
        self.with_superiors(role)
            .into_iter()
            .filter_map(|role| self.roles.get(role))
            .flat_map(|role| role.members.iter())
            .filter(|(identity, periods)| valid(periods, now) && self.counts(identity, now))
            .map(|(identity, _)| identity.as_str())
            .collect()
    }

    /// The Kubernetes groups whose members hold the role, through superior roles too.
    #[must_use]
    pub fn role_groups(&self, role: &str) -> BTreeSet<&str> {
        self.with_superiors(role)
            .into_iter()
            .filter_map(|role| self.roles.get(role))
            .flat_map(|role| role.spec.groups.iter().map(String::as_str))
            .collect()
    }

    /// The next moment at which a validity begins or ends: somebody comes or goes then although nothing was edited.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let people = self.people.values().flat_map(|person| [&person.valid_from, &person.valid_until]);
        let members = self.roles.values().flat_map(|role| role.members.values().flatten());
        let members = members.flat_map(|member| [&member.valid_from, &member.valid_until]);
        let delegations = self.delegations.iter().flat_map(|standing| [&standing.spec.from, &standing.spec.until]);
        people.chain(members).chain(delegations).flatten().map(|time| time.0).filter(|time| *time > now).min()
    }

    /// What is wrong with an Identity, empty when nothing is.
    #[must_use]
    pub fn identity_faults(&self, name: &str) -> Vec<String> {
        let Some(person) = self.people.get(name) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for username in usernames(person) {
            let others: Vec<_> =
                self.claims.get(username).into_iter().flatten().filter(|other| *other != name).collect();
            if let Some(other) = others.first() {
                let field = if username == person.username { "spec.username" } else { "spec.aliases" };
                faults.push(format!(
                    "{field}: {username} is also claimed by Identity {other}; neither counts until only one claims it"
                ));
            }
        }
        for (field, named) in [("managers", &person.managers), ("guarantors", &person.guarantors)] {
            for missing in named.iter().filter(|named| !self.people.contains_key(*named)) {
                faults.push(format!("spec.{field}: there is no Identity {missing}; it counts as soon as it exists"));
            }
        }
        if backwards(person.valid_from.as_ref(), person.valid_until.as_ref()) {
            faults.push("spec.validUntil: is before spec.validFrom, so the person never counts".to_owned());
        }
        faults
    }

    /// What is wrong with a role, empty when nothing is. Cycles are harmless, and no fault.
    #[must_use]
    pub fn role_faults(&self, name: &str) -> Vec<String> {
        let Some(role) = self.roles.get(name) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for (identity, periods) in &role.members {
            if !self.people.contains_key(identity) {
                faults.push(format!("spec.members: there is no Identity {identity}; it counts as soon as it exists"));
            }
            if periods.iter().any(|member| backwards(member.valid_from.as_ref(), member.valid_until.as_ref())) {
                faults.push(format!(
                    "spec.members: validUntil of {identity} is before validFrom, so the membership never counts"
                ));
            }
        }
        for subrole in role.spec.subroles.iter().filter(|subrole| !self.roles.contains_key(*subrole)) {
            faults.push(format!("spec.subroles: there is no BusinessRole {subrole}"));
        }
        for guarantor in &role.spec.guarantors {
            if let Some(missing) = guarantor.identity.as_ref().filter(|name| !self.people.contains_key(*name)) {
                faults.push(format!("spec.guarantors: there is no Identity {missing}; it counts as soon as it exists"));
            }
            if let Some(missing) = guarantor.role.as_ref().filter(|name| !self.roles.contains_key(*name)) {
                faults.push(format!(
                    "spec.guarantors: there is no BusinessRole {missing}; it counts as soon as it exists"
                ));
            }
        }
        faults
    }

    /// The role and every role above it.
    fn with_superiors<'a>(&'a self, role: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([role]);
        let mut open = vec![role];
        while let Some(role) = open.pop() {
            for superior in self.superiors.get(role).into_iter().flatten() {
                if found.insert(superior) {
                    open.push(superior);
                }
            }
        }
        found
    }

    /// Whether a person counts at all: active, valid, and the only one to claim each of their usernames.
    fn counts(&self, identity: &str, now: Timestamp) -> bool {
        self.people.get(identity).is_some_and(|person| {
            person.active
                && within(person.valid_from.as_ref(), person.valid_until.as_ref(), now)
                && !self.is_contested(identity)
        })
    }

    fn is_contested(&self, identity: &str) -> bool {
        self.people.get(identity).is_some_and(|person| {
            usernames(person).any(|username| self.claims.get(username).is_some_and(|claims| claims.len() > 1))
        })
    }
}

fn usernames(person: &IdentitySpec) -> impl Iterator<Item = &str> {
    std::iter::once(person.username.as_str()).chain(person.aliases.iter().map(String::as_str))
}

fn valid(periods: &[Member], now: Timestamp) -> bool {
    periods.iter().any(|member| within(member.valid_from.as_ref(), member.valid_until.as_ref(), now))
}

fn within(from: Option<&Time>, until: Option<&Time>, now: Timestamp) -> bool {
    from.is_none_or(|from| from.0 <= now) && until.is_none_or(|until| now < until.0)
}

fn backwards(from: Option<&Time>, until: Option<&Time>) -> bool {
    from.zip(until).is_some_and(|(from, until)| until.0 <= from.0)
}
