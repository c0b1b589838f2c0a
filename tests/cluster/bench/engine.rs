//! The decision logic alone: a function of facts, on one processor.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use jiff::Timestamp;
use quorate::api::{
    Actor, ApprovalSignalSpec, BusinessRoleSpec, Decision, IdentitySpec, Member, NameRef, WorkflowDefinitionSpec,
    WorkflowInstanceSpec, WorkflowInstanceStatus,
};
use quorate::directory::Snapshot;
use quorate::engine::graph::{Graph, check, compile};
use quorate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, advance};
use serde::Serialize;
use serde_json::json;

use super::load::{APPROVERS, workflow};

/// What the engine does on one processor.
#[derive(Debug, Serialize)]
pub struct Engine {
    /// An instance in the middle of a step, one signal to judge.
    pub single_per_second: f64,
    /// The same with nothing to judge.
    idle_per_second: f64,
    /// An instance that needs a thousand approvals, all of them there at once.
    pub batch_ms: f64,
    /// The same on a definition of 200 nodes: conditions, expressions, fields, a role of a thousand members, delegations.
    pub large_ms: f64,
    /// Compiling that definition.
    pub compile_ms: f64,
}

const BATCH: u32 = 1000;
const CREATED_AT: i64 = 1_800_000_000;

/// Puts each question again and again for so long.
pub fn measure(time: Duration) -> Result<Engine> {
    let two = Case::of(2)?;
    let begun = two.plan(&WorkflowInstanceStatus::default(), &[]).status;
    let middle = two.plan(&begun, &[signal(0)]).status;
    ensure!(
        middle.decisions.len() == 1 && middle.outcome.is_none(),
        "an instance of two approvals, one given: {middle:?}"
    );
    let deciding = [signal(1)];
    ensure!(two.plan(&middle, &deciding).status.outcome.is_some(), "the second approval decides");

    let many = Case::of(BATCH)?;
    let begun = many.plan(&WorkflowInstanceStatus::default(), &[]).status;
    let signals: Vec<Signal> = (0..BATCH).map(signal).collect();
    let all = many.plan(&begun, &signals);
    ensure!(all.verdicts.iter().all(|verdict| verdict.reason.counted()), "all of {BATCH} count");
    ensure!(all.status.outcome.is_some(), "{BATCH} approvals decide");
    let large = Case::large()?;
    let begun = large.plan(&WorkflowInstanceStatus::default(), &[]).status;
    let members: Vec<Signal> = (0..BATCH).map(member).collect();
    let all = large.plan(&begun, &members);
    ensure!(all.verdicts.iter().all(|verdict| verdict.reason.counted()), "all of {BATCH} count: {:?}", all.verdicts[0]);
    ensure!(all.status.outcome.is_some(), "{BATCH} approvals decide: {:?}", all.status.step);
    let definition = large_workflow();
    Ok(Engine {
        large_ms: 1000.0 / per_second(time, || large.plan(&begun, &members)),
        compile_ms: 1000.0 / per_second(time, || compile(&definition)),
        single_per_second: per_second(time, || two.plan(&middle, &deciding)),
        idle_per_second: per_second(time, || two.plan(&middle, &[])),
        batch_ms: 1000.0 / per_second(time, || many.plan(&begun, &signals)),
    })
}

struct Case {
    graph: Graph,
    spec: WorkflowInstanceSpec,
    directory: Arc<Snapshot>,
    settings: Settings,
}

impl Case {
    fn of(required: u32) -> Result<Self> {
        let graph = compile(&workflow(required)).map_err(|faults| anyhow!("the workflow is faulty: {faults:?}"))?;
        let spec = WorkflowInstanceSpec {
            workflow_ref: Some(NameRef { name: "workflow".into() }),
            initiator: Some(Actor { username: "requester".into(), ..Actor::default() }),
            ..WorkflowInstanceSpec::default()
        };
        let settings = Settings { administrators: Vec::new(), max_signal_age: 3600 };
        Ok(Self { graph, spec, directory: Arc::default(), settings })
    }

    fn large() -> Result<Self> {
        let graph = compile(&large_workflow()).map_err(|faults| anyhow!("the workflow is faulty: {faults:?}"))?;
        let people: Vec<(String, IdentitySpec)> = (0..BATCH)
            .map(|number| {
                let username = format!("person-{number}");
                let manager = format!("identity-{}", number / 10);
                let spec = IdentitySpec { username, active: true, managers: vec![manager], ..IdentitySpec::default() };
                (format!("identity-{number}"), spec)
            })
            .collect();
        let members = people.iter().map(|(name, _)| Member { identity: name.clone(), ..Member::default() }).collect();
        let role = BusinessRoleSpec { members, criticality: Some(3), ..BusinessRoleSpec::default() };
        let people = people.iter().map(|(name, spec)| (name.as_str(), spec));
        let directory = Arc::new(Snapshot::new(people, [("reviewers", &role)]));
        ensure!(check(&graph, &directory).is_empty(), "the workflow fits the directory");
        let small = Self::of(1)?;
        let spec = WorkflowInstanceSpec { role: Some("reviewers".into()), ..small.spec };
        Ok(Self { graph, spec, directory, settings: small.settings })
    }

    fn plan(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        advance(&Facts {
            instance: Instance {
                namespace: "default",
                name: "release",
                uid: "uid",
                generation: Some(1),
                created_at: CREATED_AT,
                spec: &self.spec,
            },
            status,
            definition: Definition::Usable { graph: &self.graph, revision: "revision" },
            newest: None,
            signals,
            recorded: &[],
            seen_until: i64::MIN,
            directory: &self.directory,
            settings: &self.settings,
            proof: &Proof::Since(CREATED_AT - 1),
            object: Object::None,
            performed: None,
            now: Timestamp::from_second(CREATED_AT + 60).unwrap_or_default(),
        })
    }
}

/// A step of a thousand approvals, and a long way of conditions to the end.
fn large_workflow() -> WorkflowDefinitionSpec {
    let step = json!({"name": "review", "approval": {
        "approvers": [{"role": "reviewers"}],
        "required": BATCH,
        "fields": [{"name": "seen", "type": "CheckBox", "mustBe": true}],
        "timeout": {"after": "72h"},
        "escalations": [{"after": "48h", "approvers": [{"supervisorOf": "Approvers"}]}],
    }});
    let condition = |number: u32| {
        let condition = if number.is_multiple_of(2) {
            json!({"type": "RoleCriticality", "operator": "GreaterThan", "right": 2})
        } else {
            json!({"type": "Expression", "expression": "role.criticality > 2 && initiator.username != ''"})
        };
        json!({"name": format!("condition-{number}"), "condition": condition, "next": {"else": "Rejected"}})
    };
    let nodes: Vec<_> = std::iter::once(step).chain((1..200).map(condition)).collect();
    serde_json::from_value(json!({ "nodes": nodes })).unwrap_or_default()
}

/// An approval by a member of the role.
fn member(person: u32) -> Signal {
    let mut approval = signal(person);
    approval.spec.fields.insert("seen".into(), "true".into());
    approval
}

fn signal(person: u32) -> Signal {
    let actor = Actor {
        username: format!("person-{person}"),
        groups: vec![APPROVERS.into(), "system:authenticated".into()],
        ..Actor::default()
    };
    Signal {
        name: format!("signal-{person}"),
        uid: format!("uid-{person}"),
        created_at: CREATED_AT + 30,
        spec: ApprovalSignalSpec {
            instance: "release".into(),
            decision: Decision::Approve,
            actor: Some(actor),
            ..ApprovalSignalSpec::default()
        },
        rights: BTreeSet::new(),
    }
}

fn per_second<T>(time: Duration, work: impl Fn() -> T) -> f64 {
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < time {
        black_box(work());
        count += 1.0;
    }
    count / began.elapsed().as_secs_f64()
}
