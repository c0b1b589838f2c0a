//! Digests and Reminders: their schedules, on timers that are looked at again at least every minute, since clocks jump.

use super::{Notifications, delivering, open};
use crate::api::{Digest, Reminder, ScheduledStatus, set_condition};
use crate::controllers::readiness::{say_ready, unsuitable_topic, write_status};
use crate::controllers::{Context, backoff, drive};
use crate::directory::Snapshot;
use crate::notify::digest::digest;
use crate::notify::reminder::reminder;
use crate::notify::run::{Occasion, Run};
use crate::notify::schedule::{Due, Handled, Schedule, Step, faults, step};
use crate::notify::seen::Seen;
use crate::notify::topics::Topics;
use crate::store::schedules::ScheduleState;
use crate::store::{self, Store};
use futures::Stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ClusterResourceScope;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::Store as Reflector;
use kube::runtime::{Controller, watcher};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest time to the next look: a clock may have jumped.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How many of those without an address the status names.
const NAMED: usize = 20;

/// Why a schedule cannot be kept at the moment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The tasks cannot be told.
    #[error(transparent)]
    Facts(#[from] super::facts::Error),
    /// The status cannot be written.
    #[error(transparent)]
    Status(#[from] kube::Error),
}

/// A kind with a schedule.
trait Scheduled:
    Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync
{
    /// The expression and the time zone.
    fn schedule(&self) -> (&str, &str);

    /// The topics that it sends, each with its field and the built-in topic of the same kind.
    fn topics(&self) -> Vec<(&'static str, &str, &'static str)>;

    fn status(&self) -> Option<&ScheduledStatus>;

    fn status_mut(&mut self) -> &mut ScheduledStatus;

    fn run<'a>(&'a self, occasion: Occasion<'a>, seen: &Seen) -> Run<'a>;
}

impl Scheduled for Digest {
    fn schedule(&self) -> (&str, &str) {
        (&self.spec.schedule, &self.spec.time_zone)
    }

    fn topics(&self) -> Vec<(&'static str, &str, &'static str)> {
        vec![("spec.topic", &self.spec.topic, "task-digest")]
    }

    fn status(&self) -> Option<&ScheduledStatus> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut ScheduledStatus {
        self.status.get_or_insert_default()
    }

    fn run<'a>(&'a self, occasion: Occasion<'a>, seen: &Seen) -> Run<'a> {
        digest(occasion, &self.spec, seen)
    }
}

impl Scheduled for Reminder {
    fn schedule(&self) -> (&str, &str) {
        (&self.spec.schedule, &self.spec.time_zone)
    }

    fn topics(&self) -> Vec<(&'static str, &str, &'static str)> {
        let named = [
            ("spec.approvers.topic", &self.spec.approvers, "reminder-medium"),
            ("spec.managers.topic", &self.spec.managers, "reminder-manager"),
        ];
        let told = named.into_iter().filter(|(_, reminded, _)| reminded.notify);
        told.filter_map(|(field, reminded, kind)| Some((field, reminded.topic.as_deref()?, kind))).collect()
    }

    fn status(&self) -> Option<&ScheduledStatus> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut ScheduledStatus {
        self.status.get_or_insert_default()
    }

    fn run<'a>(&'a self, occasion: Occasion<'a>, _: &Seen) -> Run<'a> {
        reminder(occasion, &self.spec)
    }
}

/// Runs the controller of Digests.
pub async fn digests(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<Digest>> + Send + 'static,
    stop: &CancellationToken,
) {
    keep("Digest", context.notifications.digests.clone(), stream, context, stop).await;
}

/// Runs the controller of Reminders.
pub async fn reminders(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<Reminder>> + Send + 'static,
    stop: &CancellationToken,
) {
    keep("Reminder", context.notifications.reminders.clone(), stream, context, stop).await;
}

async fn keep<K: Scheduled + 'static>(
    name: &'static str,
    objects: Reflector<K>,
    stream: impl Stream<Item = watcher::Result<K>> + Send + 'static,
    context: Arc<Context>,
    stop: &CancellationToken,
) {
    let metrics = context.metrics.clone();
    let topics = context.notifications.topic_changes.bursts(Duration::from_millis(100));
    let triggers = futures::stream::select(topics, context.notifications.health_changes.bursts(Duration::ZERO));
    let results = Controller::for_stream(stream, objects)
        // One run at a time: each holds all open tasks.
        .with_config(Config::default().concurrency(1))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile::<K>, |_, _, _| Action::requeue(backoff(5)), context);
    drive(name, metrics, results).await;
}

async fn reconcile<K: Scheduled>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Error> {
    context.synced.wait().await;
    let mut fresh = (*object).clone();
    let (expression, zone) = object.schedule();
    let next = match Schedule::parse(expression, zone) {
        Ok(schedule) if object.meta().deletion_timestamp.is_none() => {
            keep_up(&*object, &schedule, fresh.status_mut(), &context).await?
        }
        _ => None,
    };
    describe(&mut fresh, &*object, next, &context);
    if fresh.status() != object.status() {
        write_status(&fresh, "schedule", &context).await?;
    }
    let wait = next.map(|next| Duration::try_from(next.duration_since(context.clock.now())).unwrap_or_default());
    Ok(wait.map_or_else(Action::await_change, |wait| Action::requeue(wait.min(LOOK_AGAIN))))
}

/// Does what is due, and tells when something is again.
async fn keep_up<K: Scheduled>(
    object: &K,
    schedule: &Schedule,
    status: &mut ScheduledStatus,
    context: &Arc<Context>,
) -> Result<Option<Timestamp>, Error> {
    let store = context.notifications.store().await;
    let uid = object.uid().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or(1);
    let created = object.creation_timestamp().map_or_else(|| context.clock.now(), |created| created.0);
    loop {
        let now = context.clock.now();
        let handled = store.handled(&uid).await?;
        match step(schedule, generation, created, handled.as_ref(), now) {
            Step::Begin(until) => {
                let begin = Handled { schedule: schedule.text().to_owned(), until };
                store.begin_schedule(&uid, handled.as_ref(), &begin).await?;
            }
            Step::Wait(next) => return Ok(next),
            Step::Run(due) => {
                // What is due has a state: a schedule begins before it comes.
                let Some(known) = store.schedule(&uid).await? else { continue };
                carry_out(object, schedule, due, &known, &store, status, context).await?;
            }
        }
    }
}

async fn carry_out<K: Scheduled>(
    object: &K,
    schedule: &Schedule,
    due: Due,
    known: &ScheduleState,
    store: &Store,
    status: &mut ScheduledStatus,
    context: &Arc<Context>,
) -> Result<(), Error> {
    let open = open::all_open_tasks(context).await?;
    let directory: Arc<Snapshot> = context.directory.snapshot();
    let topics: Arc<Topics> = context.notifications.topics();
    let about = reference(object);
    let now = context.clock.now();
    let occasion = Occasion {
        about: &about,
        schedule,
        time_zone: object.schedule().1,
        at: due.at,
        now,
        tasks: &open.tasks,
        passed_over: &open.passed_over,
        directory: &directory,
        topics: &topics,
        links: &context.options.notifications.links,
    };
    let run = object.run(occasion, &known.seen);
    let mut broken = BTreeSet::new();
    let uid = object.uid().unwrap_or_default();
    let queued = store.finish_run(&uid, &known.handled, due.at, &run.seen, run.messages(&mut broken), now).await?;
    context.notifications.broken(broken);
    let Some(queued) = queued else { return Ok(()) };
    let (kind, name) = (K::kind(&()), object.name_any());
    tracing::info!(%kind, name, at = %due.at, missed = due.missed, mails = queued, without_address = run.without_address.len(), "a run");
    status.last_run = Some(Time(due.at));
    status.last_mails = Some(u32::try_from(run.len()).unwrap_or(u32::MAX));
    status.without_address = run.without_address.iter().take(NAMED).cloned().collect();
    Ok(())
}

/// What the status says beside what a run left there.
fn describe<K: Scheduled>(fresh: &mut K, object: &K, next: Option<Timestamp>, context: &Context) {
    let (expression, zone) = object.schedule();
    let faults = faults(expression, zone);
    let (generation, now) = (object.meta().generation, context.clock.now());
    let topics = context.notifications.topics();
    let remarks =
        object.topics().into_iter().filter_map(|(field, topic, kind)| unsuitable_topic(field, topic, &[kind], &topics));
    let status = fresh.status_mut();
    status.next_run = next.map(Time);
    say_ready(&mut status.conditions, &faults, remarks, generation, now);
    let health = context.notifications.health();
    let uid = object.uid();
    if let Some(delivering) = delivering::of(&health, |aside| aside.about.uid == uid) {
        set_condition(&mut status.conditions, delivering.says(), generation, now);
    }
}

fn reference<K: Scheduled>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// Forgets the schedules of objects that are gone.
///
/// # Errors
/// When the store does not answer.
pub async fn forget_gone(store: &Store, notifications: &Notifications) -> Result<(), store::Error> {
    let known = store.schedules().await?;
    let digests = notifications.digests.state();
    let reminders = notifications.reminders.state();
    let there: BTreeSet<String> = digests
        .iter()
        .filter_map(|digest| digest.uid())
        .chain(reminders.iter().filter_map(|reminder| reminder.uid()))
        .collect();
    for uid in known.iter().filter(|uid| !there.contains(*uid)) {
        store.forget_schedule(uid).await?;
    }
    Ok(())
}
