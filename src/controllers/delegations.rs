//! Delegations: whether the API server provably proved who delegates, recorded once, and whether they count.

use super::directory::{PROVEN, is_proven};
use super::{Context, backoff, drive};
use crate::api::{Delegation, Says, seconds, set_condition};
use crate::engine::Proof;
use crate::proof::Stamped;
use futures::Stream;
use kube::api::PostParams;
use kube::runtime::controller::{Action, Config};
use kube::runtime::{Controller, watcher};
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Why a delegation could not be looked at. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("Delegation {name}: {source}")]
    Api {
        /// The delegation.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The proof could not be checked.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
}

/// Runs the controller of delegations.
pub async fn run(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<Delegation>> + Send + 'static,
    stop: &CancellationToken,
) {
    let metrics = context.metrics.clone();
    let burst = Duration::from_millis(100);
    let triggers =
        futures::stream::select(context.directory.changes.bursts(burst), context.prover.changes.bursts(Duration::ZERO));
    let results = Controller::for_stream(stream, context.directory.delegations.clone())
        .with_config(Config::default().concurrency(4))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(backoff(3)), context);
    drive("delegations", metrics, results).await;
}

async fn reconcile(delegation: Arc<Delegation>, context: Arc<Context>) -> Result<Action, Error> {
    context.synced.wait().await;
    let name = delegation.name_any();
    let mut fresh = (*delegation).clone();
    let status = fresh.status.get_or_insert_default();
    let before = status.conditions.clone();
    let (generation, now) = (delegation.metadata.generation, context.clock.now());
    let mut say = |type_, status_, reason, message: &str| {
        set_condition(&mut status.conditions, Says { type_, status: status_, reason, message }, generation, now);
    };
    if is_proven(&delegation) {
        let faults = context.directory.snapshot().delegation_faults(&name, now);
        if faults.is_empty() {
            say("Ready", "True", "Valid", "it counts from when until when it says");
        } else {
            say("Ready", "False", "Invalid", &faults.join("; "));
        }
    } else {
        let created = delegation.metadata.creation_timestamp.as_ref().map_or(i64::MIN, seconds);
        match context.prover.confirm(Stamped::Delegations, Instant::now()).await? {
            Proof::Since(since) if created > since && delegation.spec.principal.is_some() => {
                say(PROVEN, "True", "PrincipalProven", "the API server proved who delegates");
                say("Ready", "Unknown", "Checking", "it is being compared with the directory");
            }
            Proof::Since(_) => {
                let message = "the admission policy that proves who delegates was not provably in force when this was created; create it again";
                say(PROVEN, "False", "PrincipalUnproven", message);
                say("Ready", "False", "PrincipalUnproven", message);
            }
            Proof::Broken(why) => {
                let message = format!("waits until who delegates can be proven: {why}");
                say(PROVEN, "Unknown", "ActorUnproven", &message);
                say("Ready", "False", "ActorUnproven", &message);
            }
        }
    }
    if status.conditions == before {
        return Ok(Action::await_change());
    }
    let api: Api<Delegation> = Api::all(context.client.clone());
    match api.replace_status(&name, &PostParams::default(), &fresh).await {
        Ok(_) => context.metrics.wrote("ready"),
        // It was changed or deleted meanwhile: its next event brings us back.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
        Err(source) => return Err(Error::Api { name, source }),
    }
    Ok(Action::await_change())
}
