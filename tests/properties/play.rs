//! Plays a story as the operator does: the status is fed back, a signal is judged until it has a verdict.

use super::rules;
use super::story::{CREATED_AT, Change, Directory, Event, Fill, MARKER, Sent, Story, USERS, identity_name};
use jiff::Timestamp;
use proptest::test_runner::TestCaseError;
use quorate::api::{
    Actor, ApprovalSignalSpec, BusinessCalendarSpec, FieldType, IdentitySpec, Member, NameRef, WorkflowInstanceSpec,
    WorkflowInstanceStatus,
};
use quorate::calendar::Calendar;
use quorate::directory::Snapshot;
use quorate::engine::activity::{Activity, Came, Deed, Performed, job_name};
use quorate::engine::graph::{Fault, Graph, Rule, check, compile};
use quorate::engine::source::Source;
use quorate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, advance};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A story as it is played.
pub struct Play<'s> {
    pub story: &'s Story,
    pub spec: WorkflowInstanceSpec,
    pub settings: Settings,
    pub directory: Directory,
    /// By position in the story.
    graphs: Vec<Result<Graph, Vec<Fault>>>,
    /// The definition as it is now.
    current: Option<usize>,
    snapshot: bool,
    pub proof: Proof,
    object: Object,
    /// What the operator is to do, and what came of it.
    asked: Option<Activity>,
    pub performed: Option<Performed>,
    pub now: i64,
    pub lag: i64,
    pub status: WorkflowInstanceStatus,
    pub unjudged: Vec<Signal>,
    pub sent: BTreeMap<String, Signal>,
    /// How many approvals each task needs, as far as it was seen: by step, visit and partition.
    pub required: BTreeMap<(String, u32, String), u32>,
    /// The graphs that it ran on: at the start, and after each restart.
    pub ran_on: Vec<usize>,
}

impl<'s> Play<'s> {
    pub fn new(story: &'s Story) -> Self {
        let actor = |username: &str| Actor { username: username.to_owned(), ..Actor::default() };
        let request = &story.request;
        let [role, superior_role, sub_role] = request.roles.map(|role| role.map(str::to_owned));
        Self {
            story,
            spec: WorkflowInstanceSpec {
                initiator: request.initiator.map(actor),
                subjects: request.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
                role,
                superior_role,
                sub_role,
                parameters: request.parameters.clone(),
                exclude_approvers: request.excluded.iter().map(|excluded| (*excluded).to_owned()).collect(),
                process_ref: request.process.then(|| NameRef { name: "process".to_owned() }),
                ..WorkflowInstanceSpec::default()
            },
            settings: Settings {
                administrators: story.administrators.iter().filter_map(|source| Source::compile(source).ok()).collect(),
                max_signal_age: 3600,
            },
            directory: story.directory.clone(),
            graphs: story.definitions.iter().map(compile).collect(),
            current: Some(0),
            snapshot: true,
            proof: Proof::Since(CREATED_AT - 10),
            object: Object::None,
            asked: None,
            performed: None,
            now: CREATED_AT,
            lag: 0,
            status: WorkflowInstanceStatus::default(),
            unjudged: Vec::new(),
            sent: BTreeMap::new(),
            required: BTreeMap::new(),
            ran_on: Vec::new(),
        }
    }

    /// Whether the story begins with a definition that works.
    pub fn is_sound(&self) -> bool {
        self.graphs.first().is_some_and(Result::is_ok)
    }

    pub fn happen(&mut self, event: &Event) {
        self.now += event.clock;
        self.lag = event.lag;
        match event.change.clone() {
            Change::Nothing => {}
            Change::Active(number, active) => {
                if let Some(person) = self.directory.identities.get_mut(&identity_name(USERS[number])) {
                    person.active = active;
                }
            }
            Change::Managers(number, managers) => {
                if let Some(person) = self.directory.identities.get_mut(&identity_name(USERS[number])) {
                    person.managers = managers.into_iter().map(identity_name).collect();
                }
            }
            Change::Members(role, members) => {
                let member = |username: &str| Member { identity: identity_name(username), ..Member::default() };
                if let Some(role) = self.directory.roles.get_mut(role) {
                    role.members = members.into_iter().map(member).collect();
                }
            }
            Change::Rival(None) => {
                self.directory.identities.remove("rival");
            }
            Change::Rival(Some(username)) => {
                let rival = IdentitySpec {
                    username: "rival".to_owned(),
                    aliases: vec![username.to_owned()],
                    active: true,
                    ..IdentitySpec::default()
                };
                self.directory.identities.insert("rival".to_owned(), rival);
            }
            Change::Delegate(standing) => self.directory.delegations.push(standing),
            Change::Undelegate => {
                self.directory.delegations.pop();
            }
            Change::Calendars(present) => self.directory.calendars = present,
            Change::Proof(None) => self.proof = Proof::Since(CREATED_AT - 10),
            Change::Proof(Some(true)) => self.proof = Proof::Since(self.now - 1),
            Change::Proof(Some(false)) => self.proof = Proof::Broken("no policy".to_owned()),
            Change::Object(object) => self.object = object,
            Change::Edit(current) => self.current = current,
            // Whatever starts writes its own first.
            Change::Snapshot(readable) => self.snapshot = readable || self.status.started_at.is_none(),
        }
        self.performed = self.asked.as_ref().map(|asked| came_of(asked, self.now));
        for sent in &event.signals {
            let uid = format!("{:04}", (self.sent.len() * 7919) % 10_000);
            let signal = self.signal(sent, &uid);
            self.sent.insert(uid, signal.clone());
            self.unjudged.push(signal);
        }
    }

    fn signal(&self, sent: &Sent, uid: &str) -> Signal {
        let groups = sent.groups.iter().map(|group| (*group).to_owned()).collect();
        let fields = match sent.fields {
            Fill::None => BTreeMap::new(),
            Fill::Right => self.asked(sent.partition).map(filled_in).unwrap_or_default(),
            Fill::Wrong => {
                BTreeMap::from([("number".to_owned(), format!("{MARKER} 1")), ("note".to_owned(), MARKER.to_owned())])
            }
        };
        let spec = ApprovalSignalSpec {
            instance: "request".to_owned(),
            instance_uid: None,
            step: sent.step.map(str::to_owned),
            partition: sent.partition.map(str::to_owned),
            visit: sent.visit,
            decision: sent.decision,
            comment: sent.comment.then(|| format!("{MARKER} remark {uid}")),
            fields,
            delegate_to: sent.delegate_to.clone(),
            approvers: sent.approvers.clone(),
            actor: sent.actor.map(|username| Actor { username: username.to_owned(), uid: String::new(), groups }),
        };
        Signal {
            name: format!("signal-{uid}"),
            uid: uid.to_owned(),
            created_at: self.now - sent.age,
            spec,
            rights: sent.rights.iter().cloned().collect(),
        }
    }

    /// What is asked for at the moment: of that partition, or of the first that is open.
    fn asked(&self, partition: Option<&str>) -> Option<&Rule> {
        let visit = self.status.steps.last().filter(|visit| visit.left_at.is_none())?;
        let rules = &self.graph_of(&self.status)?.step(&visit.node)?.partitions;
        rules.iter().find(|rule| partition.is_none_or(|partition| partition == rule.name))
    }

    /// The graph that an instance in this status runs on.
    pub fn graph_of(&self, status: &WorkflowInstanceStatus) -> Option<&Graph> {
        self.graph_after(usize::try_from(status.restarts).ok()?)
    }

    /// The graph that it ran on after so many restarts.
    pub fn graph_after(&self, restarts: usize) -> Option<&Graph> {
        self.graphs.get(*self.ran_on.get(restarts)?)?.as_ref().ok()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        let spec =
            serde_json::from_str::<BusinessCalendarSpec>(r#"{"timeZone": "Europe/Prague"}"#).expect("a calendar");
        let calendars = self.directory.calendars.then(|| ("office".to_owned(), Calendar::compile(&spec)));
        let identities = self.directory.identities.iter().map(|(name, spec)| (name.as_str(), spec));
        let roles = self.directory.roles.iter().map(|(name, spec)| (name.as_str(), spec));
        let snapshot = Snapshot::new(identities, roles);
        Arc::new(snapshot.with_delegations(self.directory.delegations.iter().cloned()).with_calendars(calendars))
    }

    /// Whether a started instance has its graph.
    pub fn readable(&self) -> bool {
        self.snapshot
    }

    pub fn compute(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        self.ask(status, signals, advance)
    }

    pub fn ask<T>(&self, status: &WorkflowInstanceStatus, signals: &[Signal], question: impl Fn(&Facts<'_>) -> T) -> T {
        let directory = self.snapshot();
        let open: BTreeSet<&String> = signals.iter().map(|signal| &signal.uid).collect();
        let recorded: Vec<Signal> = self.sent.values().filter(|signal| !open.contains(&signal.uid)).cloned().collect();
        let faulty: Vec<Vec<Fault>> = self.graphs.iter().map(|graph| faults(graph, &directory)).collect();
        let names = ["workflow-0", "workflow-1"];
        let usable = |position: usize| match &self.graphs[position] {
            Ok(graph) => Definition::Usable { graph, revision: names[position] },
            Err(faults) => Definition::Faulty { name: "definition", faults },
        };
        // Whether it works in this directory only matters to those that are about to start.
        let current = || match self.current {
            None => Definition::Missing("there is no definition".to_owned()),
            Some(position) if !faulty[position].is_empty() => {
                Definition::Faulty { name: "definition", faults: &faulty[position] }
            }
            Some(position) => usable(position),
        };
        let running = status.revision.as_ref().and_then(|revision| names.iter().position(|name| name == revision));
        let definition = match running {
            Some(_) if !self.snapshot => Definition::Missing("its snapshot is lost".to_owned()),
            Some(position) => usable(position),
            None => current(),
        };
        question(&Facts {
            instance: Instance {
                namespace: "default",
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: CREATED_AT,
                spec: &self.spec,
            },
            status,
            definition,
            newest: Some(current()),
            signals,
            recorded: &recorded,
            seen_until: self.now - self.lag,
            directory: &directory,
            settings: &self.settings,
            proof: &self.proof,
            object: self.object.clone(),
            performed: self.performed.as_ref(),
            now: Timestamp::from_second(self.now).expect("a time"),
        })
    }

    /// Computes until nothing changes any more, checks what must hold each time, and takes over what came of it.
    pub fn operate(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..5 {
            let plan = self.compute(&self.status, &self.unjudged);
            self.take_note(&plan);
            rules::hold(self, &plan)?;
            if !self.take_over(plan) {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("computing again and again still changes something"))
    }

    /// Remembers what the status does not keep.
    pub fn take_note(&mut self, plan: &Plan) {
        if plan.status.started_at.is_some() {
            let now = self.current.unwrap_or_default();
            while self.ran_on.len() <= plan.status.restarts as usize {
                self.ran_on.push(now);
            }
        }
        for task in plan.status.tasks.iter().filter(|task| task.required > 0) {
            self.required.insert((task.step.clone(), task.visit, task.partition.clone()), task.required);
        }
    }

    /// Takes over what came of a computation; whether that is something new.
    pub fn take_over(&mut self, plan: Plan) -> bool {
        let judged: BTreeSet<&String> = plan.verdicts.iter().map(|verdict| &verdict.signal.uid).collect();
        let changed = plan.status != self.status || !judged.is_empty();
        self.unjudged.retain(|signal| !judged.contains(&signal.uid));
        self.asked = plan.activity;
        self.status = plan.status;
        changed
    }
}

/// What came of an activity: anything may, and an endpoint may tell what it was told.
fn came_of(asked: &Activity, now: i64) -> Performed {
    let came = match now % 5 {
        0 | 1 => Came::Done,
        2 => Came::Failed,
        3 if matches!(asked.deed, Deed::Job { .. }) => Came::Runs(job_name(asked)),
        _ => Came::Again,
    };
    let told = matches!(asked.deed, Deed::Http { .. });
    let message = if told { format!("answered {MARKER}") } else { "answered".to_owned() };
    Performed { id: asked.id.clone(), attempt: asked.attempt, came, message }
}

fn faults(graph: &Result<Graph, Vec<Fault>>, directory: &Snapshot) -> Vec<Fault> {
    match graph {
        Ok(graph) => check(graph, directory),
        Err(faults) => faults.clone(),
    }
}

/// Values that the fields of a partition take.
pub fn filled_in(rule: &Rule) -> BTreeMap<String, String> {
    let value = |type_| match type_ {
        FieldType::CheckBox => "true".to_owned(),
        FieldType::NumberShort | FieldType::NumberLong => "7".to_owned(),
        FieldType::RadioButton => "this".to_owned(),
        FieldType::Text => format!("{MARKER} note"),
        FieldType::URL => format!("https://example.com/{MARKER}"),
    };
    rule.fields.iter().map(|field| (field.name.clone(), value(field.type_))).collect()
}
