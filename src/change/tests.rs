//! What an operation comes to: what of it means something, and whom it is asked of.

#![allow(clippy::needless_pass_by_value, reason = "it is written at the call: gate(&[…], json!(…))")]
#![allow(clippy::type_complexity, reason = "tables")]

use super::payload::{bypass_reason, happened, ignored, redacted};
use super::select::{gates, left};
use super::{Attempt, Candidate, Selection, held, select};
use crate::api::{Actor, ApprovalProcessSpec, GateEvent, Held, Operation};
use serde_json::{Value, json};
use std::collections::BTreeMap;

mod matched;
mod meant;

const KEY: &[u8] = b"a key";

/// An attempt that owns what it is made of.
struct Asked {
    operation: Operation,
    resource: (&'static str, &'static str, &'static str),
    namespace: Option<&'static str>,
    labels: BTreeMap<String, String>,
    name: &'static str,
    old: Option<Value>,
    new: Option<Value>,
    user: Actor,
}

impl Asked {
    /// An attempt of Mary on the Deployment `web` in `prod`.
    fn new(operation: Operation, old: Option<Value>, new: Option<Value>) -> Self {
        let user = Actor { username: "mary".to_owned(), groups: vec!["devs".to_owned()], ..Actor::default() };
        Self {
            operation,
            resource: ("apps", "deployments", ""),
            namespace: Some("prod"),
            labels: BTreeMap::from([("tier".to_owned(), "prod".to_owned())]),
            name: "web",
            old,
            new,
            user,
        }
    }

    fn update(old: Value, new: Value) -> Self {
        Self::new(Operation::Update, Some(old), Some(new))
    }

    fn on(self, group: &'static str, resource: &'static str, subresource: &'static str) -> Self {
        Self { resource: (group, resource, subresource), ..self }
    }

    fn of(mut self, username: &str, groups: &[&str]) -> Self {
        self.user = Actor {
            username: username.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Actor::default()
        };
        self
    }

    fn attempt(&self) -> Attempt<'_> {
        let (group, resource, subresource) = self.resource;
        Attempt {
            operation: self.operation,
            group,
            version: "v1",
            resource,
            subresource,
            kind: "Deployment",
            namespace: self.namespace,
            namespace_labels: &self.labels,
            name: self.name,
            object: self.new.as_ref(),
            old_object: self.old.as_ref(),
            user: &self.user,
            request: None,
        }
    }
}

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "web", "uid": "one", "resourceVersion": "7"}, "spec": {"replicas": replicas, "image": "a"}})
}

/// A process with a gate for deployments; `more` overrides fields of the gate.
fn gate(operations: &[&str], more: Value) -> GateEvent {
    let mut gate = json!({"operations": operations,
        "resources": [{"apiGroups": ["apps"], "resources": ["deployments"]}]});
    gate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(gate).unwrap()
}

fn process(more: Value, gate: GateEvent) -> ApprovalProcessSpec {
    let mut spec = json!({"event": {"gate": gate}, "workflowRef": {"name": "two-people"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn selected(processes: &[(&str, ApprovalProcessSpec)], asked: &Asked) -> Selection {
    let candidates: Vec<_> = processes.iter().map(|(name, spec)| Candidate { name, spec, not_ready: None }).collect();
    select(&candidates, &asked.attempt())
}

/// Whether a process with this gate is asked.
fn asks(gate: &GateEvent, asked: &Asked) -> bool {
    match selected(&[("only", process(json!({}), gate.clone()))], asked) {
        Selection::Ask(planned) => planned.len() == 1,
        Selection::Nobody => false,
        other => panic!("{other:?}"),
    }
}

fn names(selection: &Selection) -> Vec<&str> {
    match selection {
        Selection::Ask(planned) => planned.iter().map(|process| process.name.as_str()).collect(),
        Selection::Nobody => vec!["nobody"],
        Selection::Skip(name) => vec!["skip", name],
        Selection::Hold { process, .. } => vec!["hold", process],
    }
}

fn held_of(gate: &GateEvent, asked: &Asked) -> (Held, Option<Value>) {
    held(&asked.attempt(), &[gate], Vec::new(), KEY)
}
