//! The controllers: they gather facts, ask the engine, and carry out its plan. They decide nothing.
//!
//! - [`access`]: what the authorizer allows somebody
//! - [`directory`]: the directory's Snapshot, kept up to date
//! - [`readiness`]: `Ready` of definitions, processes, identities, roles and calendars
//! - [`changes`]: moves change requests
//! - [`delegations`]: the proof of who delegates, once for each delegation
//! - [`kinds`]: the kinds that processes name: served, allowed, watched
//! - [`gate`]: what the API server is told about the gate
//! - [`pending`]: opens instances for objects that wait
//! - [`collections`]: opens instances for objects that enter or leave a collection
//! - [`instances`]: moves instances, judges signals, writes outcomes back
//! - [`revisions`]: the snapshots that instances run on
//!
//! [`run`] starts them all and is called by `main` and by tests that run an operator in their own process.

pub mod access;
pub mod changes;
pub mod collections;
pub mod delegations;
pub mod directory;
pub mod gate;
pub mod instances;
pub mod kinds;
pub mod notifications;
pub mod pending;
pub mod readiness;
pub mod revisions;

use crate::activities::Activities;
use crate::activities::endpoints::Endpoints;
use crate::api::{ApprovalProcess, ChangeRequest, WorkflowDefinition};
use crate::engine::Settings;
use crate::gate::{self as gates, Gate};
use crate::proof::Prover;
use crate::runtime::clock::Clock;
use crate::runtime::events::Events;
use crate::runtime::telemetry::{Metrics, Readiness, word};
use crate::runtime::watch::{Changes, Synced, observe, observe_compact};
use changes::store::{self, ChangeStore};
use collections::Collections;
use directory::Directory;
use futures::channel::mpsc;
use futures::stream::{self, Stream, StreamExt};
use instances::live::Live;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kinds::Kinds;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use notifications::Notifications;
use revisions::Revisions;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What an operator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace for what belongs to cluster-scoped objects, and for the operator's own objects.
    pub namespace: String,
    /// The operator's username, as the admission policies name it.
    pub operator_username: String,
    /// What the installation sets for the engine.
    pub settings: Settings,
    /// How often the signals of deleted instances are swept.
    pub sweep_interval: Duration,
    /// The gate; none: it is switched off.
    pub gate: Option<gates::Settings>,
    /// Whether the operator may carry changes out in the name of their requesters.
    pub automatic: bool,
    /// What activities may call.
    pub endpoints: Endpoints,
    /// The most objects that one collection may have.
    pub collection_limit: usize,
    /// Who is told what, where, and as whom.
    pub notifications: notifications::Settings,
}

/// Why an operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The proof cannot be set up.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
    /// The settings of mail cannot be used.
    #[error(transparent)]
    Mail(#[from] crate::delivery::settings::Error),
    /// The gate cannot be served.
    #[error(transparent)]
    Gate(#[from] gates::server::Error),
}

/// Definitions, processes, identities, roles, delegations, calendars, topics, digests, reminders, certificate requests, change
/// requests, instances, signals.
const WATCHES: usize = 13;

/// What every controller shares.
pub struct Context {
    /// The connection to the API server.
    pub client: Client,
    /// What the operator was started with.
    pub options: Options,
    /// Whether every watch has been read through once: nothing is done before.
    pub synced: Synced,
    /// The moment.
    pub clock: Arc<Clock>,
    /// The proof of the actor.
    pub prover: Arc<Prover>,
    /// People and roles.
    pub directory: Directory,
    /// Definitions as they are now.
    pub definitions: Store<WorkflowDefinition>,
    /// Processes as they are now.
    pub processes: Store<ApprovalProcess>,
    /// Certificate signing requests.
    pub requests: Store<CertificateSigningRequest>,
    /// Change requests.
    pub changes: ChangeStore,
    /// Takes the change requests whose instances changed.
    pub change_wakes: mpsc::UnboundedSender<instances::Key>,
    /// Carries activities out.
    pub activities: Activities,
    /// Snapshots of definitions.
    pub revisions: Revisions,
    /// Told when a definition comes, changes or goes.
    pub definition_changes: Changes,
    /// Told when a process comes, changes or goes.
    pub process_changes: Changes,
    /// How many unfinished instances name each definition; none until they have been counted.
    pub running: Mutex<Option<HashMap<String, u32>>>,
    /// Told when those numbers change.
    pub running_changes: Changes,
    /// Why requests are held, by uid, as far as it was told.
    pub held: Mutex<HashMap<String, String>>,
    /// The same for objects of other kinds.
    pub held_objects: Mutex<HashMap<String, String>>,
    /// What people are told.
    pub notifications: Notifications,
    /// The unfinished instances.
    pub live: Store<Live>,
    /// The kinds that processes name.
    pub kinds: Arc<Kinds>,
    /// What is wrong with collections.
    pub collections: Collections,
    /// The gate: live operations that are held back.
    pub gate: Arc<Gate>,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// One item for every burst of changes of processes, definitions or people: who must agree may be told anew.
    fn policy_changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let policy = stream::select(self.process_changes.bursts(BURST), self.definition_changes.bursts(BURST));
        stream::select(policy, self.directory.changes.bursts(BURST))
    }

    /// Takes note of how many unfinished instances name each definition.
    fn runs(&self, counts: HashMap<String, u32>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref() != Some(&counts) {
            *running = Some(counts);
            self.running_changes.announce();
        }
    }
}

/// How long changes are gathered before everything that may depend on them is looked at again.
const BURST: Duration = Duration::from_millis(100);

/// How long the expressions of one object may take.
const EVALUATION: Duration = Duration::from_secs(2);

/// Evaluates expressions off the async threads and within a limit of time.
///
/// # Errors
/// What happened instead, for people.
pub(crate) async fn evaluate<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::time::timeout(EVALUATION, tokio::task::spawn_blocking(work))
        .await
        .map_err(|_| format!("took longer than {} s", EVALUATION.as_secs()))?
        .map_err(|error| format!("could not be evaluated: {error}"))
}

/// How many instances are moved at the same time.
const CONCURRENCY: u16 = 32;

/// Runs an operator until `stop` is cancelled; then it finishes what is under way.
///
/// # Errors
/// When it cannot start, or a watch ends for good.
#[allow(clippy::too_many_lines, reason = "one part after the other is started")]
pub async fn run(
    client: Client,
    options: Options,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mail = options.notifications.mail.clone().ready()?;
    let clock = Arc::new(Clock::default());
    let prover = Prover::new(
        client.clone(),
        &options.namespace,
        &options.operator_username,
        clock.clone(),
        metrics.clone(),
        readiness.clone(),
    )?;
    let gate = Arc::new(Gate::new(options.gate.clone()));
    let listening = match &options.gate {
        Some(settings) => Some(gates::server::listen(&gate, settings).await?),
        None => None,
    };
    let (definition_changes, process_changes) = (Changes::default(), Changes::default());
    let synced = Synced::of(WATCHES);
    let (definitions, definition_stream) =
        observe::<WorkflowDefinition>(&client, &definition_changes, &synced, |_| false);
    let (processes, process_stream) = observe::<ApprovalProcess>(&client, &process_changes, &synced, |_| false);
    let (requests, request_writer) = kube::runtime::reflector::store();
    let request_events =
        watcher(Api::<CertificateSigningRequest>::all(client.clone()), watcher::Config::default()).default_backoff();
    let request_stream =
        crate::runtime::watch::touched(request_events, request_writer, Changes::default(), synced.part(), |_| false);
    let (watched, change_stream) =
        observe_compact::<ChangeRequest>(&client, &Changes::default(), &synced, |_| false, store::compact);
    let (change_wakes, changes_woken) = mpsc::unbounded();
    let (directory, people) = Directory::observe(&client, &synced);
    let (notifications, told) = Notifications::observe(&client, &synced, &options.notifications.locale);
    let (kinds, touched) = Kinds::new(client.clone());
    let (live, live_writer) = kube::runtime::reflector::store();
    let context = Arc::new(Context {
        events: Events::start(client.clone(), metrics.clone()),
        activities: Activities::new(
            client.clone(),
            &options.namespace,
            &options.operator_username,
            options.endpoints.clone(),
        ),
        revisions: Revisions::new(client.clone(), &options.namespace),
        client: client.clone(),
        running: Mutex::default(),
        running_changes: Changes::default(),
        held: Mutex::default(),
        held_objects: Mutex::default(),
        notifications,
        live,
        kinds: Arc::new(kinds),
        collections: Collections::default(),
        gate,
        synced,
        clock,
        prover: Arc::new(prover),
        directory,
        definitions,
        processes,
        requests,
        changes: ChangeStore::new(watched),
        change_wakes,
        definition_changes,
        process_changes,
        metrics: metrics.clone(),
        options,
    });

    let (request_stream, objects) = pending::tell_instances(request_stream, &context.options.namespace);
    let objects = futures::stream::select(objects, touched);
    let (change_stream, held) = changes::tell_instances(change_stream);
    let objects = futures::stream::select(objects, held);
    let (instances, instance_loop) = instances::run(context.clone(), live_writer, objects, &stop);
    let serving = async {
        if let Some(listening) = listening {
            listening.serve(context.clone(), stop.clone()).await;
        }
    };
    let loops = async {
        tokio::join!(
            serving,
            readiness::definitions(context.clone(), definition_stream, &stop),
            readiness::processes(context.clone(), process_stream, &stop),
            readiness::identities(context.clone(), people.identities, &stop),
            readiness::roles(context.clone(), people.roles, &stop),
            readiness::calendars(context.clone(), people.calendars, &stop),
            readiness::topics(context.clone(), told.topics, &stop),
            notifications::schedules::digests(context.clone(), told.digests, &stop),
            notifications::schedules::reminders(context.clone(), told.reminders, &stop),
            delegations::run(context.clone(), people.delegations, &stop),
            pending::run(context.clone(), request_stream, &stop),
            kinds::run(context.clone(), &stop),
            collections::run(context.clone(), &stop),
            changes::run(context.clone(), change_stream, changes_woken, &stop),
            notifications::run(&context, mail, &stop),
            instance_loop,
        );
    };
    let ready = async {
        context.synced.wait().await;
        readiness.synced.store(true, Ordering::Release);
        tracing::info!("caches are synced");
    };
    let background = async {
        tokio::join!(
            ready,
            context.prover.run(),
            gate::run(&context),
            context.directory.tell_validity_changes(&context.clock),
            instances.count(),
            instances::sweep::run(&context)
        );
    };
    tokio::select! {
        () = loops => {}
        () = background => {}
    }
    Ok(())
}

/// What a controller does with the stream of its results.
pub(crate) async fn drive<K, E, Q>(
    name: &'static str,
    metrics: Arc<Metrics>,
    results: impl futures::Stream<
        Item = Result<(kube::runtime::reflector::ObjectRef<K>, Action), kube::runtime::controller::Error<E, Q>>,
    >,
) where
    K: kube::Resource,
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    let mut results = std::pin::pin!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) | Err(kube::runtime::controller::Error::ObjectNotFound(_)) => {}
            Err(error) => report(name, &metrics, &error),
        }
    }
}

/// Logs and counts a failure that is tried again.
pub(crate) fn report(controller: &'static str, metrics: &Metrics, error: &dyn std::error::Error) {
    metrics.failures.get_or_create(&word(controller)).inc();
    tracing::warn!(controller, %error, "trying again");
}

/// How long to wait after a failure, by how often it failed before: from 100 ms up to a minute.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << failures.min(9)).min(Duration::from_mins(1))
}
