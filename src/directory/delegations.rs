//! Standing substitutes: who decides for whom at a moment (semantics.md 5).
//!
//! A chain of delegations is followed [`MAX_DEPTH`] far. The delegation that would close a loop, the youngest of it, does not
//! count while the others do.

use super::{Lookup, Snapshot, Standing, within};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The longest chain of delegations.
pub const MAX_DEPTH: usize = 5;

/// Usernames of `ServiceAccounts` begin so.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The delegations that count at one moment.
#[derive(Debug, Default)]
pub struct Substitutions<'a> {
    /// Delegate → principals.
    principals: BTreeMap<String, Vec<Edge<'a>>>,
    refused: BTreeMap<&'a str, String>,
}

#[derive(Debug)]
struct Edge<'a> {
    /// The username of the delegate.
    delegate: &'a str,
    principal: String,
    standing: &'a Standing,
}

/// Somebody for whom a delegate decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal<'a> {
    /// The key of the person.
    pub person: String,
    /// The username that made the delegation.
    pub username: &'a str,
    /// For what: each list that is not empty must name the role.
    pub roles: Vec<&'a [String]>,
}

impl Principal<'_> {
    /// Whether the delegation covers what somebody holds through this role; none: through something else.
    #[must_use]
    pub fn covers(&self, role: Option<&str>) -> bool {
        self.roles.iter().all(|roles| role.is_some_and(|role| roles.iter().any(|covered| covered == role)))
    }
}

impl Substitutions<'_> {
    /// Everybody for whom this person decides, nearest first; once for each set of roles. Nobody is reached past somebody who
    /// may not decide: whoever asked for something cannot name who decides it instead of them.
    #[must_use]
    pub fn principals(&self, delegate: &str, may_decide: impl Fn(&str) -> bool) -> Vec<Principal<'_>> {
        let mut found: Vec<Principal<'_>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut level = vec![(delegate.to_owned(), Vec::new())];
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for (person, roles) in level {
                for edge in self.principals.get(&person).into_iter().flatten() {
                    let username = edge.standing.username();
                    let mut roles: Vec<&[String]> = roles.clone();
                    if !edge.standing.spec.roles.is_empty() {
                        roles.push(&edge.standing.spec.roles);
                    }
                    if seen.insert((edge.principal.clone(), roles.clone())) && may_decide(username) {
                        found.push(Principal { person: edge.principal.clone(), username, roles: roles.clone() });
                        next.push((edge.principal.clone(), roles));
                    }
                }
            }
            level = next;
        }
        found
    }

    /// Who decides directly for one of these people, who are asked through that role, if through one: delegate and principal, by
    /// username.
    #[must_use]
    pub fn delegates(&self, people: &BTreeMap<String, String>, role: Option<&str>) -> Vec<(&str, &str)> {
        let edges = self.principals.values().flatten();
        let named = edges.filter(|edge| {
            let roles = &edge.standing.spec.roles;
            people.contains_key(&edge.principal)
                && (roles.is_empty() || role.is_some_and(|role| roles.iter().any(|covered| covered == role)))
        });
        named.map(|edge| (edge.delegate, edge.standing.username())).collect()
    }

    /// Everybody who decides for one of these people, directly or through others, by username.
    #[must_use]
    pub fn representatives(&self, people: &BTreeSet<&str>) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut represented: BTreeSet<&str> = people.clone();
        for _ in 0..MAX_DEPTH {
            let mut reached = Vec::new();
            for (delegate, edges) in &self.principals {
                for edge in edges.iter().filter(|edge| represented.contains(edge.principal.as_str())) {
                    if found.insert(edge.delegate) {
                        reached.push(delegate.as_str());
                    }
                }
            }
            if reached.is_empty() {
                break;
            }
            represented.extend(reached);
        }
        found
    }

    /// Why a delegation does not count at this moment; none when it does, or when it is not its time.
    #[must_use]
    pub fn refused(&self, delegation: &str) -> Option<&str> {
        self.refused.get(delegation).map(String::as_str)
    }
}

impl Standing {
    fn username(&self) -> &str {
        self.spec.principal.as_ref().map(|principal| principal.username.as_str()).unwrap_or_default()
    }
}

impl Snapshot {
    /// The delegations that count at this moment.
    #[must_use]
    pub fn substitutions(&self, now: Timestamp) -> Substitutions<'_> {
        let mut found = Substitutions::default();
        for standing in &self.delegations {
            let spec = &standing.spec;
            if !within(spec.from.as_ref(), spec.until.as_ref(), now) {
                continue;
            }
            let username = self.resolve(&spec.to);
            let delegate = username;
            if let Some(why) = self.out(standing.username(), delegate, now) {
                found.refused.insert(&standing.name, why);
                continue;
            }
            let (principal, delegate) = (self.person(standing.username()), self.person(delegate));
            // Whoever the delegate decides for already must not end up deciding for themselves.
            let loops = found.reaches(&delegate, &principal);
            if loops {
                let why = format!(
                    "spec.to: {} is, directly or through others, represented by {} already; a loop of delegations decides nothing, so this one does not count",
                    spec.to,
                    standing.username()
                );
                found.refused.insert(&standing.name, why);
                continue;
            }
            found.principals.entry(delegate).or_default().push(Edge { delegate: username, principal, standing });
        }
        found
    }

    /// What is wrong with a delegation, empty when nothing is. Loops are looked for now, and at every moment at which a delegation
    /// begins.
    #[must_use]
    pub fn delegation_faults(&self, name: &str, now: Timestamp) -> Vec<String> {
        let Some(standing) = self.delegations.iter().find(|standing| standing.name == name) else {
            return Vec::new();
        };
        let begins = self.delegations.iter().filter_map(|other| other.spec.from.as_ref()).map(|from| from.0);
        let moments = begins.filter(|begin| *begin > now).chain([now]);
        let mut faults = BTreeSet::new();
        for moment in moments {
            faults.extend(self.substitutions(moment).refused(name).map(str::to_owned));
        }
        for role in standing.spec.roles.iter().filter(|role| !self.has_role(role)) {
            faults.insert(format!("spec.roles: there is no BusinessRole {role}; it counts as soon as it exists"));
        }
        faults.into_iter().collect()
    }

    /// Why this pair cannot stand for one another.
    fn out(&self, principal: &str, delegate: &str, now: Timestamp) -> Option<String> {
        for (field, username) in [("spec.principal", principal), ("spec.to", delegate)] {
            if username.starts_with(SERVICE_ACCOUNT) {
                return Some(format!("{field}: {username} is a ServiceAccount; delegations are for people"));
            }
            match self.look_up(username, now) {
                Lookup::Inactive(identity) => {
                    return Some(format!("{field}: Identity {identity} is inactive or not valid now"));
                }
                Lookup::Contested => {
                    return Some(format!("{field}: several Identities claim the username {username}"));
                }
                Lookup::Known(_) | Lookup::Unknown => {}
            }
        }
        self.may_be_same(principal, delegate).then(|| "spec.to: is the principal; name somebody else".to_owned())
    }
}

impl Substitutions<'_> {
    /// Whether `principal` decides, directly or through others, for `delegate`: then the delegate may not decide for them.
    fn reaches(&self, delegate: &str, principal: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![principal.to_owned()];
        while let Some(person) = open.pop() {
            if person == delegate {
                return true;
            }
            if seen.insert(person.clone()) {
                open.extend(self.principals.get(&person).into_iter().flatten().map(|edge| edge.principal.clone()));
            }
        }
        false
    }
}
