//! What has happened to an instance so far for which somebody is to be told: computed from its status alone, each with an id
//! that follows from what it is. So a crash between the status and the outbox loses nothing, and doing it again repeats nothing.
//!
//! Who is asked is the one thing that the status does not tell: whoever may decide now and was not told so is due, person by
//! person, under one id for each task, whether a level of escalation asks them or they are asked anyway.

use super::id_of;
use super::story::Story;
use crate::api::{Decision, NotificationEvent, Outcome, StepVisit, TaskState};
use crate::engine::graph::{GraphNode, Step};
use crate::engine::{Invited, asking};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::fmt;

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Occurrence {
    /// 64 hexadecimal digits that follow from what it is.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// The position of the visit in the status; none where the whole instance is meant.
    pub visit: Option<usize>,
    /// The partition; none where the whole step or instance is meant.
    pub partition: Option<String>,
    /// The position of the decision in the status.
    pub decision: Option<usize>,
    /// The level of escalation, from 1; 0: none.
    pub level: u32,
    /// Who is asked by it, where that is what happened.
    pub asks: Option<Asks>,
    /// When.
    pub at: Timestamp,
}

/// Who is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asks {
    /// Somebody whom the directory lists.
    Person(Invited),
    /// Whoever an address reaches, since the directory cannot list them.
    Mail(String),
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An event that notifications name.
    On(NotificationEvent),
    /// The instance came by a `notify` node.
    Notice,
}

impl Event {
    /// The topic that is built in for it.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::On(event) => event.topic(),
            Self::Notice => "request-done",
        }
    }

    /// Whether `Approvers` are asked to decide by it, and not merely told.
    pub(super) fn asks(self) -> bool {
        matches!(self, Self::On(NotificationEvent::Assigned | NotificationEvent::Opened | NotificationEvent::Escalated))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(event) => event.fmt(f),
            Self::Notice => f.write_str("notify"),
        }
    }
}

/// What happened, before it is known whether anybody is to be told.
#[derive(Default)]
struct Happening<'a> {
    visit: Option<(usize, &'a StepVisit)>,
    partition: Option<&'a str>,
    decision: Option<(usize, &'a str)>,
    level: u32,
    asks: Option<Asks>,
}

impl Story<'_> {
    /// Everything so far for which somebody is to be told, in the order in which it happened.
    #[must_use]
    pub fn occurrences(&self) -> Vec<Occurrence> {
        let mut found = Vec::new();
        self.decisions(&mut found);
        let steps = &self.facts.status.steps;
        // What an administrator restarted is void: that it opened once is nothing to tell any more.
        let void = steps.iter().rposition(|visit| visit.output.as_deref() == Some("restarted"));
        for (position, visit) in steps.iter().enumerate() {
            let here = (position, visit);
            match self.graph.nodes.get(&visit.node) {
                Some(GraphNode::Step(step)) => {
                    if void.is_none_or(|void| position > void) {
                        self.openings(here, step, &mut found);
                    }
                    self.closings(here, &mut found);
                }
                Some(GraphNode::Notify(_)) => {
                    let happening = Happening { visit: Some(here), ..Happening::default() };
                    self.add(Event::Notice, happening, visit.entered_at.0, &mut found);
                }
                _ => {}
            }
        }
        self.asked(&mut found);
        self.ends(&mut found);
        found.sort_by_key(|occurrence| occurrence.at);
        found
    }

    /// Takes note of something, if anybody is to be told of it.
    fn add(&self, event: Event, happening: Happening<'_>, at: Timestamp, found: &mut Vec<Occurrence>) {
        let Happening { visit, partition, decision, level, asks } = happening;
        let number = |number: u32| number.to_string();
        let (node, times) = visit.map_or((String::new(), String::new()), |(_, it)| (it.node.clone(), number(it.visit)));
        let uid = self.facts.instance.uid;
        let partition_name = partition.unwrap_or_default();
        let id = match &asks {
            // One id for each task and person, whatever asks them: nobody is asked twice.
            Some(asks) => {
                let (how, whom) = match asks {
                    Asks::Person(invited) => ("person", invited.person.clone()),
                    Asks::Mail(address) => ("mail", address.to_lowercase()),
                };
                id_of(&[uid, "asked", &node, &times, partition_name, how, &whom])
            }
            None => {
                let signal = decision.map(|(_, signal)| signal).unwrap_or_default();
                id_of(&[uid, &event.to_string(), &node, &times, partition_name, signal, &number(level)])
            }
        };
        let occurrence = Occurrence {
            id,
            event,
            visit: visit.map(|(position, _)| position),
            partition: partition.map(str::to_owned),
            decision: decision.map(|(position, _)| position),
            level,
            asks,
            at,
        };
        if !self.told(&occurrence).is_empty() {
            found.push(occurrence);
        }
    }

    fn on(&self, event: NotificationEvent, happening: Happening<'_>, at: Timestamp, found: &mut Vec<Occurrence>) {
        self.add(Event::On(event), happening, at, found);
    }

    fn decisions(&self, found: &mut Vec<Occurrence>) {
        for (position, decision) in self.facts.status.decisions.iter().enumerate() {
            let mut visits = self.facts.status.steps.iter().enumerate();
            let visit = visits.find(|(_, it)| it.node == decision.step && it.visit == decision.visit);
            let partition = Some(decision.partition.as_str()).filter(|partition| !partition.is_empty());
            let signal = Some((position, decision.signal.uid.as_str()));
            let happening = Happening { visit, partition, decision: signal, ..Happening::default() };
            self.on(NotificationEvent::Decision, happening, decision.at.0, found);
        }
    }

    /// What opened in a visit of a step, and which levels were called.
    fn openings(&self, here: (usize, &StepVisit), step: &Step, found: &mut Vec<Occurrence>) {
        let visit = here.1;
        let states = self.states(visit);
        // Rejected without anybody having rejected: nobody was there to be asked.
        let unasked = |(partition, state): (&&str, &TaskState)| {
            *state == TaskState::Rejected && self.last_vote(visit, partition, Decision::Reject).is_none()
        };
        if states.iter().any(unasked) {
            return;
        }
        for partition in states.keys() {
            for event in [NotificationEvent::Opened, NotificationEvent::Assigned] {
                let happening = Happening { visit: Some(here), partition: Some(partition), ..Happening::default() };
                self.on(event, happening, visit.entered_at.0, found);
            }
        }
        let levels = (1..=visit.escalated).zip(&visit.escalate_at).take(step.escalations.len());
        for (level, at) in levels {
            let happening = Happening { visit: Some(here), level, ..Happening::default() };
            self.on(NotificationEvent::Escalated, happening, at.0, found);
        }
    }

    /// What became of the partitions of a visit.
    fn closings(&self, here: (usize, &StepVisit), found: &mut Vec<Occurrence>) {
        let visit = here.1;
        for (partition, state) in self.states(visit) {
            let event = match state {
                TaskState::Open => continue,
                TaskState::Approved => NotificationEvent::Approved,
                TaskState::Rejected => NotificationEvent::Rejected,
                TaskState::Superseded => NotificationEvent::Superseded,
                TaskState::Expired => NotificationEvent::Expired,
            };
            let Some(at) = self.closed_at(visit, partition, state) else { continue };
            let happening = Happening { visit: Some(here), partition: Some(partition), ..Happening::default() };
            self.on(event, happening, at, found);
        }
    }

    /// How the partitions of a visit stand, or stood when it was left. Those alone that people were asked to decide.
    pub(super) fn states<'s>(&'s self, visit: &'s StepVisit) -> BTreeMap<&'s str, TaskState> {
        if !visit.partitions.is_empty() {
            return visit.partitions.iter().map(|(partition, state)| (partition.as_str(), *state)).collect();
        }
        let tasks = self.facts.status.tasks.iter();
        let here = tasks.filter(|task| task.step == visit.node && task.visit == visit.visit && task.required > 0);
        here.map(|task| (task.partition.as_str(), task.state)).collect()
    }

    /// Whether a partition was open at a moment after it opened.
    pub(super) fn was_open(&self, visit: &StepVisit, partition: &str, at: Timestamp) -> bool {
        let state = self.states(visit).get(partition).copied();
        state.is_some_and(|state| self.closed_at(visit, partition, state).is_none_or(|closed| closed >= at))
    }

    /// When a partition was closed; none while it is open.
    fn closed_at(&self, visit: &StepVisit, partition: &str, state: TaskState) -> Option<Timestamp> {
        let left = visit.left_at.as_ref();
        let vote = match state {
            TaskState::Open => return None,
            TaskState::Approved => self.last_vote(visit, partition, Decision::Approve),
            TaskState::Rejected => self.last_vote(visit, partition, Decision::Reject),
            TaskState::Superseded | TaskState::Expired => None,
        };
        vote.or(left).map(|time| time.0)
    }

    fn last_vote(&self, visit: &StepVisit, partition: &str, vote: Decision) -> Option<&Time> {
        let mut votes = self.facts.status.decisions.iter().rev().filter(|decision| {
            decision.step == visit.node && decision.visit == visit.visit && decision.partition == partition
        });
        votes.find(|decision| decision.decision == vote).map(|decision| &decision.at)
    }

    /// Whoever may decide now.
    fn asked(&self, found: &mut Vec<Occurrence>) {
        let steps = &self.facts.status.steps;
        let Some(visit) = steps.last() else { return };
        let Some(step) = self.graph.step(&visit.node) else { return };
        let here = Some((steps.len() - 1, visit));
        // Whom that is is found out only where somebody is to be told.
        let whoever = Invited { person: String::new(), username: String::new(), on_behalf_of: None, level: 0 };
        let any = step.partitions.iter().any(|rule| {
            let mut probe = Vec::new();
            let asks = Some(Asks::Person(whoever.clone()));
            let happening = Happening { visit: here, partition: Some(&rule.name), asks, ..Happening::default() };
            self.on(NotificationEvent::Assigned, happening, visit.entered_at.0, &mut probe);
            !probe.is_empty()
        });
        if !any && visit.escalated == 0 {
            return;
        }
        for task in asking(self.facts) {
            // The mailbox of a group may be that of somebody who is asked themselves.
            let reads = |invited: &Invited, address: &str| {
                let own = self.facts.directory.contact_of(&invited.username).email;
                own.is_some_and(|own| own.to_lowercase() == address.to_lowercase())
            };
            let mut mails = task.mails;
            mails.retain(|address, _| !task.people.iter().any(|invited| reads(invited, address)));
            let people = task.people.into_iter().map(|invited| (invited.level, Asks::Person(invited)));
            let mails = mails.into_iter().map(|(address, level)| (level, Asks::Mail(address)));
            for (level, asks) in people.chain(mails) {
                let called = (level as usize).checked_sub(1).and_then(|level| visit.escalate_at.get(level));
                let at = called.unwrap_or(&visit.entered_at).0;
                let event = if level > 0 { NotificationEvent::Escalated } else { NotificationEvent::Assigned };
                let partition = Some(task.partition.as_str());
                let happening = Happening { visit: here, partition, level, asks: Some(asks), ..Happening::default() };
                self.on(event, happening, at, found);
            }
        }
    }

    /// What happened to the instance as a whole.
    fn ends(&self, found: &mut Vec<Occurrence>) {
        let status = self.facts.status;
        let completed = status.completed_at.as_ref().filter(|_| status.outcome.is_some()).map(|time| time.0);
        if let Some(at) = self.executed_at(completed) {
            self.on(NotificationEvent::Executed, Happening::default(), at, found);
        }
        let Some(at) = completed else { return };
        self.on(NotificationEvent::Completed, Happening::default(), at, found);
        if status.outcome == Some(Outcome::Failed) {
            self.on(NotificationEvent::Failed, Happening::default(), at, found);
        }
    }

    /// When the operation was carried out: on the way, or by writing the outcome to the object that waited. What a change request
    /// holds is carried out elsewhere unless the way leads by an `execute` node, which waits for it.
    fn executed_at(&self, completed: Option<Timestamp>) -> Option<Timestamp> {
        let spec = self.facts.instance.spec;
        if self.happened {
            return None;
        }
        let mut passed = self.facts.status.steps.iter().filter(|visit| {
            visit.output.as_deref() == Some("done")
                && matches!(self.graph.nodes.get(&visit.node), Some(GraphNode::Execute(_)))
        });
        let operation = spec.object.is_some() || spec.operation.is_some() || spec.change_ref.is_some();
        if let Some(visit) = passed.next() {
            return visit.left_at.as_ref().filter(|_| operation).map(|time| time.0);
        }
        let written = spec.object.is_some() && spec.change_ref.is_none();
        completed.filter(|_| written && self.facts.status.outcome == Some(Outcome::Approved))
    }
}
