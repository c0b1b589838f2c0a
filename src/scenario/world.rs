//! Everything that the operator would see of a story, and what has come of it so far. Pure.

use super::Finding;
use super::format::{
    DefinitionLine, DirectoryChange, Members, ObjectLine, ProofLine, Scenario, Seconds, SignalLine, Step,
};
use super::invariants;
use super::schema::strict;
use crate::api::{
    Actor, ApprovalSignalSpec, BusinessRoleSpec, IdentitySpec, WorkflowDefinitionSpec, WorkflowInstanceSpec,
    WorkflowInstanceStatus,
};
use crate::directory::Snapshot;
use crate::engine::graph::{Fault, Graph, check, compile};
use crate::engine::revision::Content;
use crate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, Verdict, advance};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The name and the uid of the instance.
const INSTANCE: (&str, &str) = ("request", "uid-1");

/// What the operator would see, and what has come of it.
pub(super) struct World {
    created_at: i64,
    spec: WorkflowInstanceSpec,
    /// What the definition is called, also while it does not exist.
    workflow: String,
    /// The revision of the definition as it is now.
    current: Option<String>,
    /// Every revision that ever was current.
    revisions: BTreeMap<String, Content>,
    identities: BTreeMap<String, Value>,
    roles: BTreeMap<String, Value>,
    directory: Snapshot,
    settings: Settings,
    proof: Proof,
    object: Object,
    /// Seconds since the epoch, were it not for `clock_off`.
    moment: i64,
    clock_off: i64,
    names: BTreeSet<String>,
    sent: usize,
    pub(super) status: WorkflowInstanceStatus,
    pub(super) unjudged: Vec<Signal>,
    /// By the uid of the signal.
    pub(super) verdicts: BTreeMap<String, Verdict>,
}

impl World {
    /// The world at the beginning of a story.
    pub(super) fn new(scenario: &Scenario) -> Result<Self, Finding> {
        let created_at = scenario.instance.created_at.as_second();
        let mut world = Self {
            created_at,
            spec: WorkflowInstanceSpec {
                initiator: scenario.instance.initiator.as_ref().map(|username| actor(username, &[])),
                subjects: scenario.instance.subjects.clone(),
                title: scenario.instance.title.clone(),
                ..WorkflowInstanceSpec::default()
            },
            workflow: "definition".to_owned(),
            current: None,
            revisions: BTreeMap::new(),
            identities: scenario.identities.clone(),
            roles: scenario.roles.clone(),
            directory: Snapshot::default(),
            settings: Settings {
                administrators: scenario.settings.administrators.clone(),
                max_signal_age: scenario.settings.max_signal_age.0,
            },
            proof: Proof::Since(created_at - 86_400),
            object: object(&scenario.object),
            moment: created_at,
            clock_off: 0,
            names: BTreeSet::new(),
            sent: 0,
            status: WorkflowInstanceStatus::default(),
            unjudged: Vec::new(),
            verdicts: BTreeMap::new(),
        };
        world.read_directory("")?;
        if let Some(proof) = &scenario.proof {
            world.proof = world.proof(proof);
        }
        if let Some(definition) = &scenario.definition {
            world.define(definition, "definition")?;
        }
        Ok(world)
    }

    /// Makes happen what a step says; gives the uids of its signals.
    pub(super) fn happen(&mut self, step: &Step, place: &str) -> Result<Vec<String>, Finding> {
        if let Some(at) = step.at {
            let moment = at.seconds(self.created_at);
            if moment < self.moment {
                let message = "is before the step before; time goes on, but a clock can jump back (clock: -1h)";
                return Err(Finding::malformed(&format!("{place}.at"), message));
            }
            self.moment = moment;
        }
        if let Some(Seconds(jump)) = step.clock {
            self.clock_off = self.clock_off.saturating_add(jump);
        }
        if Timestamp::from_second(self.now()).is_err() {
            return Err(Finding::malformed(place, "is beyond the end of time"));
        }
        if let Some(definition) = &step.definition {
            self.define(definition, &format!("{place}.definition"))?;
        }
        if let Some(change) = &step.directory {
            self.change_directory(change, &format!("{place}.directory."))?;
        }
        if let Some(proof) = &step.proof {
            self.proof = self.proof(proof);
        }
        if let Some(changed) = &step.object {
            self.object = object(changed);
        }
        let signals = step.signals.iter().enumerate();
        signals.map(|(number, line)| self.send(line, &format!("{place}.signals[{number}]"))).collect()
    }

    /// Computes, checks what must hold of every computation, and takes over what came of it, until nothing changes any more.
    pub(super) fn operate(&mut self, place: &str, findings: &mut Vec<Finding>) -> Result<Plan, Finding> {
        for _ in 0..4 {
            let plan = self.compute(&self.status, &self.unjudged);
            let broken = invariants::broken(&self.status, &self.unjudged, &plan, |status, signals| {
                self.compute(status, signals)
            });
            findings.extend(broken.into_iter().map(|what| Finding::quorate(place, what)));
            let changed = plan.status != self.status || !plan.verdicts.is_empty();
            for verdict in &plan.verdicts {
                let uid = &verdict.signal.uid;
                self.unjudged.retain(|signal| signal.uid != *uid);
                if self.verdicts.insert(uid.clone(), verdict.clone()).is_some() {
                    return Err(Finding::quorate(place, format!("{} has two verdicts", verdict.signal.name)));
                }
            }
            self.status = plan.status.clone();
            if !changed {
                if !plan.notes.is_empty() {
                    let message = format!("nothing changed, but people are told {:?}", plan.notes);
                    findings.push(Finding::quorate(place, message));
                }
                return Ok(plan);
            }
        }
        Err(Finding::quorate(place, "computing again still changes something"))
    }

    /// The faults of the definition, as it is now.
    pub(super) fn faults(&self) -> Vec<String> {
        let content = self.current.as_ref().and_then(|revision| self.revisions.get(revision));
        let faults = content.and_then(|content| compiled(&content.workflow, &self.directory).err()).unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    /// The only place where the engine is asked, and where facts are built.
    fn compute(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        // As the operator does: an instance that has started runs on its revision, whatever became of the definition.
        let (revision, started) = match &status.revision {
            Some(revision) => (Some(revision), true),
            None => (self.current.as_ref(), false),
        };
        let content = revision.and_then(|revision| self.revisions.get_key_value(revision));
        let compiled = content.map(|(revision, Content { workflow, .. })| {
            (revision, if started { compile(workflow) } else { compiled(workflow, &self.directory) })
        });
        let workflow = format!("WorkflowDefinition {}", self.workflow);
        let definition = match &compiled {
            None => Definition::Missing(format!("there is no {workflow}; create it")),
            Some((_, Err(faults))) => Definition::Faulty { name: &workflow, faults },
            Some((revision, Ok(graph))) => Definition::Usable { graph, revision },
        };
        let (name, uid) = INSTANCE;
        advance(&Facts {
            instance: Instance { name, uid, generation: Some(1), created_at: self.created_at, spec: &self.spec },
            status,
            definition,
            signals,
            directory: &self.directory,
            settings: &self.settings,
            proof: &self.proof,
            object: self.object.clone(),
            now: Timestamp::from_second(self.now()).unwrap_or_default(),
        })
    }

    fn now(&self) -> i64 {
        self.moment.saturating_add(self.clock_off)
    }

    fn proof(&self, proof: &ProofLine) -> Proof {
        match proof {
            ProofLine::Since(since) => Proof::Since(since.seconds(self.created_at)),
            ProofLine::Broken(why) => Proof::Broken(why.clone()),
        }
    }

    fn define(&mut self, definition: &DefinitionLine, place: &str) -> Result<(), Finding> {
        match definition {
            DefinitionLine::Inline { name, spec } => {
                let workflow: WorkflowDefinitionSpec = strict("WorkflowDefinition", place, spec)?;
                let content = Content { workflow_name: name.clone(), workflow, process: None };
                let revision = content.name().map_err(|error| Finding::quorate(place, error.to_string()))?;
                self.workflow.clone_from(name);
                self.revisions.insert(revision.clone(), content);
                self.current = Some(revision);
            }
            DefinitionLine::File(named) => {
                return Err(Finding::malformed(place, format!("the file {} has not been read", named.file)));
            }
            DefinitionLine::Deleted => self.current = None,
        }
        Ok(())
    }

    /// Takes over the specs of the directory; `place` is in front of the names of their fields.
    fn read_directory(&mut self, place: &str) -> Result<(), Finding> {
        let identities = self.identities.iter().map(|(name, spec)| Ok((name.as_str(), identity(name, spec, place)?)));
        let identities: BTreeMap<&str, IdentitySpec> = identities.collect::<Result<_, Finding>>()?;
        let roles = self.roles.iter().map(|(name, spec)| Ok((name.as_str(), role(name, spec, place)?)));
        let roles: BTreeMap<&str, BusinessRoleSpec> = roles.collect::<Result<_, Finding>>()?;
        self.directory = Snapshot::new(
            identities.iter().map(|(name, spec)| (*name, spec)),
            roles.iter().map(|(name, spec)| (*name, spec)),
        );
        Ok(())
    }

    fn change_directory(&mut self, change: &DirectoryChange, place: &str) -> Result<(), Finding> {
        for (name, patch) in &change.identities {
            let wrong = |message: &str| Err(Finding::malformed(&format!("{place}identities.{name}"), message));
            match patch {
                Value::Null if self.identities.remove(name).is_none() => {
                    return wrong("there is no such identity to remove");
                }
                Value::Null => {}
                Value::Object(patch) => merge(self.identities.entry(name.clone()).or_insert_with(|| json!({})), patch),
                _ => return wrong("fields to change are meant, or null to remove it"),
            }
        }
        for (name, change) in &change.roles {
            let place = format!("{place}roles.{name}");
            let role = self.roles.get_mut(name).and_then(Value::as_object_mut);
            let role = role.ok_or_else(|| Finding::malformed(&place, "there is no such role"))?;
            change_members(role, change, &place)?;
        }
        self.read_directory(place)
    }

    fn send(&mut self, line: &SignalLine, place: &str) -> Result<String, Finding> {
        self.sent += 1;
        let uid = format!("signal-{:04}", self.sent);
        let sender = line.by.as_deref().unwrap_or("nobody");
        let mut name = line.name.clone().unwrap_or_else(|| sender.to_owned());
        if line.name.is_none() {
            let mut number = 2;
            while self.names.contains(&name) {
                name = format!("{sender}-{number}");
                number += 1;
            }
        }
        if !self.names.insert(name.clone()) {
            return Err(Finding::malformed(&format!("{place}.name"), format!("there is a signal {name} already")));
        }
        let created_at = line.sent.map_or(self.now(), |sent| sent.seconds(self.created_at));
        let spec = ApprovalSignalSpec {
            instance: INSTANCE.0.to_owned(),
            instance_uid: line.instance_uid.clone(),
            step: line.step.clone(),
            partition: line.partition.clone(),
            visit: line.visit,
            decision: line.decision,
            comment: line.comment.clone(),
            actor: line.by.as_ref().map(|username| actor(username, &line.groups)),
        };
        self.unjudged.push(Signal { name, uid: uid.clone(), created_at, spec });
        Ok(uid)
    }
}

fn object(line: &ObjectLine) -> Object {
    match line {
        ObjectLine::None => Object::None,
        ObjectLine::Waiting => Object::Waiting,
        ObjectLine::Approved => Object::Decided(true),
        ObjectLine::Denied => Object::Decided(false),
        ObjectLine::Gone(what) => Object::Gone(what.clone()),
    }
}

fn compiled(workflow: &WorkflowDefinitionSpec, directory: &Snapshot) -> Result<Graph, Vec<Fault>> {
    let graph = compile(workflow)?;
    let faults = check(&graph, directory);
    if faults.is_empty() { Ok(graph) } else { Err(faults) }
}

fn actor(username: &str, groups: &[String]) -> Actor {
    Actor { username: username.to_owned(), uid: String::new(), groups: groups.to_vec() }
}

fn identity(name: &str, spec: &Value, place: &str) -> Result<IdentitySpec, Finding> {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.entry("username").or_insert_with(|| json!(name));
    }
    strict("Identity", &format!("{place}identities.{name}"), &spec)
}

fn role(name: &str, spec: &Value, place: &str) -> Result<BusinessRoleSpec, Finding> {
    let mut spec = spec.clone();
    for member in spec.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::String(identity) = member {
            *member = json!({"identity": identity});
        }
    }
    strict("BusinessRole", &format!("{place}roles.{name}"), &spec)
}

fn change_members(role: &mut Map<String, Value>, change: &Members, place: &str) -> Result<(), Finding> {
    let Value::Array(members) = role.entry("members").or_insert_with(|| json!([])) else {
        return Err(Finding::malformed(place, "its members are no list"));
    };
    for gone in &change.remove {
        let before = members.len();
        members.retain(|member| member.as_str().or_else(|| member["identity"].as_str()) != Some(gone.as_str()));
        if members.len() == before {
            return Err(Finding::malformed(&format!("{place}.remove"), format!("{gone} is no member")));
        }
    }
    members.extend(change.add.iter().cloned());
    Ok(())
}

/// A JSON merge patch, of one level.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    let Value::Object(target) = target else { return };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            target.insert(field.clone(), value.clone());
        }
    }
}
