//! Who may decide in a visit of a step: the sources, resolved to people at this moment, and who is barred (semantics.md 1–5).

use super::graph::{Required, Rule, Step};
use super::input::input;
use super::source::{RoleOf, Source};
use super::{Facts, Right};
use crate::api::{Actor, ApproverSummary, CountedDecision, Decision, SelfApproval, StepVisit, SupervisorOf};
use crate::cel::Input;
use crate::directory::delegations::SERVICE_ACCOUNT;
use crate::directory::{Lookup, Snapshot, looks};
use std::collections::{BTreeMap, BTreeSet};

/// How many names a summary shows.
const NAMES_SHOWN: usize = 5;

/// Why somebody may not decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// No source names them.
    NotAnApprover,
    /// They asked, or it is about them.
    SelfApproval(String),
    /// They decided in a step that this one is separate from.
    Separated(String),
    /// The process or the request excludes them.
    Excluded(String),
    /// Their Identity is inactive or not valid now.
    Inactive(String),
    /// Several Identities claim their username.
    Contested,
    /// A `ServiceAccount` that no `user:` source names.
    ServiceAccount,
    /// They handed the task over, to this person.
    HandedOver(String),
    /// They would decide for somebody who has voted: for whom.
    PrincipalVoted(String),
    /// They would decide for somebody whose name looks like that of somebody who has voted: for whom, and who voted.
    PrincipalAlike(String, String),
}

/// One source, resolved at this moment.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What it is.
    pub(super) source: Source,
    /// How people read it, e.g. `administrators: group admins`.
    pub(super) label: String,
    /// The level of escalation that asks them, from 1; 0: they are asked anyway.
    pub(super) level: u32,
    /// Whom the directory lists, without those who are barred: a key that is one per person → their username.
    pub(super) people: BTreeMap<String, String>,
    /// Groups whose members are meant too, proven when they sign.
    pub(super) groups: BTreeSet<String>,
    /// The verb that whoever is allowed it on the process is meant by.
    pub(super) verb: Option<String>,
    /// Why it cannot be told whom it means.
    pub(super) failed: Option<String>,
}

impl Asked {
    /// Whether Kubernetes alone can tell whom it means.
    pub(super) fn is_open(&self) -> bool {
        !self.groups.is_empty() || self.verb.is_some()
    }

    /// The role through which it lists people, for delegations that are limited to roles.
    pub(super) fn role(&self) -> Option<&str> {
        match &self.source {
            Source::Role(role) => Some(role),
            _ => None,
        }
    }

    /// Whether it names this person. A `ServiceAccount` counts only where `user:` names it.
    pub(super) fn admits(&self, actor: &Actor, person: &str, rights: &BTreeSet<Right>) -> bool {
        if actor.username.starts_with(SERVICE_ACCOUNT) {
            return matches!(&self.source, Source::User(user) if *user == actor.username)
                && self.people.contains_key(person);
        }
        self.people.contains_key(person)
            || actor.groups.iter().any(|group| self.groups.contains(group))
            || self.verb.as_ref().is_some_and(|verb| rights.contains(&Right::Process(verb.clone())))
    }

    /// One line for the status.
    pub(super) fn summary(&self) -> ApproverSummary {
        let listed = self.failed.is_none() && (!self.is_open() || !self.people.is_empty());
        ApproverSummary {
            source: self.label.clone(),
            count: listed.then(|| u32::try_from(self.people.len()).unwrap_or(u32::MAX)),
            names: self.people.values().take(NAMES_SHOWN).cloned().collect(),
        }
    }
}

/// Somebody who may not decide, whatever the sources say.
struct Barred {
    /// The key of the person.
    person: String,
    username: String,
    /// What their names look like, to those whom the directory does not know.
    faces: BTreeSet<String>,
    /// The keys of those who look like them, where the directory does not know them.
    alike: BTreeSet<String>,
    why: Denied,
}

/// Resolves sources for one visit of a step.
pub(super) struct Judge<'a> {
    facts: &'a Facts<'a>,
    barred: Vec<Barred>,
    /// Usernames of those who approved in steps before this visit.
    approved_before: Vec<String>,
    input: Option<Input>,
}

impl<'a> Judge<'a> {
    /// For a visit of a step, given everything that was decided so far.
    pub(super) fn new(facts: &'a Facts<'a>, step: &Step, visit: &StepVisit, decisions: &[CountedDecision]) -> Self {
        let earlier: Vec<&CountedDecision> = decisions
            .iter()
            .filter(|decision| !(decision.step == visit.node && decision.visit == visit.visit))
            .filter(|decision| decision.decision.is_vote())
            .collect();
        let mut barred = Vec::new();
        let mut bar = |username: &str, person: String, why: Denied| {
            let alike = facts.directory.alike(username).map(Snapshot::identified).collect();
            let looks = facts.directory.faces_of(username);
            barred.push(Barred { person, username: username.to_owned(), faces: looks, alike, why });
        };
        let spec = facts.instance.spec;
        if step.self_approval == SelfApproval::Forbid {
            if let Some(initiator) = &spec.initiator {
                let person = facts.directory.person(&initiator.username);
                bar(&initiator.username, person, Denied::SelfApproval("asked for it".to_owned()));
            }
            for subject in &spec.subjects {
                // One name may be somebody's username and the name of somebody else's Identity: both are barred.
                for username in BTreeSet::from([subject.as_str(), facts.directory.resolve(subject)]) {
                    let why = Denied::SelfApproval("is the one it is about".to_owned());
                    bar(username, facts.directory.person(username), why);
                }
            }
        }
        for excluded in &spec.exclude_approvers {
            let username = facts.directory.resolve(excluded);
            bar(
                username,
                facts.directory.person(username),
                Denied::Excluded("is excluded from deciding it".to_owned()),
            );
        }
        for decision in earlier.iter().filter(|decision| step.separate_from.contains(&decision.step)) {
            let why = Denied::Separated(decision.step.clone());
            for (username, person) in people_of(facts, decision) {
                bar(&username, person, why.clone());
            }
        }
        let mut approved_before: Vec<String> = earlier
            .iter()
            .filter(|decision| decision.decision == Decision::Approve)
            .map(|decision| decision.on_behalf_of.clone().unwrap_or_else(|| decision.actor.clone()))
            .collect();
        approved_before.sort_unstable();
        approved_before.dedup();
        let rules = step.partitions.iter().flat_map(|rule| rule.approvers.iter().chain(&rule.viewers));
        let sources = rules.chain(step.escalations.iter().flat_map(|level| &level.approvers));
        let expressions: Vec<_> = sources
            .filter_map(|source| match source {
                Source::Expression(expression) => Some(expression),
                _ => None,
            })
            .collect();
        let input = (!expressions.is_empty()).then(|| input(facts, &earlier, &expressions));
        Self { facts, barred, approved_before, input }
    }

    /// Resolves a source. `asked` are the usernames that `supervisorOf: Approvers` means in an escalation.
    pub(super) fn resolve(&self, source: &Source, label: String, asked: Option<&[String]>) -> Asked {
        let directory = self.facts.directory;
        let (spec, now) = (self.facts.instance.spec, self.facts.now);
        let mut found = Asked {
            source: source.clone(),
            label,
            level: 0,
            people: BTreeMap::new(),
            groups: BTreeSet::new(),
            verb: None,
            failed: None,
        };
        let subjects = || spec.subjects.iter().map(|subject| directory.subject(subject));
        let identities: BTreeSet<&str> = match source {
            Source::User(user) => {
                self.add(&mut found, user, true);
                BTreeSet::new()
            }
            Source::Group(group) => {
                found.groups.insert(group.clone());
                BTreeSet::new()
            }
            Source::Permission(verb) => {
                found.verb = Some(verb.clone());
                BTreeSet::new()
            }
            Source::Role(role) => {
                found.groups.extend(directory.role_groups(role).into_iter().map(str::to_owned));
                directory.holders(role, now)
            }
            Source::Guarantor(of, type_) => {
                let role = match of {
                    RoleOf::Request => &spec.role,
                    RoleOf::Superior => &spec.superior_role,
                    RoleOf::Sub => &spec.sub_role,
                };
                let (role, type_) = (role.as_deref().unwrap_or_default(), type_.as_deref());
                found.groups.extend(directory.guarantor_groups(role, type_).into_iter().map(str::to_owned));
                directory.guarantors(role, type_, now)
            }
            Source::Supervisor(SupervisorOf::Subject, level) => directory.supervisors(subjects(), *level),
            Source::Supervisor(SupervisorOf::Initiator, level) => {
                directory.supervisors(spec.initiator.iter().map(|initiator| initiator.username.as_str()), *level)
            }
            Source::Supervisor(SupervisorOf::Approvers, level) => {
                let whose = asked.unwrap_or(&self.approved_before);
                directory.supervisors(whose.iter().map(String::as_str), *level)
            }
            Source::GuarantorOfSubject => directory.guarantors_of(subjects()),
            Source::Expression(expression) => {
                // A copy of the request, which may be large, for each source would be paid at every computation.
                let names = match &self.input {
                    Some(input) => expression.strings(input),
                    None => expression.strings(&Input::default()),
                };
                match names {
                    Ok(names) => {
                        for name in names {
                            self.add(&mut found, directory.resolve(&name), false);
                        }
                    }
                    Err(why) => found.failed = Some(format!("expression {}: {why}", expression.source())),
                }
                BTreeSet::new()
            }
        };
        for identity in identities {
            if let Some(username) = directory.username(identity) {
                self.add(&mut found, username, false);
            }
        }
        found
    }

    /// Adds a person, unless they are out or barred.
    fn add(&self, found: &mut Asked, username: &str, service_accounts: bool) {
        let out = self.facts.directory.is_out(username, self.facts.now)
            || (!service_accounts && username.starts_with(SERVICE_ACCOUNT));
        if !out && self.barred(username).is_none() {
            found.people.insert(self.facts.directory.person(username), username.to_owned());
        }
    }

    /// Why this person may not decide whatever the sources say; none when they may. Whoever looks like somebody who is barred is
    /// barred too, unless the directory tells them apart (attack 8).
    pub(super) fn barred(&self, username: &str) -> Option<&Denied> {
        let directory = self.facts.directory;
        let person = directory.person(username);
        let face = directory.identity_of(username).is_none().then(|| looks(username));
        let same = self.barred.iter().find(|barred| {
            barred.person == person
                || barred.alike.contains(&person)
                || face.as_ref().is_some_and(|face| barred.faces.contains(face))
                || directory.same_person(&barred.username, username)
        });
        same.map(|barred| &barred.why)
    }

    /// Why this person decides nothing at all; none when they may be asked.
    pub(super) fn out(&self, username: &str) -> Option<Denied> {
        match self.facts.directory.look_up(username, self.facts.now) {
            Lookup::Contested => Some(Denied::Contested),
            Lookup::Inactive(identity) => Some(Denied::Inactive(identity.to_owned())),
            Lookup::Known(_) | Lookup::Unknown => self.barred(username).cloned(),
        }
    }
}

/// The people behind a decision: who acted and for whom, with the keys that they had then and have now.
pub(super) fn people_of(facts: &Facts<'_>, decision: &CountedDecision) -> Vec<(String, String)> {
    let mut people = Vec::new();
    let mut add = |username: &str, identity: Option<&String>| {
        people.push((username.to_owned(), facts.directory.person(username)));
        // Whoever was renamed since is the same person all the same.
        people.extend(identity.map(|identity| (username.to_owned(), Snapshot::identified(identity))));
    };
    add(&decision.actor, decision.identity.as_ref());
    if let Some(principal) = &decision.on_behalf_of {
        add(principal, decision.on_behalf_of_identity.as_ref());
    }
    people
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
