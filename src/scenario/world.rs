//! Everything that the operator would see of a story, and what has come of it so far. Pure.

use super::Finding;
use super::format::{
    Account, ActivityLine, CameLine, DefinitionLine, ObjectLine, ProofLine, Scenario, SignalLine, Step,
};
use super::invariants;
use super::moment::Seconds;
use super::people::People;
use super::schema::strict;
use crate::api::{
    Actor, ApprovalSignalSpec, NameRef, WorkflowDefinitionSpec, WorkflowInstanceSpec, WorkflowInstanceStatus,
};
use crate::directory::Snapshot;
use crate::engine::activity::{Activity, Came, Performed, job_name};
use crate::engine::graph::{Fault, Graph, check, compile, warnings};
use crate::engine::revision::Content;
use crate::engine::source::Source;
use crate::engine::{
    Definition, Facts, Instance, Object, Plan, Proof, Right, Seen, Settings, Signal, Verdict, advance, explain, visible,
};
use crate::notify::{Destination, Links, Message, Rendered, Setting, Story, Texts};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The namespace, the name and the uid of the instance.
const INSTANCE: (&str, &str, &str) = ("default", "request", "uid-1");

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
    people: People,
    accounts: BTreeMap<String, Account>,
    settings: Settings,
    proof: Proof,
    object: Object,
    /// What the operator is to do.
    asked: Option<Activity>,
    /// What came of it.
    performed: Option<Performed>,
    /// Seconds since the epoch, were it not for `clock_off`.
    moment: i64,
    clock_off: i64,
    /// Every signal that was made by this second is known; none: by now.
    seen_until: Option<i64>,
    /// Signals that have a verdict.
    judged: Vec<Signal>,
    names: BTreeSet<String>,
    sent: usize,
    pub(super) status: WorkflowInstanceStatus,
    pub(super) unjudged: Vec<Signal>,
    /// By the uid of the signal.
    pub(super) verdicts: BTreeMap<String, Verdict>,
    /// The ids of what people have been told.
    told: BTreeSet<String>,
    /// Who has been told what since it was last looked at.
    pub(super) notified: Vec<String>,
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
                role: scenario.instance.role.clone(),
                superior_role: scenario.instance.superior_role.clone(),
                sub_role: scenario.instance.sub_role.clone(),
                parameters: scenario.instance.parameters.clone(),
                exclude_approvers: scenario.instance.exclude_approvers.clone(),
                process_ref: scenario.instance.process.clone().map(|name| NameRef { name }),
                object: scenario.instance.payload.clone(),
                old_object: scenario.instance.old_payload.clone(),
                operation: scenario.instance.operation,
                ..WorkflowInstanceSpec::default()
            },
            workflow: "definition".to_owned(),
            current: None,
            revisions: BTreeMap::new(),
            people: People::new(scenario, created_at - 86_400)?,
            accounts: scenario.accounts.clone(),
            settings: Settings {
                administrators: scenario.settings.administrators.iter().filter_map(Source::named).collect(),
                max_signal_age: scenario.settings.max_signal_age.0,
            },
            proof: Proof::Since(created_at - 86_400),
            object: object(&scenario.object),
            asked: None,
            performed: None,
            moment: created_at,
            clock_off: 0,
            seen_until: None,
            judged: Vec::new(),
            names: BTreeSet::new(),
            sent: 0,
            status: WorkflowInstanceStatus::default(),
            unjudged: Vec::new(),
            verdicts: BTreeMap::new(),
            told: BTreeSet::new(),
            notified: Vec::new(),
        };
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
            self.people.change(change, &format!("{place}.directory."), self.now())?;
        }
        if let Some(proof) = &step.proof {
            self.proof = self.proof(proof);
        }
        if let Some(changed) = &step.object {
            self.object = object(changed);
        }
        self.performed = step.activity.as_ref().map(|line| self.performs(line, place)).transpose()?;
        self.seen_until = step.seen_until.map(|until| until.seconds(self.created_at));
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
                self.judged.extend(self.unjudged.extract_if(.., |signal| signal.uid == *uid));
                if self.verdicts.insert(uid.clone(), verdict.clone()).is_some() {
                    return Err(Finding::quorate(place, format!("{} has two verdicts", verdict.signal.name)));
                }
            }
            self.status = plan.status.clone();
            self.asked.clone_from(&plan.activity);
            if !changed {
                if !plan.notes.is_empty() {
                    let message = format!("nothing changed, but people are told {:?}", plan.notes);
                    findings.push(Finding::quorate(place, message));
                }
                self.notify();
                return Ok(plan);
            }
        }
        Err(Finding::quorate(place, "computing again still changes something"))
    }

    /// Tells people what they have not been told yet.
    fn notify(&mut self) {
        let told = &self.told;
        let composed = self.ask(&self.status, &[], |facts| {
            let story = Story::new(facts, None, &[])?;
            let mut due = story.occurrences();
            due.retain(|occurrence| !told.contains(&occurrence.id));
            let setting = Setting { links: &Links::default(), time_zone: "UTC" };
            Some(story.compose(&due, &Unwritten, &setting))
        });
        let Some(composed) = composed else { return };
        self.told.extend(composed.marks);
        self.notified.extend(composed.messages.into_iter().map(|Message { topic, to, .. }| match to {
            Destination::Mail { address, .. } => format!("{topic} {address}"),
            Destination::Channel(channel) => format!("{topic} channel {channel}"),
        }));
    }

    /// The faults of the definition, as it is now.
    pub(super) fn faults(&self) -> Vec<String> {
        let content = self.current.as_ref().and_then(|revision| self.revisions.get(revision));
        let faults =
            content.and_then(|content| compiled(&content.workflow, self.people.directory()).err()).unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    /// What works in the definition, as it is now, but may not be meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let content = self.current.as_ref().and_then(|revision| self.revisions.get(revision));
        content.and_then(|content| compile(&content.workflow).ok()).map(|graph| warnings(&graph)).unwrap_or_default()
    }

    fn compute(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        self.ask(status, signals, advance)
    }

    /// What somebody is told who asks why.
    pub(super) fn explain(&self, username: &str) -> String {
        let (person, rights) = self.account(username, &[], &[]);
        self.ask(&self.status, &[], |facts| explain(facts, &person, &rights).to_string())
    }

    /// What somebody may see of what was decided.
    pub(super) fn visible(&self, username: &str) -> Vec<Seen> {
        let (person, rights) = self.account(username, &[], &[]);
        self.ask(&self.status, &[], |facts| visible(facts, &person, &rights))
    }

    /// The only place where the engine is asked, and where facts are built.
    fn ask<T>(&self, status: &WorkflowInstanceStatus, signals: &[Signal], question: impl Fn(&Facts<'_>) -> T) -> T {
        let (namespace, name, uid) = INSTANCE;
        let workflow = format!("WorkflowDefinition {}", self.workflow);
        let directory = self.people.directory();
        // As the operator does: an instance that has started runs on its revision, whatever became of the definition.
        let on = |revision: Option<&String>, started: bool| {
            let content = revision.and_then(|revision| self.revisions.get_key_value(revision));
            content.map(|(revision, Content { workflow, .. })| {
                (revision, if started { compile(workflow) } else { compiled(workflow, directory) })
            })
        };
        let current = on(self.current.as_ref(), false);
        let running = status.revision.as_ref().map(|revision| on(Some(revision), true));
        question(&Facts {
            instance: Instance {
                namespace,
                name,
                uid,
                generation: Some(1),
                created_at: self.created_at,
                spec: &self.spec,
            },
            status,
            definition: definition(&workflow, running.as_ref().unwrap_or(&current).as_ref()),
            newest: Some(definition(&workflow, current.as_ref())),
            signals,
            recorded: &self.judged,
            seen_until: self.seen_until.unwrap_or(self.now()),
            directory,
            settings: &self.settings,
            proof: &self.proof,
            object: self.object.clone(),
            performed: self.performed.as_ref(),
            now: Timestamp::from_second(self.now()).unwrap_or_default(),
        })
    }

    /// What came of what is asked for.
    fn performs(&self, line: &ActivityLine, place: &str) -> Result<Performed, Finding> {
        let asked = self.asked.as_ref().filter(|asked| asked.node == line.node);
        let Some(asked) = asked else {
            let now = self.asked.as_ref().map_or("nothing".to_owned(), |asked| format!("that {} is done", asked.node));
            let message = format!("{} asks for nothing then; asked for is {now}", line.node);
            return Err(Finding::malformed(&format!("{place}.activity.node"), message));
        };
        let came = match line.came {
            CameLine::Done => Came::Done,
            CameLine::Failed => Came::Failed,
            CameLine::Again => Came::Again,
            CameLine::Runs => Came::Runs(job_name(asked)),
            CameLine::TimedOut => Came::TimedOut,
        };
        Ok(Performed { id: asked.id.clone(), attempt: asked.attempt, came, message: line.message.clone() })
    }

    /// Somebody, and what RBAC allows them.
    fn account(&self, username: &str, groups: &[String], rights: &[String]) -> (Actor, BTreeSet<Right>) {
        let known = self.accounts.get(username).cloned().unwrap_or_default();
        let rights = rights.iter().chain(&known.rights).map(|right| match right.as_str() {
            "cancel" => Right::Cancel,
            "administer" => Right::Administer,
            verb => Right::Process(verb.to_owned()),
        });
        (actor(username, &[groups, &known.groups].concat()), rights.collect())
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
        let (person, rights) = self.account(sender, &line.groups, &line.rights);
        let spec = ApprovalSignalSpec {
            instance: INSTANCE.1.to_owned(),
            instance_uid: line.instance_uid.clone(),
            step: line.step.clone(),
            partition: line.partition.clone(),
            visit: line.visit,
            decision: line.decision,
            comment: line.comment.clone(),
            fields: line.fields.clone(),
            delegate_to: line.delegate_to.clone(),
            approvers: line.approvers.clone(),
            actor: line.by.is_some().then_some(person),
        };
        self.unjudged.push(Signal { name, uid: uid.clone(), created_at, spec, rights });
        Ok(uid)
    }
}

/// A revision, compiled.
type Compiled<'a> = (&'a String, Result<Graph, Vec<Fault>>);

fn definition<'a>(workflow: &'a str, compiled: Option<&'a Compiled<'a>>) -> Definition<'a> {
    match compiled {
        None => Definition::Missing(format!("there is no {workflow}; create it")),
        Some((_, Err(faults))) => Definition::Faulty { name: workflow, faults },
        Some((revision, Ok(graph))) => Definition::Usable { graph, revision },
    }
}

fn object(line: &ObjectLine) -> Object {
    match line {
        ObjectLine::None => Object::None,
        ObjectLine::Waiting => Object::Waiting,
        ObjectLine::Held => Object::Held,
        ObjectLine::Passing => Object::Passing,
        ObjectLine::Approved => Object::Decided(true),
        ObjectLine::Denied => Object::Decided(false),
        ObjectLine::Gone(what) => Object::Gone(what.clone()),
    }
}

/// Messages whose text nobody reads.
struct Unwritten;

impl Texts for Unwritten {
    fn is_enabled(&self, _: &str) -> bool {
        true
    }

    fn render(&self, _: &str, _: &str, _: Option<&str>, _: &Value) -> Rendered {
        Rendered::default()
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
