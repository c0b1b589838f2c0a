//! The decision logic alone: a function of facts, on one processor.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use jiff::Timestamp;
use quorate::api::{Actor, ApprovalSignalSpec, Decision, NameRef, WorkflowInstanceSpec, WorkflowInstanceStatus};
use quorate::directory::Snapshot;
use quorate::engine::graph::{Graph, compile};
use quorate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, advance};
use serde::Serialize;

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
    Ok(Engine {
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

    fn plan(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        advance(&Facts {
            instance: Instance {
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
            now: Timestamp::from_second(CREATED_AT + 60).unwrap_or_default(),
        })
    }
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
