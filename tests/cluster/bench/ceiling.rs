//! What the server alone does of each kind of write: instances and signals created by ordinary users, and their statuses as
//! the operator writes them. The admission policies are installed, the operator does not run.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use quorate::api::{ApprovalSignal, ApprovalSignalSpec, Decision, WorkflowInstance};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::load::{APPROVERS, Load, repeat};
use super::observed::Busy;
use super::{AT_ONCE, Size, as_operator};
use crate::cluster::ControlPlane;

/// The numbers of concurrent writers that are tried.
const WRITERS: [usize; 3] = [16, 32, 64];

/// Writes per second of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// With the best number of writers.
    pub per_second: f64,
    writers: usize,
    /// Each number that was tried, and its rate in the shorter trial.
    tried: Vec<(usize, f64)>,
    busy: Value,
}

/// The ceiling of each kind of write.
#[derive(Clone, Debug, Serialize)]
pub struct Ceiling {
    /// Creates of instances.
    pub instances: Rate,
    /// Creates of signals.
    pub signals: Rate,
    /// Status writes of instances.
    pub statuses: Rate,
    /// Status writes of signals.
    pub verdicts: Rate,
}

/// How many writes of each kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mix {
    /// Creates of instances.
    pub instances: f64,
    /// Creates of signals, and whatever else is created: events, which cost less.
    pub signals: f64,
    /// Status writes of instances.
    pub statuses: f64,
    /// Status writes of signals.
    pub verdicts: f64,
}

impl Mix {
    /// All of them.
    pub fn total(self) -> f64 {
        self.instances + self.signals + self.statuses + self.verdicts
    }
}

impl Ceiling {
    /// Writes per second when so many of each kind are mixed.
    pub fn of(&self, mix: Mix) -> f64 {
        let seconds = mix.instances / self.instances.per_second
            + mix.signals / self.signals.per_second
            + mix.statuses / self.statuses.per_second
            + mix.verdicts / self.verdicts.per_second;
        mix.total() / seconds
    }
}

/// What can be created and have its status written.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl Kind for WorkflowInstance {}
impl Kind for ApprovalSignal {}

/// Drives the server to its ceiling.
pub async fn measure(cluster: &ControlPlane, load: &Load, size: Size) -> Result<Ceiling> {
    let bench = Bench { cluster, size, namespace: &load.other_namespace };
    let asking = [load.requester.clone(), cluster.as_user("requester", &["developers"]).await?];
    let (instances, opened) = bench.creates(&asking, |number| Load::instance(&raw(number), "two")).await?;
    let approving = [cluster.as_user("mary", &[APPROVERS]).await?, cluster.as_user("john", &[APPROVERS]).await?];
    let (signals, sent) = bench.creates(&approving, signal).await?;
    let statuses = bench.updates(opened, |instance, number| {
        instance.status = Some(serde_json::from_value(status(number))?);
        Ok(())
    });
    let statuses = statuses.await?;
    let verdicts = bench.updates(sent, |signal, number| {
        signal.status = Some(serde_json::from_value(verdict(number))?);
        Ok(())
    });
    let verdicts = verdicts.await?;
    Ok(Ceiling { instances, signals, statuses, verdicts })
}

struct Bench<'a> {
    cluster: &'a ControlPlane,
    size: Size,
    namespace: &'a str,
}

impl Bench<'_> {
    /// Creates objects as fast as the server lets these clients, and gives them.
    async fn creates<K: Kind>(&self, clients: &[kube::Client], make: fn(usize) -> K) -> Result<(Rate, Vec<K>)> {
        let apis: Vec<Api<K>> = clients.iter().map(|client| Api::namespaced(client.clone(), self.namespace)).collect();
        let (count, created) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let all = created.clone();
        let rate = self.saturate(move |writer, deadline| {
            let (api, count, all) = (apis[writer % apis.len()].clone(), count.clone(), all.clone());
            async move {
                let mut mine = Vec::new();
                while Instant::now() < deadline {
                    let object = make(count.fetch_add(1, Ordering::Relaxed));
                    mine.push(api.create(&PostParams::default(), &object).await?);
                }
                let written = mine.len();
                lock(&all).append(&mut mine);
                Ok(written)
            }
        });
        let rate = rate.await?;
        let created = std::mem::take(&mut *lock(&created));
        Ok((rate, created))
    }

    /// Writes the statuses of objects as fast as the server lets the operator.
    async fn updates<K: Kind>(&self, objects: Vec<K>, change: fn(&mut K, usize) -> Result<()>) -> Result<Rate> {
        let api: Api<K> = Api::namespaced(as_operator(self.cluster).await?, self.namespace);
        let objects: Arc<Vec<_>> = Arc::new(objects.into_iter().map(|object| Mutex::new((object, false))).collect());
        let next = Arc::new(AtomicUsize::new(0));
        let (writing, all) = (api.clone(), objects.clone());
        let rate = self.saturate(move |_, deadline| {
            let (api, next, all) = (writing.clone(), next.clone(), all.clone());
            async move {
                let mut written = 0;
                while Instant::now() < deadline {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    write(&api, &all[number % all.len()], |object| change(object, number)).await?;
                    written += 1;
                }
                Ok(written)
            }
        });
        let rate = rate.await?;

        // What is left must not look as if it waited: it would be no part of what follows.
        repeat(objects.len(), AT_ONCE, move |number| {
            let (api, objects) = (api.clone(), objects.clone());
            async move {
                let written = lock(&objects[number]).1;
                if written { Ok(()) } else { write(&api, &objects[number], |object| change(object, number)).await }
            }
        })
        .await?;
        Ok(rate)
    }

    /// Finds out how many writers write most, and lets so many write for longer.
    async fn saturate<F>(&self, work: impl Fn(usize, Instant) -> F) -> Result<Rate>
    where
        F: Future<Output = Result<usize>> + Send + 'static,
    {
        let mut tried = Vec::new();
        // The first requests for a kind are slow: the server prepares what it checks them with.
        drive(WRITERS[0], self.size.probe, &work).await?;
        for writers in WRITERS {
            tried.push((writers, drive(writers, self.size.probe, &work).await?));
        }
        let writers = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(writers, _)| *writers);
        let busy = Busy::now(self.cluster, None)?;
        let per_second = drive(writers, self.size.ceiling, &work).await?;
        let busy = busy.until(&Busy::now(self.cluster, None)?);
        Ok(Rate { per_second, writers, tried, busy })
    }
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

/// Writes a status that differs from the last one: the server would not store the same again.
async fn write<K: Kind>(
    api: &Api<K>,
    object: &Mutex<(K, bool)>,
    change: impl FnOnce(&mut K) -> Result<()>,
) -> Result<()> {
    let mut changed = lock(object).0.clone();
    // The operator does not send them either.
    changed.managed_fields_mut().clear();
    change(&mut changed)?;
    let written = api.replace_status(&changed.name_any(), &PostParams::default(), &changed).await?;
    *lock(object) = (written, true);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raw(number: usize) -> String {
    format!("raw-{number}")
}

fn signal(number: usize) -> ApprovalSignal {
    let spec =
        ApprovalSignalSpec { instance: raw(number), decision: Decision::Approve, ..ApprovalSignalSpec::default() };
    ApprovalSignal::new(&raw(number), spec)
}

const AT: &str = "2026-01-01T00:00:00Z";

/// The usual size of one.
fn verdict(number: usize) -> Value {
    let accepted = json!({
        "type": "Accepted", "status": "False", "reason": "InstanceNotFound", "lastTransitionTime": AT,
        "observedGeneration": 1,
        "message": format!("spec.instance: there is no WorkflowInstance raw-{number} in this namespace; name one that exists"),
    });
    json!({
        "reason": "InstanceNotFound",
        "instanceUID": "00000000-0000-0000-0000-000000000000",
        "conditions": [accepted],
    })
}

/// The usual size of one.
fn status(number: usize) -> Value {
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({ "type": type_, "status": status, "reason": reason, "lastTransitionTime": AT, "observedGeneration": 1,
                "message": "Release to production: 1 of 2 approvals, from group bench-approvers" })
    };
    json!({
        "title": format!("Release {number} to production"),
        "revision": "two-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "outcome": "Cancelled",
        "step": "release",
        "waiting": "1/2",
        "steps": [{ "node": "release", "visit": 1, "enteredAt": AT }],
        "tasks": [{ "step": "release", "visit": 1, "partition": "default", "state": "Open", "approvals": 1, "required": 2,
                    "rejections": 0, "approvers": [{ "source": "group bench-approvers" }] }],
        "decisions": [{ "actor": "mary", "decision": "Approve", "step": "release", "visit": 1, "partition": "default",
                        "through": "group bench-approvers", "at": AT,
                        "signal": { "name": format!("raw-{number}-mary"), "uid": "00000000-0000-0000-0000-000000000000" } }],
        "startedAt": AT,
        "conditions": [
            condition("Completed", "False", "Waiting"), condition("Approved", "Unknown", "Waiting"),
            condition("Ready", "True", "Waiting"), condition("Reconciling", "True", "Waiting"),
            condition("Stalled", "False", "Progressing"),
        ],
    })
}
