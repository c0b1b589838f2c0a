//! What the server alone does: instances created by an ordinary user, and status writes as the operator sends them. The
//! admission policies are installed, the operator does not run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use quorate::api::WorkflowInstance;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::load::{Load, repeat};
use super::{AT_ONCE, Size, as_operator};
use crate::cluster::ControlPlane;

/// The numbers of concurrent writers that are tried.
const WRITERS: [usize; 4] = [8, 16, 32, 64];

/// Writes per second of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// With the best number of writers.
    pub rate: f64,
    /// That number.
    pub writers: usize,
    /// Each number that was tried, and its rate in the shorter trial.
    pub tried: Vec<(usize, f64)>,
}

/// The ceiling of each kind of write.
#[derive(Clone, Debug, Serialize)]
pub struct Ceiling {
    /// Creates.
    pub creates: Rate,
    /// Status writes.
    pub updates: Rate,
}

impl Ceiling {
    /// Writes per second of so many creates for so many updates.
    pub fn of_mix(&self, creates: f64, updates: f64) -> f64 {
        (creates + updates) / (creates / self.creates.rate + updates / self.updates.rate)
    }
}

/// Drives the server to its ceiling.
pub async fn measure(cluster: &ControlPlane, load: &Load, size: Size) -> Result<Ceiling> {
    let clients = [load.requester.clone(), cluster.as_user("requester", &["developers"]).await?];
    let apis: Vec<Api<WorkflowInstance>> =
        clients.into_iter().map(|client| Api::namespaced(client, &load.other_namespace)).collect();
    let (count, created) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let all = created.clone();
    let creates = saturate(size, move |writer, deadline| {
        let (api, count, all) = (apis[writer % apis.len()].clone(), count.clone(), all.clone());
        async move {
            let mut mine = Vec::new();
            while Instant::now() < deadline {
                let name = format!("raw-{}", count.fetch_add(1, Ordering::Relaxed));
                mine.push(api.create(&PostParams::default(), &Load::instance(&name, "two")).await?);
            }
            let written = mine.len();
            all.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
            Ok(written)
        }
    })
    .await?;

    let api: Api<WorkflowInstance> = Api::namespaced(as_operator(cluster).await?, &load.other_namespace);
    let (next, writing) = (Arc::new(AtomicUsize::new(0)), api.clone());
    let instances: Arc<Vec<Mutex<WorkflowInstance>>> = {
        let mut created = created.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::new(created.drain(..).map(Mutex::new).collect())
    };
    let all = instances.clone();
    let updates = saturate(size, move |_, deadline| {
        let (api, next, all) = (writing.clone(), next.clone(), all.clone());
        async move {
            let mut written = 0;
            while Instant::now() < deadline {
                let number = next.fetch_add(1, Ordering::Relaxed);
                write(&api, &all[number % all.len()], number).await?;
                written += 1;
            }
            Ok(written)
        }
    })
    .await?;

    // What is left must not look as if it waited: it would be no part of what follows.
    repeat(instances.len(), AT_ONCE, move |number| {
        let (api, instances) = (api.clone(), instances.clone());
        async move {
            let finished = peek(&instances[number]).status.is_some_and(|status| status.outcome.is_some());
            if finished { Ok(()) } else { write(&api, &instances[number], number).await }
        }
    })
    .await?;
    Ok(Ceiling { creates, updates })
}

/// Finds out how many writers write most, and lets so many write for longer.
async fn saturate<F>(size: Size, work: impl Fn(usize, Instant) -> F) -> Result<Rate>
where
    F: Future<Output = Result<usize>> + Send + 'static,
{
    let mut tried = Vec::new();
    // The first requests for a kind are slow: the server prepares what it checks them with.
    drive(WRITERS[0], size.probe, &work).await?;
    for writers in WRITERS {
        tried.push((writers, drive(writers, size.probe, &work).await?));
    }
    let writers = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(writers, _)| *writers);
    Ok(Rate { rate: drive(writers, size.ceiling, &work).await?, writers, tried })
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
async fn drive<F>(writers: usize, time: Duration, work: impl Fn(usize, Instant) -> F) -> Result<f64>
where
    F: Future<Output = Result<usize>> + Send + 'static,
{
    let (began, mut workers, mut written) = (Instant::now(), JoinSet::new(), 0);
    for writer in 0..writers {
        workers.spawn(work(writer, began + time));
    }
    while let Some(done) = workers.join_next().await {
        written += done??;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn peek(instance: &Mutex<WorkflowInstance>) -> WorkflowInstance {
    instance.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes a status of the usual size that differs from the last one: the server would not store the same again.
async fn write(api: &Api<WorkflowInstance>, instance: &Mutex<WorkflowInstance>, number: usize) -> Result<()> {
    let mut changed = peek(instance);
    changed.status = Some(serde_json::from_value(status(number))?);
    let written = api.replace_status(&changed.name_any(), &PostParams::default(), &changed).await?;
    *instance.lock().unwrap_or_else(PoisonError::into_inner) = written;
    Ok(())
}

fn status(number: usize) -> serde_json::Value {
    let at = "2026-01-01T00:00:00Z";
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({ "type": type_, "status": status, "reason": reason, "lastTransitionTime": at, "observedGeneration": 1,
                "message": "Release to production: 1 of 2 approvals, from group bench-approvers" })
    };
    json!({
        "title": format!("Release {number} to production"),
        "revision": "two-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "outcome": "Cancelled",
        "step": "release",
        "waiting": "1/2",
        "steps": [{ "node": "release", "visit": 1, "enteredAt": at }],
        "tasks": [{ "step": "release", "visit": 1, "partition": "default", "state": "Open", "approvals": 1, "required": 2,
                    "rejections": 0, "approvers": [{ "source": "group bench-approvers" }] }],
        "decisions": [{ "actor": "mary", "decision": "Approve", "step": "release", "visit": 1, "partition": "default",
                        "through": "group bench-approvers", "at": at,
                        "signal": { "name": format!("raw-{number}-mary"), "uid": "00000000-0000-0000-0000-000000000000" } }],
        "startedAt": at,
        "conditions": [
            condition("Completed", "False", "Waiting"), condition("Approved", "Unknown", "Waiting"),
            condition("Ready", "True", "Waiting"), condition("Reconciling", "True", "Waiting"),
            condition("Stalled", "False", "Progressing"),
        ],
    })
}
