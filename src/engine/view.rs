//! Who may see what was recorded (semantics.md 28): fields and comments stay in the signals, and reach people partition by
//! partition. Whoever may decide for somebody sees what they see of it.

use super::advance::Run;
use super::eligibility::Judge;
use super::graph::{Rule, Step};
use super::{Facts, Right};
use crate::api::{Actor, Decision, SelfApproval, StepVisit};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A decision as one person may see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The node.
    pub step: String,
    /// The visit of the node, from 1.
    pub visit: u32,
    /// The partition.
    pub partition: String,
    /// Who decided.
    pub actor: String,
    /// What was decided.
    pub decision: Decision,
    /// What was recorded, by field; empty where the person may not see it.
    pub fields: BTreeMap<String, String>,
    /// The comment; none where there is none, or the person may not see it.
    pub comment: Option<String>,
}

/// What a person may see of what was decided: fields and comments of the partitions that they may decide or view; administrators
/// of all. The initiator sees that it was decided, and the comments of rejections. Needs [`Facts::recorded`].
#[must_use]
pub fn visible(facts: &Facts<'_>, person: &Actor, rights: &BTreeSet<Right>) -> Vec<Seen> {
    let run = Run::new(facts);
    let Some(graph) = run.graph() else {
        return Vec::new();
    };
    let given: HashMap<&str, _> = facts.recorded.iter().map(|signal| (signal.uid.as_str(), &signal.spec)).collect();
    let initiator = facts.instance.spec.initiator.as_ref();
    let own = initiator.is_some_and(|initiator| facts.directory.same_person(&initiator.username, &person.username));
    let mut seen = Vec::new();
    for decision in &facts.status.decisions {
        let rule = graph.step(&decision.step).and_then(|step| step.partition(&decision.partition));
        // What ends, restarts or retries an instance is recorded in no partition.
        let full = match rule {
            Some(rule) => run.may_view(&decision.step, rule, person, rights),
            None => rights.contains(&Right::Administer),
        };
        if !full && !own {
            continue;
        }
        let spec = given.get(decision.signal.uid.as_str());
        let comment = spec.filter(|_| full || decision.decision == Decision::Reject);
        seen.push(Seen {
            step: decision.step.clone(),
            visit: decision.visit,
            partition: decision.partition.clone(),
            actor: decision.actor.clone(),
            decision: decision.decision,
            fields: spec.filter(|_| full).map(|spec| spec.fields.clone()).unwrap_or_default(),
            comment: comment.and_then(|spec| spec.comment.clone()),
        });
    }
    seen
}

impl Run<'_> {
    /// Whether somebody may see what is recorded in a partition: who may decide it, its viewers, the administrators.
    pub(super) fn may_view(&self, node: &str, rule: &Rule, person: &Actor, rights: &BTreeSet<Right>) -> bool {
        let Some(step) = self.graph().and_then(|graph| graph.step(node)) else {
            return false;
        };
        if rights.contains(&Right::Administer) {
            return true;
        }
        if self.facts.directory.is_out(&person.username, self.facts.now) {
            return false;
        }
        let last = self.status.steps.iter().rev().find(|visit| visit.node == node);
        let Some(visit) = last else { return false };
        self.is_viewer(step, visit, rule, person, rights)
            || self.might_decide(visit, person, rights, |partition| partition == rule.name)
    }

    /// Whether the viewers of a partition name somebody. Whom the request bars from deciding may be a viewer all the same.
    fn is_viewer(&self, step: &Step, visit: &StepVisit, rule: &Rule, person: &Actor, rights: &BTreeSet<Right>) -> bool {
        let key = self.facts.directory.person(&person.username);
        let unbarred = Step { self_approval: SelfApproval::Allow, separate_from: Vec::new(), ..step.clone() };
        let judge = Judge::new(self.facts, &unbarred, visit, &self.status.decisions);
        rule.viewers.iter().any(|source| judge.resolve(source, String::new(), None).admits(person, &key, rights))
    }
}
