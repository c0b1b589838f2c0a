//! An instance as far as people are told about it: the facts, and whatever says who is told what. The one place where the
//! notifications of the definition, of the process, of a partition, and what channels have subscribed to come together.

use super::history::{Event, Occurrence};
use crate::api::{ApprovalProcessSpec, NotificationEvent};
use crate::engine::graph::{Graph, GraphNode, Rule, Step, Telling, To, compile_notifications};
use crate::engine::{Definition, Facts};
use std::collections::BTreeSet;

/// The events that those hear of whom a request is about.
const FOR_THE_USER: [NotificationEvent; 5] = [
    NotificationEvent::Opened,
    NotificationEvent::Approved,
    NotificationEvent::Rejected,
    NotificationEvent::Expired,
    NotificationEvent::Superseded,
];

/// The channels that hear of events of every instance, by name.
pub type Subscriptions = [(String, BTreeSet<NotificationEvent>)];

/// An instance, and who is told what about it.
pub struct Story<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) graph: &'a Graph,
    /// What the process says.
    process: Vec<Telling>,
    /// Whether what it is about has happened already, so that there is nothing to carry out.
    pub(super) happened: bool,
    subscriptions: &'a Subscriptions,
}

impl<'a> Story<'a> {
    /// The story of an instance: the status as it was last written, the graph of the revision that it runs or ran on, the process as
    /// it is in that revision. None while there is no graph: nothing can be told then, and nothing is lost by waiting.
    #[must_use]
    pub fn new(
        facts: &'a Facts<'a>,
        process: Option<&ApprovalProcessSpec>,
        subscriptions: &'a Subscriptions,
    ) -> Option<Self> {
        let Definition::Usable { graph, .. } = facts.definition else { return None };
        // What is wrong with a process is told on the process.
        let told = process.and_then(|process| compile_notifications(&process.notifications).ok());
        let reviewed = facts.instance.spec.change_ref.as_ref().is_some_and(|change| change.review);
        let happened = reviewed || process.is_some_and(|process| process.event.collection.is_some());
        Some(Self { facts, graph, process: told.unwrap_or_default(), happened, subscriptions })
    }

    /// Who is told of an occurrence, and by which topic. Who is asked by it is `Approvers` and nobody else.
    pub(super) fn told(&self, occurrence: &Occurrence) -> Vec<(To, String)> {
        let event = match occurrence.event {
            Event::Notice => return self.noticed(occurrence),
            Event::On(event) => event,
        };
        let mut told = BTreeSet::new();
        let stand_in = event.topic();
        let add = |list: &[Telling], told: &mut BTreeSet<(To, String)>| {
            for telling in list.iter().filter(|telling| telling.on == event) {
                let topic = telling.topic.as_deref().unwrap_or(stand_in);
                told.extend(telling.to.iter().map(|to| (to.clone(), topic.to_owned())));
            }
        };
        add(&self.graph.notifications, &mut told);
        add(&self.process, &mut told);
        let subscribed = self.subscriptions.iter().filter(|(_, events)| events.contains(&event));
        told.extend(subscribed.map(|(channel, _)| (To::Channel(channel.clone()), stand_in.to_owned())));
        // A level is called in the whole step: in every partition of it that was open then.
        if event == NotificationEvent::Escalated
            && let Some((visit, step)) = self.visit(occurrence).zip(self.step(occurrence))
        {
            let open = |rule: &&Rule| occurrence.asks.is_none() && self.was_open(visit, &rule.name, occurrence.at);
            step.partitions.iter().filter(open).for_each(|rule| add(&rule.notifications, &mut told));
        }
        if let Some(rule) = self.rule(occurrence) {
            add(&rule.notifications, &mut told);
            let topic = |written: Option<&String>| written.map_or_else(|| stand_in.to_owned(), Clone::clone);
            if let Some(notify) = rule.notify.as_ref().filter(|_| event == NotificationEvent::Assigned) {
                told.insert((To::Approvers, topic(notify.topic.as_ref())));
            }
            if let Some(notify) = rule.notify_user.as_ref().filter(|_| FOR_THE_USER.contains(&event)) {
                told.insert((To::Concerned, topic(notify.topic.as_ref())));
            }
        }
        match (&occurrence.asks, event) {
            (Some(_), _) => told.retain(|(to, _)| *to == To::Approvers),
            (None, NotificationEvent::Assigned) => told.retain(|(to, _)| *to != To::Approvers),
            (None, _) => {}
        }
        // Whoever is called in is told so, whether or not somebody says it (rule 16).
        if event == NotificationEvent::Escalated && occurrence.asks.is_some() {
            let level = self.step(occurrence).and_then(|step| step.escalations.get(occurrence.level as usize - 1));
            match level.and_then(|level| level.topic.clone()) {
                Some(topic) => told = BTreeSet::from([(To::Approvers, topic)]),
                None if told.is_empty() => _ = told.insert((To::Approvers, stand_in.to_owned())),
                None => {}
            }
        }
        told.into_iter().collect()
    }

    fn noticed(&self, occurrence: &Occurrence) -> Vec<(To, String)> {
        let node = self.visit(occurrence).and_then(|visit| self.graph.nodes.get(&visit.node));
        let Some(GraphNode::Notify(notice)) = node else { return Vec::new() };
        let topic = notice.topic.as_deref().unwrap_or(Event::Notice.topic());
        notice.to.iter().map(|to| (to.clone(), topic.to_owned())).collect()
    }

    /// The visit that an occurrence belongs to.
    pub(super) fn visit(&self, occurrence: &Occurrence) -> Option<&'a crate::api::StepVisit> {
        self.facts.status.steps.get(occurrence.visit?)
    }

    /// The step that an occurrence belongs to.
    pub(super) fn step(&self, occurrence: &Occurrence) -> Option<&'a Step> {
        self.graph.step(&self.visit(occurrence)?.node)
    }

    /// The partition that an occurrence belongs to.
    pub(super) fn rule(&self, occurrence: &Occurrence) -> Option<&'a Rule> {
        self.step(occurrence)?.partition(occurrence.partition.as_ref()?)
    }
}
