//! Who may decide each open task now, and who was asked in a visit: for those who tell people. Goes by the same titles as the
//! verdicts on signals, so that nobody is asked whose signal would be refused.

use super::Facts;
use super::advance::Run;
use super::eligibility::{Asked, Judge};
use super::graph::{Mail, Rule, Step};
use super::stock::Stock;
use crate::api::{Actor, StepVisit, Task, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// An open task, and who may decide it now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asking {
    /// The partition of the step where the instance stands.
    pub partition: String,
    /// Who may decide, as far as the directory lists them: each person once. Whoever has voted in this visit may not.
    pub people: Vec<Invited>,
    /// Addresses that reach those whom the directory cannot list, each with the level of escalation that asks them: 0 for none.
    pub mails: BTreeMap<String, u32>,
}

/// Somebody who may decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invited {
    /// One key per person.
    pub person: String,
    /// Their username.
    pub username: String,
    /// For whom, by username, where that is not themselves.
    pub on_behalf_of: Option<String>,
    /// The level of escalation that asks them, from 1; 0: they are asked anyway.
    pub level: u32,
}

/// Everyone who was asked in a partition.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Everyone {
    /// By the key of the person: a username.
    pub people: BTreeMap<String, String>,
    /// Addresses that reach those whom the directory cannot list.
    pub mails: BTreeSet<String>,
}

/// Who may decide the open tasks of an instance now; none when it is finished, or nobody is asked at the moment. Pure; goes by the
/// same facts as [`super::advance()`], with the status as it was last written.
#[must_use]
pub fn asking(facts: &Facts<'_>) -> Vec<Asking> {
    if facts.status.outcome.is_some() {
        return Vec::new();
    }
    let mut run = Run::new(facts);
    run.take_stock();
    let Some((visit, step)) = run.current_step() else {
        return Vec::new();
    };
    let tasks = run.status.tasks.iter().zip(&run.stocks);
    let open = tasks.filter(|(task, _)| task.state == TaskState::Open && task.required > 0);
    open.filter_map(|(task, stock)| Some(run.asking_for(task, stock, visit, step, step.partition(&task.partition)?)))
        .collect()
}

/// Who was asked in a partition of a visit, as far as the facts of this moment tell: whom its sources name, whoever represents
/// them or has taken the task over, and whoever decided.
#[must_use]
pub fn asked_in(facts: &Facts<'_>, visit: &StepVisit, partition: &str) -> Everyone {
    let run = Run::new(facts);
    let mut everyone = Everyone::default();
    let step = run.graph().and_then(|graph| graph.step(&visit.node));
    if let Some((step, rule)) = step.and_then(|step| Some((step, step.partition(partition)?))) {
        let judge = Judge::new(facts, step, visit, &facts.status.decisions);
        let asked = run.asked(&judge, visit, step, rule);
        everyone.people.extend(asked.iter().flat_map(|asked| asked.people.clone()));
        let listed: BTreeSet<&str> = everyone.people.keys().map(String::as_str).collect();
        let representatives = run.substitutions().representatives(&listed);
        let may = representatives.into_iter().filter(|username| judge.out(username).is_none());
        let may: Vec<String> = may.map(str::to_owned).collect();
        everyone.people.extend(may.into_iter().map(|username| (facts.directory.person(&username), username)));
        everyone.mails = mails(&asked, visit, step, rule).into_keys().collect();
    }
    for handover in run.handovers(visit, partition).values() {
        let holder = handover.holder();
        everyone.people.entry(facts.directory.person(holder)).or_insert_with(|| holder.to_owned());
    }
    let here = facts.status.decisions.iter().filter(|decision| {
        decision.step == visit.node && decision.visit == visit.visit && decision.partition == partition
    });
    for decision in here.filter(|decision| decision.decision.is_vote()) {
        let actor = &decision.actor;
        everyone.people.entry(facts.directory.person(actor)).or_insert_with(|| actor.clone());
    }
    everyone
}

impl Run<'_> {
    fn asking_for(&self, task: &Task, stock: &Stock, visit: &StepVisit, step: &Step, rule: &Rule) -> Asking {
        // Whoever might have a title; whether they have one is told by the same words as for a signal.
        let mut candidates: BTreeMap<String, String> = BTreeMap::new();
        candidates.extend(stock.everybody().flat_map(|asked| asked.people.clone()));
        let listed: BTreeSet<&str> = candidates.keys().map(String::as_str).collect();
        let representatives = self.substitutions().representatives(&listed);
        let holders = stock.handovers.values().map(super::handover::Handover::holder);
        let others: Vec<&str> = representatives.into_iter().chain(holders).collect();
        for username in others {
            candidates.entry(self.facts.directory.person(username)).or_insert_with(|| username.to_owned());
        }
        let invited = candidates.into_iter().filter_map(|(person, username)| {
            if self.vote_of(&username).is_some() || self.vote_alike(&username).is_some() {
                return None;
            }
            let actor = Actor { username, ..Actor::default() };
            let title = self.title(stock, &actor, &BTreeSet::new()).ok()?;
            // Whoever has taken a task over was asked by somebody, not by a level of escalation.
            let taken_over = title
                .on_behalf_of
                .iter()
                .any(|principal| stock.handovers.contains_key(&self.facts.directory.person(principal)));
            let through = stock.everybody().find(|asked| asked.label == title.through && !taken_over);
            let level = through.map_or(0, |asked| asked.level);
            Some(Invited { person, username: actor.username, on_behalf_of: title.on_behalf_of, level })
        });
        let people = invited.collect();
        let asked: Vec<Asked> = stock.everybody().cloned().collect();
        Asking { partition: task.partition.clone(), people, mails: mails(&asked, visit, step, rule) }
    }
}

/// The addresses of the groups that are asked, each with the first level that asks the group.
fn mails(asked: &[Asked], visit: &StepVisit, step: &Step, rule: &Rule) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let levels = (1..=visit.escalated).zip(step.escalations.iter().map(|level| level.mails.as_slice()));
    for (level, mails) in std::iter::once((0, rule.mails.as_slice())).chain(levels) {
        for Mail { group, address, .. } in mails {
            if asked.iter().any(|asked| asked.groups.contains(group)) {
                found.entry(address.clone()).or_insert(level);
            }
        }
    }
    found
}
