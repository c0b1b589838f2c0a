//! Moves instances: gather the facts, ask the engine, carry out its plan.
//!
//! - `live`: the unfinished instances in memory
//! - `signals`: the signals without verdict
//! - `gather`: the facts of one instance
//! - `rights`: what the authorizer says of the senders of signals
//! - `apply`: carries out a plan; `objects`: sees and writes objects of any kind
//! - `doings`: activities under way
//! - [`sweep`]: deletes the signals of deleted instances
//!
//! One instance is never worked on twice at the same time; what changes meanwhile brings it back.

mod apply;
mod doings;
pub(super) mod gather;
pub mod live;
mod objects;
mod rights;
pub(super) mod signals;
pub mod sweep;

use super::{CONCURRENCY, Context, backoff, report};
use crate::api::{ApprovalSignal, SignalRef, WorkflowInstance, seconds};
use crate::diagram::{self, Drawing};
use crate::engine::{Note, Reason, Verdict};
use crate::runtime::telemetry::word;
pub(super) use apply::comments;
use doings::Doings;
use futures::channel::mpsc;
use futures::{Stream, StreamExt, stream};
use gather::gather;
use kube::runtime::controller::{Action, Config, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use live::{Live, Written};
use signals::Signals;
pub use signals::{Key, fact};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often one turn computes again after it has changed something itself.
const ROUNDS: usize = 4;

/// How soon something that is due is looked at again, at the soonest.
const SOONEST: Duration = Duration::from_millis(100);

/// The same, at the latest: the clocks may be set anew meanwhile.
const LATEST: Duration = Duration::from_hours(1);

/// For how many seconds after its creationTimestamp a signal may still be on its way through the API server: admission comes
/// after the stamp.
const IN_FLIGHT: i64 = 5;

/// How many seconds lie between two counts of the instances of each definition.
const COUNT_EVERY: u32 = 10;

/// How soon a missing snapshot is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Why an instance could not be moved on. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("WorkflowInstance {name}: {source}")]
    Api {
        /// The instance.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The spec leaves no room for a status.
    #[error(
        "WorkflowInstance {name}: nothing can be recorded in it, since it is as large as the API server allows ({message}); ask again with smaller parameters"
    )]
    TooLarge {
        /// The instance.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// A verdict could not be written.
    #[error("ApprovalSignal {name}: {source}")]
    Signal {
        /// The signal.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The object could not be read or written.
    #[error("{object}: {source}")]
    Object {
        /// The object.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The operator may not decide objects of that signer.
    #[error("CertificateSigningRequest {name}: {message}; add {signer} to the chart value certificates.signers")]
    MayNotDecide {
        /// The object.
        name: String,
        /// Its signer.
        signer: String,
        /// What the API server says.
        message: String,
    },
    /// The operator may not write to objects of that kind.
    #[error("{object}: {message}; see the chart values pending.resources and certificates.issuers")]
    MayNotWrite {
        /// The object.
        object: String,
        /// What the API server says.
        message: String,
    },
    /// What an instance claims does not hold when it is checked again.
    #[error("WorkflowInstance {name}: the outcome is not written back: {why}")]
    WriteBackRefused {
        /// The instance.
        name: String,
        /// What does not hold.
        why: String,
    },
    /// An instance is not what this version can read.
    #[error("WorkflowInstance {name} cannot be read: {source}")]
    Unreadable {
        /// The instance.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Its expressions could not be evaluated in time.
    #[error("WorkflowInstance {name}: its expressions {why}")]
    Evaluation {
        /// The instance.
        name: String,
        /// What happened.
        why: String,
    },
    /// The proof could not be checked.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
    /// A snapshot could not be read or stored.
    #[error(transparent)]
    Revision(#[from] super::revisions::Error),
}

/// What the controller of instances works with.
pub struct Instances {
    context: Arc<Context>,
    written: Written,
    signals: Signals,
    doings: Doings,
    failures: Mutex<HashMap<Key, u32>>,
    /// Instances whose end is being written and was not seen to be: it may be on record without anybody having been told.
    ending: Mutex<HashSet<Key>>,
}

impl Instances {
    /// Counts the unfinished instances, for ever: all of them for the metrics, and those of each definition for its status.
    pub async fn count(&self) {
        let context = &self.context;
        context.synced.wait().await;
        loop {
            let mut counts: HashMap<String, u32> = HashMap::new();
            for definition in context.live.state().iter().filter_map(|live| live.definition()) {
                *counts.entry(definition).or_default() += 1;
            }
            context.runs(counts);
            for _ in 0..COUNT_EVERY {
                context.metrics.live.set(i64::try_from(context.live.len()).unwrap_or(i64::MAX));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn failed(&self, key: &Key) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        *count += 1;
        *count
    }

    fn ending(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeeded(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The controller of instances, and the future that runs it until `stop` is cancelled. `objects` yields the instances whose
/// waiting object may have changed.
pub fn run(
    context: Arc<Context>,
    writer: Writer<Live>,
    objects: impl Stream<Item = Key> + Send + 'static,
    stop: &CancellationToken,
) -> (Arc<Instances>, impl Future<Output = ()> + Send) {
    let (retry, retries) = mpsc::unbounded::<Key>();
    let instances = Arc::new(Instances {
        context: context.clone(),
        written: Written::default(),
        signals: Signals::default(),
        doings: Doings::telling(retry.clone()),
        failures: Mutex::default(),
        ending: Mutex::default(),
    });
    let live = watch_unfinished(&context, writer, instances.clone());
    let signalled = watch_unjudged(&context, instances.clone());
    let everything = stream::select(context.policy_changes(), context.prover.changes.bursts(Duration::ZERO));
    let stopped = stop.clone();
    let moving = instances.clone();
    let future = async move {
        let results = Controller::for_stream(live, context.live.clone())
            .with_config(Config::default().concurrency(CONCURRENCY))
            .reconcile_on(signalled.map(|key| reference(&key)))
            .reconcile_on(retries.map(|key| reference(&key)))
            .reconcile_on(objects.map(|key| reference(&key)))
            .reconcile_all_on(everything)
            .graceful_shutdown_on(stopped.clone().cancelled_owned())
            .run(reconcile, give_up_for_now, moving.clone());
        let mut results = std::pin::pin!(results);
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => {}
                Err(ControllerError::ObjectNotFound(missing)) => {
                    let key = (missing.namespace.clone().unwrap_or_default(), missing.name.clone());
                    tokio::spawn(stray(moving.clone(), key, retry.clone()));
                }
                Err(error) => report("instances", &context.metrics, &error),
            }
        }
    };
    (instances, future)
}

/// Watches the instances that have no outcome yet: a finished one leaves memory by itself.
fn watch_unfinished(
    context: &Context,
    writer: Writer<Live>,
    instances: Arc<Instances>,
) -> impl Stream<Item = watcher::Result<Live>> + Send + use<> {
    let api: Api<Live> = Api::all(context.client.clone());
    let events =
        watcher(api, watcher::Config::default().fields("status.outcome=")).default_backoff().map(move |event| {
            event.map(|event| {
                // One that ends leaves this watch: its change request has to look at it then too.
                if let watcher::Event::Apply(live) | watcher::Event::Delete(live) = &event
                    && let Some(request) = live.change_request()
                {
                    instances.context.change_wakes.unbounded_send((live.namespace().unwrap_or_default(), request)).ok();
                }
                if let watcher::Event::Delete(live) = &event {
                    instances.written.forget(live);
                }
                event.modify(Live::compact)
            })
        });
    let mut synced = context.synced.part();
    reflector(writer, events)
        .inspect(move |event| {
            if matches!(event, Ok(watcher::Event::InitDone)) {
                synced();
            }
        })
        .applied_objects()
}

/// Watches the signals that have no verdict yet, and yields the instances that they are for.
fn watch_unjudged(context: &Context, instances: Arc<Instances>) -> impl Stream<Item = Key> + Send + use<> {
    let mut synced = context.synced.part();
    let api: Api<ApprovalSignal> = Api::all(context.client.clone());
    watcher(api, watcher::Config::default().fields("status.reason=")).default_backoff().flat_map(move |event| {
        let keys = match event {
            Ok(event) => {
                let listed = matches!(event, watcher::Event::InitDone);
                let keys = instances.signals.apply(event);
                if listed {
                    synced();
                }
                keys
            }
            Err(error) => {
                tracing::warn!(%error, "the watch of signals was interrupted, trying again");
                Vec::new()
            }
        };
        stream::iter(keys)
    })
}

fn reference(key: &Key) -> ObjectRef<Live> {
    ObjectRef::<Live>::new(&key.1).within(&key.0)
}

// The controller hands over Arcs.
#[allow(clippy::needless_pass_by_value)]
fn give_up_for_now(live: Arc<Live>, error: &Error, instances: Arc<Instances>) -> Action {
    let failures = instances.failed(&key_of(&live));
    // Somebody has to mend these: say so where they look, once.
    let reason = match error {
        Error::MayNotDecide { .. } | Error::MayNotWrite { .. } | Error::WriteBackRefused { .. } => {
            Some("WriteBackFailed")
        }
        Error::TooLarge { .. } => Some("TooLarge"),
        _ => None,
    };
    if let Some(reason) = reason.filter(|_| failures == 1) {
        let note = Note { warning: true, reason, message: error.to_string() };
        instances.context.events.post(event_target(&live), note);
    }
    Action::requeue(backoff(failures))
}

fn key_of(live: &Live) -> Key {
    (live.namespace().unwrap_or_default(), live.name_any())
}

async fn reconcile(live: Arc<Live>, instances: Arc<Instances>) -> Result<Action, Error> {
    let context = &instances.context;
    let key = key_of(&live);
    context.synced.wait().await;
    for _ in 0..ROUNDS {
        let live = instances.written.newest(live.clone());
        let turn = move_on(&live, &key, &instances).await?;
        if turn != Turn::Again {
            instances.succeeded(&key);
            return Ok(match turn {
                Turn::Later(wait) => Action::requeue(wait),
                _ => Action::await_change(),
            });
        }
    }
    Ok(Action::requeue(backoff(0)))
}

/// Whether there is more to do at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Settled,
    Again,
    /// Something happens then although nothing changes, or what is missing is not watched.
    Later(Duration),
}

async fn move_on(live: &Live, key: &Key, instances: &Arc<Instances>) -> Result<Turn, Error> {
    let context = &instances.context;
    apply::settle_doubts(key, instances).await?;
    let signals = instances.signals.of(key);
    let parsed = live.parse().map_err(|source| Error::Unreadable { name: key.1.clone(), source })?;
    let (signals, seen_until) = complete(&parsed, signals, context).await?;
    let gathered = gather(parsed, &signals, seen_until, instances).await?;
    let mut plan = gathered.plan(context).await?;
    let parsed = gathered.parsed();
    let revision = plan.status.revision.as_deref().unwrap_or_default();
    let changed = plan.status != parsed.status;
    let mut written = None;
    if changed {
        if parsed.status.revision != plan.status.revision
            && let Some(content) = gathered.snapshot(revision)
        {
            context.revisions.ensure(content).await?;
        }
        // The picture follows from the rest: it is drawn when that changes.
        if let Some(graph) = gathered.graph_of(revision) {
            plan.status.diagram = Some(diagram::mermaid(&Drawing::of(graph, Some(&plan.status))));
        }
        if plan.status.outcome.is_some() {
            instances.ending().insert(key.clone());
        }
        let Some(now) = apply::write_status(live, &plan.status, instances).await? else {
            // Changed by somebody else: the watch brings the newer one, and with it this instance.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Ok(Turn::Again);
        };
        for note in plan.notes.clone() {
            context.events.post(event_target(&now), note);
        }
        written = Some(now);
        if let Some(outcome) = plan.status.outcome {
            context.metrics.outcomes.get_or_create(&word(&outcome.to_string())).inc();
            tracing::info!(instance = key.1, namespace = key.0, %outcome, "completed");
        }
    }
    let subscribed = !context.options.notifications.subscriptions.is_empty();
    if subscribed || gathered.tells(revision) {
        let told = live::Parsed { instance: parsed.instance.clone(), status: plan.status.clone() };
        context.notifications.tell(told, &context.clock);
    }
    instances.ending().remove(key);
    instances.doings.recorded(key, gathered.performed());
    let uid = parsed.instance.uid().unwrap_or_default();
    apply::write_verdicts(&plan.verdicts, &signals, &uid, key, instances).await?;
    // It ended before its signals could be judged: now they can.
    if plan.status.outcome.is_some() && plan.verdicts.len() < signals.len() {
        return Ok(Turn::Again);
    }
    if let Some(outcome) = plan.write_back {
        let mut decided = parsed.clone();
        decided.status = plan.status;
        apply::write_back(&decided, outcome, instances).await?;
        return Ok(Turn::Again);
    }
    if let Some(activity) = plan.activity {
        let own_workflow = parsed.instance.spec.workflow.is_some();
        doings::begin(activity, written.as_deref().unwrap_or(live), changed, own_workflow, key, instances);
    }
    let wait = plan.wake_at.map(|at| Duration::try_from(at.duration_since(context.clock.now())).unwrap_or_default());
    Ok(match wait {
        Some(wait) => Turn::Later(wait.clamp(SOONEST, LATEST)),
        None if gathered.waits_for_snapshot() => Turn::Later(LOOK_AGAIN),
        None => Turn::Settled,
    })
}

/// Makes sure that every signal that was made by a deadline that is over is known before the step is left: the watch may lag
/// behind, and a request may be on its way through the API server.
async fn complete(
    parsed: &live::Parsed,
    mut signals: Vec<signals::Unjudged>,
    context: &Context,
) -> Result<(Vec<signals::Unjudged>, i64), Error> {
    let now = context.clock.now().as_second();
    let deadline =
        parsed.status.steps.last().and_then(|visit| visit.deadline.as_ref().filter(|_| visit.left_at.is_none()));
    if parsed.status.outcome.is_some() || deadline.is_none_or(|deadline| seconds(deadline) >= now) {
        return Ok((signals, i64::MIN));
    }
    let listed = gather::signals_of(parsed, context).await?;
    let known: HashSet<_> = signals.iter().filter_map(|unjudged| unjudged.signal.uid()).collect();
    for signal in listed.into_iter().filter(|signal| !gather::is_judged(signal)) {
        if !known.contains(&signal.uid().unwrap_or_default()) {
            signals.push(signals::Unjudged { signal: Arc::new(signal), seen: Instant::now() });
        }
    }
    Ok((signals, now - IN_FLIGHT))
}

/// Deals with signals whose instance is not among the unfinished ones: it is finished, there is none, or the watch lags. And with
/// an instance whose end was written although the answer was lost: nobody has been told of that.
async fn stray(instances: Arc<Instances>, key: Key, retry: mpsc::UnboundedSender<Key>) {
    instances.doings.forget(&key);
    if instances.signals.of(&key).is_empty() && !instances.ending().contains(&key) {
        return;
    }
    match judge_stray(&instances, &key).await {
        Ok(Turn::Settled) => instances.succeeded(&key),
        again => {
            if let Err(error) = again {
                report("instances", &instances.context.metrics, &error);
            }
            tokio::time::sleep(backoff(instances.failed(&key))).await;
            retry.unbounded_send(key).ok();
        }
    }
}

async fn judge_stray(instances: &Instances, key: &Key) -> Result<Turn, Error> {
    let context = &instances.context;
    let api: Api<Live> = Api::namespaced(context.client.clone(), &key.0);
    apply::settle_doubts(key, instances).await?;
    let signals = instances.signals.of(key);
    let found = api.get_opt(&key.1).await.map_err(|source| Error::Api { name: key.1.clone(), source })?;
    let Some(live) = found else {
        instances.ending().remove(key);
        let message = format!(
            "spec.instance: there is no WorkflowInstance {} in namespace {}; name one that exists",
            key.1, key.0
        );
        let verdicts: Vec<_> = signals
            .iter()
            .map(|unjudged| Verdict {
                signal: SignalRef { name: unjudged.signal.name_any(), uid: unjudged.signal.uid().unwrap_or_default() },
                reason: Reason::InstanceNotFound,
                message: message.clone(),
            })
            .collect();
        apply::write_verdicts(&verdicts, &signals, "", key, instances).await?;
        return Ok(Turn::Settled);
    };
    let parsed = live.parse().map_err(|source| Error::Unreadable { name: key.1.clone(), source })?;
    if parsed.status.outcome.is_none() {
        // The watch of instances lags behind: its event brings the instance, and with it these signals.
        return Ok(Turn::Again);
    }
    if instances.ending().remove(key) {
        context.notifications.tell(parsed.clone(), &context.clock);
    }
    let uid = parsed.instance.uid().unwrap_or_default();
    let gathered = gather(parsed, &signals, i64::MIN, instances).await?;
    let verdicts = gathered.plan(context).await?.verdicts;
    let judged_all = verdicts.len() == signals.len();
    apply::write_verdicts(&verdicts, &signals, &uid, key, instances).await?;
    Ok(if judged_all { Turn::Settled } else { Turn::Again })
}

/// The uid and the resourceVersion: whether two copies are the same.
fn reference_version(live: &Live) -> (String, String) {
    (live.uid().unwrap_or_default(), live.resource_version().unwrap_or_default())
}

fn event_target(live: &Live) -> k8s_openapi::api::core::v1::ObjectReference {
    let mut target = live.object_ref(&());
    target.api_version = Some(WorkflowInstance::api_version(&()).into_owned());
    target
}
