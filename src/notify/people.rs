//! Who the recipients of an occurrence are, as people and addresses (semantics.md 31). Whoever decides nothing, since their
//! Identity is inactive, not valid now or contested, is told nothing either.

use super::history::{Asks, Event, Occurrence};
use super::story::Story;
use crate::api::{CountedDecision, NotificationEvent, StepVisit, SupervisorOf};
use crate::engine::graph::To;
use crate::engine::{Asking, Everyone, asked_in, asking};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};

/// Somebody, or something, that is told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Reached {
    /// Somebody, by username.
    Person(String),
    /// Whoever reads the mail of an address.
    Address(String),
    /// A webhook or chat, by name.
    Channel(String),
}

/// Finds people for the occurrences of one story. What is asked of the engine is kept: many occurrences mean the same people.
pub(super) struct People<'a> {
    story: &'a Story<'a>,
    now: OnceCell<Vec<Asking>>,
    asked: RefCell<HashMap<(usize, String), Everyone>>,
}

impl<'a> People<'a> {
    pub(super) fn new(story: &'a Story<'a>) -> Self {
        Self { story, now: OnceCell::new(), asked: RefCell::default() }
    }

    /// Whom a recipient means, each once.
    pub(super) fn meant(&self, to: &To, occurrence: &Occurrence) -> BTreeSet<Reached> {
        let directory = self.story.facts.directory;
        let spec = self.story.facts.instance.spec;
        let initiator = || spec.initiator.iter().map(|initiator| Reached::Person(initiator.username.clone()));
        match to {
            To::Initiator => initiator().collect(),
            To::Concerned if spec.subjects.is_empty() && spec.subject_emails.is_empty() => initiator().collect(),
            To::Subject | To::Concerned => self.subjects(),
            To::Approvers => self.approvers(occurrence),
            To::Managers if spec.subjects.is_empty() => self.managers(SupervisorOf::Initiator, occurrence),
            To::Managers => self.managers(SupervisorOf::Subject, occurrence),
            To::SupervisorOf(whose) => self.managers(*whose, occurrence),
            To::Address(address) => BTreeSet::from([Reached::Address(address.clone())]),
            To::User(user) => BTreeSet::from([Reached::Person(directory.subject(user).to_owned())]),
            To::Role(role) => {
                let holders = directory.holders(role, self.story.facts.now).into_iter();
                self.people(holders.filter_map(|identity| directory.username(identity)))
            }
            To::Channel(channel) => BTreeSet::from([Reached::Channel(channel.clone())]),
        }
    }

    fn people<'n>(&self, usernames: impl Iterator<Item = &'n str>) -> BTreeSet<Reached> {
        let out = |username: &str| self.story.facts.directory.is_out(username, self.story.facts.now);
        usernames.filter(|username| !out(username)).map(|username| Reached::Person(username.to_owned())).collect()
    }

    /// Whom it is about, and where whoever of them the directory cannot reach is told.
    fn subjects(&self) -> BTreeSet<Reached> {
        let facts = self.story.facts;
        let usernames: Vec<&str> =
            facts.instance.spec.subjects.iter().map(|subject| facts.directory.subject(subject)).collect();
        let lost = |username: &&str| {
            !facts.directory.is_out(username, facts.now) && facts.directory.contact_of(username).email.is_none()
        };
        let mails = &facts.instance.spec.subject_emails;
        let elsewhere = usernames.is_empty() || usernames.iter().any(lost);
        let addresses = mails.iter().filter(|_| elsewhere).map(|address| Reached::Address(address.clone()));
        // Whoever is told by such an address does not lack one.
        let known = usernames.into_iter().filter(|username| mails.is_empty() || !lost(username));
        self.people(known).into_iter().chain(addresses).collect()
    }

    fn managers(&self, whose: SupervisorOf, occurrence: &Occurrence) -> BTreeSet<Reached> {
        let facts = self.story.facts;
        let of: Vec<String> = match whose {
            SupervisorOf::Subject => {
                facts.instance.spec.subjects.iter().map(|name| facts.directory.subject(name).to_owned()).collect()
            }
            SupervisorOf::Initiator => facts.instance.spec.initiator.iter().map(|it| it.username.clone()).collect(),
            SupervisorOf::Approvers => self.everyone(occurrence).people.into_values().collect(),
        };
        let managers = facts.directory.supervisors(of.iter().map(String::as_str), 1);
        self.people(managers.into_iter().filter_map(|identity| facts.directory.username(identity)))
    }

    /// Who is asked by an occurrence; who is asked now where something opened or a level was called; else everyone who was asked.
    fn approvers(&self, occurrence: &Occurrence) -> BTreeSet<Reached> {
        match &occurrence.asks {
            Some(Asks::Person(invited)) => return BTreeSet::from([Reached::Person(invited.username.clone())]),
            Some(Asks::Mail(address)) => return BTreeSet::from([Reached::Address(address.clone())]),
            None => {}
        }
        if let Event::On(NotificationEvent::Opened | NotificationEvent::Escalated) = occurrence.event {
            return self.asked_now(occurrence);
        }
        let mut everyone = self.everyone(occurrence);
        if let Some(decision) = self.decision(occurrence) {
            // They know.
            everyone.people.remove(&self.story.facts.directory.person(&decision.actor));
        }
        let people = self.people(everyone.people.values().map(String::as_str));
        people.into_iter().chain(everyone.mails.into_iter().map(Reached::Address)).collect()
    }

    fn asked_now(&self, occurrence: &Occurrence) -> BTreeSet<Reached> {
        let open = occurrence.visit.is_some_and(|visit| visit + 1 == self.story.facts.status.steps.len());
        let asking = self.now.get_or_init(|| asking(self.story.facts));
        let named = occurrence.partition.as_ref();
        let tasks = asking.iter().filter(|task| open && named.is_none_or(|named| *named == task.partition));
        // Whom a level calls in hears of it because of that.
        let others = |level: u32| occurrence.level == 0 || level != occurrence.level;
        let mut found = BTreeSet::new();
        for task in tasks {
            let people = task.people.iter().filter(|invited| others(invited.level));
            found.extend(people.map(|invited| Reached::Person(invited.username.clone())));
            let mails = task.mails.iter().filter(|(_, level)| others(**level));
            found.extend(mails.map(|(address, _)| Reached::Address(address.clone())));
        }
        found
    }

    /// Everyone who was asked: in that partition, in any of that step or, where the whole instance is meant, in any step.
    fn everyone(&self, occurrence: &Occurrence) -> Everyone {
        let mut found = Everyone::default();
        // A withdrawal, or what an administrator does to the whole, is of no partition.
        let whole = occurrence.partition.is_none() && occurrence.event != Event::On(NotificationEvent::Escalated);
        for (position, visit) in self.story.facts.status.steps.iter().enumerate() {
            if !whole && occurrence.visit != Some(position) {
                continue;
            }
            for partition in self.story.states(visit).into_keys() {
                if occurrence.partition.as_deref().is_none_or(|named| named == partition) {
                    let Everyone { people, mails } = self.asked_in(position, visit, partition);
                    found.people.extend(people);
                    found.mails.extend(mails);
                }
            }
        }
        found
    }

    fn asked_in(&self, position: usize, visit: &StepVisit, partition: &str) -> Everyone {
        let mut kept = self.asked.borrow_mut();
        let asked = kept.entry((position, partition.to_owned()));
        asked.or_insert_with(|| asked_in(self.story.facts, visit, partition)).clone()
    }

    /// The decision that an occurrence is about.
    pub(super) fn decision(&self, occurrence: &Occurrence) -> Option<&'a CountedDecision> {
        self.story.facts.status.decisions.get(occurrence.decision?)
    }
}
