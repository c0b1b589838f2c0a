//! Moves change requests: gather the facts, ask [`crate::change::advance()`], carry out its plan.
//!
//! - [`store`]: every request in memory, which the gate answers from
//! - `gather`: the facts of one request; `look`: what a change written by hand is about
//! - `apply`: carries out a plan; `execute`: in the name of the requester
//!
//! What is computed goes by the request as the API server has it, not as a watch shows it: it is read anew each time. Two operators
//! do no harm: every step is recorded with the resourceVersion that it was judged at, before anything is done.

mod apply;
mod execute;
mod gather;
mod look;
pub mod store;

use super::instances::Key;
use super::{Context, backoff, drive};
use crate::api::{ChangeRef, ChangeRequest, ChangeState, ChangeStatus};
use crate::change::advance::state_of;
use crate::change::facts::Result as Carried;
use crate::engine::Object;
use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often one turn computes again after it has changed something itself.
const ROUNDS: usize = 8;

/// How soon something that is due is looked at again, at the soonest.
const SOONEST: Duration = Duration::from_millis(100);

/// The same, at the latest: the clocks may be set anew meanwhile.
const LATEST: Duration = Duration::from_hours(1);

/// What came of carrying changes out, by name.
type Known = BTreeMap<String, Carried>;

/// Why a change request could not be moved on. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("ChangeRequest {name}: {source}")]
    Api {
        /// The object.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The proof could not be checked.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
    /// Opening an instance, or reading the comments of one, failed.
    #[error(transparent)]
    Instance(#[from] super::instances::Error),
    /// Whether an instance could be proven was not told.
    #[error(transparent)]
    Provable(#[from] super::pending::Error),
    /// The name of an instance is taken by something else.
    #[error("ChangeRequest {request}: WorkflowInstance {name} is not its own, but has the name of one; delete it")]
    NameTaken {
        /// The instance.
        name: String,
        /// The request.
        request: String,
    },
    /// The conditions of the processes could not be told in time.
    #[error("change {name}: the conditions of the processes {why}")]
    Evaluation {
        /// The change.
        name: String,
        /// What happened.
        why: String,
    },
}

/// The key by which the gate hashes what nobody may see.
fn digest_key(context: &Context) -> Vec<u8> {
    context.gate.key().unwrap_or_default()
}

/// Splits off the instances of requests that were touched: what is held for them may have been carried out, or be off.
pub fn tell_instances(
    stream: impl Stream<Item = watcher::Result<ChangeRequest>> + Send + 'static,
) -> (impl Stream<Item = watcher::Result<ChangeRequest>> + Send + 'static, impl Stream<Item = Key> + Send + 'static) {
    let (sender, receiver) = mpsc::unbounded();
    let stream = stream.inspect(move |touched| {
        let Ok(request) = touched else { return };
        let namespace = request.namespace().unwrap_or_default();
        for change in request.status.iter().flat_map(|status| &status.changes) {
            // Nothing else tells an instance anything.
            if !matches!(change.state, ChangeState::Pending | ChangeState::InApproval | ChangeState::Approved) {
                for instance in &change.instances {
                    sender.unbounded_send((namespace.clone(), instance.name.clone())).ok();
                }
            }
        }
    });
    (stream, receiver)
}

/// Runs the controller of change requests. `wakes` yields those whose instances changed.
pub async fn run(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<ChangeRequest>> + Send + 'static,
    wakes: impl Stream<Item = Key> + Send + 'static,
    stop: &CancellationToken,
) {
    let metrics = context.metrics.clone();
    let triggers = context.policy_changes();
    let triggers = futures::stream::select(triggers, context.prover.changes.bursts(Duration::ZERO));
    let seeing = context.clone();
    let stream = stream.inspect(move |touched| {
        if let Ok(request) = touched {
            seeing.changes.seen(request);
        }
    });
    let results = Controller::for_stream(stream, context.changes.watched())
        .with_config(Config::default().concurrency(16))
        .reconcile_on(wakes.map(|(namespace, name)| ObjectRef::<ChangeRequest>::new(&name).within(&namespace)))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(backoff(4)), context);
    drive("changes", metrics, results).await;
}

async fn reconcile(known: Arc<ChangeRequest>, context: Arc<Context>) -> Result<Action, Error> {
    if known.status.as_ref().is_some_and(|status| status.completed_at.is_some()) {
        return Ok(Action::await_change());
    }
    context.synced.wait().await;
    let (namespace, name) = store::key(&known);
    let api: Api<ChangeRequest> = Api::namespaced(context.client.clone(), &namespace);
    let mut results = Known::new();
    for _ in 0..ROUNDS {
        let read = api.get_opt(&name).await.map_err(|source| Error::Api { name: name.clone(), source })?;
        let Some(request) = read else { return Ok(Action::await_change()) };
        match move_on(request, &mut results, &context).await? {
            None => {}
            Some(action) => return Ok(action),
        }
    }
    Ok(Action::requeue(backoff(0)))
}

/// One computation; none when there is more to do at once.
async fn move_on(request: ChangeRequest, results: &mut Known, context: &Arc<Context>) -> Result<Option<Action>, Error> {
    let gathered = gather::gather(request, context).await?;
    let request = &gathered.request;
    let plan = gathered.plan(results, context);
    if plan.end_precedent {
        apply::end_precedent(request, context).await?;
        return Ok(None);
    }
    if plan.status != *gathered.status() {
        if !apply::write_status(request, &plan.status, context).await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Ok(None);
        }
        for note in plan.notes.clone() {
            context.events.post(request.object_ref(&()), note);
        }
    }
    results.clear();
    let recorded = ChangeRequest { status: Some(plan.status.clone()), ..request.clone() };
    for opening in &plan.open {
        if !apply::open(opening, &recorded, context).await? {
            return Ok(Some(Action::requeue(backoff(2))));
        }
    }
    *results = apply::carry_out(&plan.carry_out, &recorded, &plan.status, context).await?;
    if !plan.open.is_empty() || !plan.carry_out.is_empty() {
        return Ok(None);
    }
    let wait = plan.wake_at.map(|at| Duration::try_from(at.duration_since(context.clock.now())).unwrap_or_default());
    Ok(Some(wait.map_or_else(Action::await_change, |wait| Action::requeue(wait.clamp(SOONEST, LATEST)))))
}

/// What an instance sees of the operation that it is about.
///
/// # Errors
/// When the API server does not answer.
pub async fn operation_of(reference: &ChangeRef, namespace: &str, context: &Context) -> Result<Object, kube::Error> {
    if reference.review {
        return Ok(Object::None);
    }
    let is_own = |request: &ChangeRequest| request.uid().as_ref() == Some(&reference.uid);
    let known = context.changes.get(namespace, &reference.name).filter(|known| is_own(known));
    let request = match known {
        Some(known) => known,
        // The watch of requests may lag behind that of instances.
        None => {
            let api: Api<ChangeRequest> = Api::namespaced(context.client.clone(), namespace);
            match api.get_opt(&reference.name).await?.filter(is_own) {
                Some(read) => Arc::new(read),
                None => return Ok(Object::Gone(format!("changerequest {} is gone", reference.name))),
            }
        }
    };
    let status = request.status.as_ref().and_then(|status| state_of(status, &reference.change));
    let passing = |status: &ChangeStatus| {
        status.attempts > 0 || status.grant.as_ref().is_some_and(|grant| grant.claimed_at.is_some())
    };
    if status.is_some_and(|status| status.state == ChangeState::Approved && passing(status)) {
        return Ok(Object::Passing);
    }
    Ok(match status.map(|status| (status.state, status.message.as_deref().unwrap_or_default())) {
        None | Some((ChangeState::Pending | ChangeState::InApproval | ChangeState::Approved, _)) => Object::Held,
        Some((ChangeState::Executed, _)) => Object::Decided(true),
        Some((state, message)) => Object::Gone(format!(
            "change {} of changerequest {} {state:?}: {message}",
            reference.change, reference.name
        )),
    })
}
