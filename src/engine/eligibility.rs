//! Who may decide a task: closed and open sources, the barred, and the administrators who stand in (semantics.md 1–6).

use super::graph::{Required, Rule, Step};
use crate::api::{Actor, ApproverSource, ApproverSummary, SelfApproval, WorkflowInstanceSpec};
use crate::directory::{Lookup, Snapshot};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How many names a summary shows.
const NAMES_SHOWN: usize = 5;

/// Usernames of `ServiceAccounts` begin so.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Why somebody may not decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// No source names them.
    NotAnApprover,
    /// They asked, or it is about them.
    SelfApproval(&'static str),
    /// Their Identity is inactive or not valid now.
    Inactive(String),
    /// Several Identities claim their username.
    Contested,
    /// A `ServiceAccount` that no `user:` source names.
    ServiceAccount,
}

/// What eligibility is judged by: the request, the directory, the administrators, the moment.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The request: its initiator and its subjects are barred.
    pub request: &'a WorkflowInstanceSpec,
    /// The directory at the moment of counting.
    pub directory: &'a Snapshot,
    /// Who stands in when too few may decide.
    pub administrators: &'a [ApproverSource],
    /// The moment.
    pub now: Timestamp,
}

/// Everybody whom the directory lists for a task, and whether there are sources that it cannot list.
#[derive(Debug, Default)]
pub struct Roster {
    /// The listed people: a key that is one per person → their username.
    pub closed: BTreeMap<String, String>,
    /// Whether an open source (a group) is among the sources.
    pub open: bool,
    /// One line per source.
    pub summary: Vec<ApproverSummary>,
}

impl Judge<'_> {
    /// Everybody who may decide through these sources.
    #[must_use]
    pub fn roster(&self, step: &Step, sources: &[ApproverSource], stand_in: bool) -> Roster {
        let mut roster = Roster::default();
        for source in sources {
            let (people, open) = self.people(step, source);
            let named = if stand_in { format!("administrators: {source}") } else { source.to_string() };
            roster.summary.push(ApproverSummary {
                source: named,
                count: (!open || !people.is_empty()).then(|| u32::try_from(people.len()).unwrap_or(u32::MAX)),
                names: people.values().take(NAMES_SHOWN).cloned().collect(),
            });
            roster.open |= open;
            roster.closed.extend(people);
        }
        roster
    }

    /// The people whom a source lists, and whether there are more whom it cannot list.
    fn people(&self, step: &Step, source: &ApproverSource) -> (BTreeMap<String, String>, bool) {
        let mut people = BTreeMap::new();
        if let Some(user) = &source.user {
            let lookup = self.directory.look_up(user, self.now);
            if self.barred(step, user).is_none() && !matches!(lookup, Lookup::Inactive(_) | Lookup::Contested) {
                people.insert(self.person(user), user.clone());
            }
        }
        let mut open = source.group.is_some();
        if let Some(role) = &source.role {
            open |= !self.directory.role_groups(role).is_empty();
            for identity in self.directory.holders(role, self.now) {
                if let Some(username) = self.directory.username(identity)
                    && self.barred(step, username).is_none()
                    && !username.starts_with(SERVICE_ACCOUNT)
                {
                    people.insert(self.person(username), username.to_owned());
                }
            }
        }
        (people, open)
    }

    /// One key per person: the Identity where there is one, else the username.
    #[must_use]
    pub fn person(&self, username: &str) -> String {
        self.directory.identity_of(username).map_or_else(|| format!("user {username}"), Self::identified)
    }

    /// The key of the person behind an Identity.
    #[must_use]
    pub fn identified(identity: &str) -> String {
        format!("identity {identity}")
    }

    /// Whether the actor may decide through one of these sources; if so, through which.
    ///
    /// # Errors
    /// Why they may not.
    pub fn may_decide(&self, step: &Step, sources: &[ApproverSource], actor: &Actor) -> Result<ApproverSource, Denied> {
        let lookup = self.directory.look_up(&actor.username, self.now);
        match lookup {
            Lookup::Contested => return Err(Denied::Contested),
            Lookup::Inactive(identity) => return Err(Denied::Inactive(identity.to_owned())),
            Lookup::Known(_) | Lookup::Unknown => {}
        }
        if let Some(why) = self.barred(step, &actor.username) {
            return Err(Denied::SelfApproval(why));
        }
        let service_account = actor.username.starts_with(SERVICE_ACCOUNT);
        let through = sources.iter().find(|source| match (&source.user, &source.group, &source.role) {
            (Some(user), ..) => {
                *user == actor.username || (!service_account && self.directory.same_person(user, &actor.username))
            }
            _ if service_account => false,
            (_, Some(group), _) => actor.groups.contains(group),
            (_, _, Some(role)) => {
                let listed =
                    matches!(lookup, Lookup::Known(identity) if self.directory.holds(role, identity, self.now));
                listed
                    || self
                        .directory
                        .role_groups(role)
                        .iter()
                        .any(|group| actor.groups.iter().any(|held| held == group))
            }
            _ => false,
        });
        match through {
            Some(source) => Ok(source.clone()),
            None if service_account => Err(Denied::ServiceAccount),
            None => Err(Denied::NotAnApprover),
        }
    }

    /// Why this person may not decide whatever the sources say; none when they may.
    fn barred(&self, step: &Step, username: &str) -> Option<&'static str> {
        if step.self_approval == SelfApproval::Allow {
            return None;
        }
        let same = |other: &str| self.directory.same_person(other, username);
        if self.request.initiator.as_ref().is_some_and(|initiator| same(&initiator.username)) {
            return Some("asked for it");
        }
        self.request.subjects.iter().any(|subject| same(subject)).then_some("is the one it is about")
    }
}

/// How many approvals a task needs, given how many people may decide when its step is entered (semantics.md 6).
#[must_use]
pub fn required(rule: &Rule, eligible: usize) -> u32 {
    let eligible = u32::try_from(eligible).unwrap_or(u32::MAX);
    match rule.required {
        Required::Number(number) => number,
        Required::All => eligible.max(1),
        Required::Percent(percent) => {
            u32::try_from((u64::from(eligible) * u64::from(percent)).div_ceil(100)).unwrap_or(u32::MAX).max(1)
        }
    }
}
