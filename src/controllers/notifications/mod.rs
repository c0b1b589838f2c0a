//! What people are told: hands what happened to [`crate::notify`], and puts what that makes of it into the outbox.
//!
//! - [`facts`]: an instance as it stands
//! - [`queue`]: the instances of which something may have to be told; [`telling`] tells it
//! - [`recover`]: what a crash could have lost
//! - [`open`]: the open tasks of all instances; [`schedules`]: Digests and Reminders
//! - [`delivering`]: what conditions say about delivery
//!
//! Nothing here is on the way of a decision: whatever fails is tried again later, and instances go on meanwhile.

pub mod delivering;
pub mod facts;
pub mod open;
pub mod queue;
pub mod recover;
pub mod schedules;
pub mod telling;

use super::instances::live::Parsed;
use super::{Context, backoff};
use crate::api::{Digest, NotificationEvent, NotificationTopic, Reminder, condition};
use crate::delivery::channels::Channels;
use crate::delivery::{self, Courier, Health, Observer};
use crate::engine::Note;
use crate::notify::Links;
use crate::notify::topics::Topics;
use crate::runtime::clock::Clock;
use crate::runtime::events::Events;
use crate::runtime::telemetry::{Metrics, word};
use crate::runtime::watch::{Changes, Synced, observe};
use crate::store::Store;
use crate::store::outbox::SetAside;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::reflector::{ObjectRef, Store as Reflector};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use queue::Queues;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the installation says of notifications.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where what is to be sent and what was sent is kept.
    pub store_url: String,
    /// Where mail goes, and as whom.
    pub mail: delivery::settings::Options,
    /// The webhooks and chats that may be told.
    pub channels: Channels,
    /// What each of them hears of every instance.
    pub subscriptions: Vec<(String, BTreeSet<NotificationEvent>)>,
    /// Where links in messages lead.
    pub links: Links,
    /// The language of those whose language nobody knows.
    pub locale: String,
}

/// What the condition of a topic ends with that turned out to be wrong when it was sent.
const WHEN_SENT: &str = " (found when it was sent)";

/// What the controllers of notifications share.
pub struct Notifications {
    /// The instances of which something may have to be told.
    queues: Queues,
    /// Digests as they are now.
    pub digests: Reflector<Digest>,
    /// Reminders as they are now.
    pub reminders: Reflector<Reminder>,
    /// Topics as they are now.
    pub topic_objects: Reflector<NotificationTopic>,
    /// Told when a topic comes, changes or goes.
    pub topic_changes: Changes,
    /// Told when a template turned out to be broken.
    pub fault_changes: Changes,
    /// Told when a server goes or comes, or a message was set aside.
    pub health_changes: Changes,
    store: watch::Sender<Option<Store>>,
    health: Mutex<Health>,
    locale: String,
    built: Mutex<(u64, Arc<Topics>)>,
    /// What turned out to be wrong with topics, by name: of which generation, and what.
    faults: Mutex<HashMap<String, (Option<i64>, String)>>,
    /// What was told last of each unfinished instance, as a number.
    told: Mutex<HashMap<String, u64>>,
}

/// What happens to the objects of notifications, one stream for each kind.
pub struct Streams {
    /// Of topics.
    pub topics: BoxStream<'static, watcher::Result<NotificationTopic>>,
    /// Of Digests.
    pub digests: BoxStream<'static, watcher::Result<Digest>>,
    /// Of Reminders.
    pub reminders: BoxStream<'static, watcher::Result<Reminder>>,
}

impl Notifications {
    /// Starts to watch topics, Digests and Reminders. The streams must be polled: their controllers do.
    #[must_use]
    pub fn observe(client: &Client, synced: &Synced, locale: &str) -> (Self, Streams) {
        let topic_changes = Changes::default();
        let (topic_objects, topics) = observe::<NotificationTopic>(client, &topic_changes, synced, |_| false);
        let (digests, digest_stream) = observe::<Digest>(client, &Changes::default(), synced, |_| false);
        let (reminders, reminder_stream) = observe::<Reminder>(client, &Changes::default(), synced, |_| false);
        let notifications = Self {
            queues: Queues::default(),
            digests,
            reminders,
            topic_objects,
            topic_changes,
            fault_changes: Changes::default(),
            health_changes: Changes::default(),
            store: watch::Sender::new(None),
            health: Mutex::default(),
            locale: locale.to_owned(),
            built: Mutex::new((u64::MAX, Arc::new(Topics::new([], locale)))),
            faults: Mutex::default(),
            told: Mutex::default(),
        };
        let streams =
            Streams { topics: topics.boxed(), digests: digest_stream.boxed(), reminders: reminder_stream.boxed() };
        (notifications, streams)
    }

    /// An instance was written, or its people may have changed: whoever is to be told of it is told, sooner or later.
    pub fn tell(&self, parsed: Parsed, clock: &Clock) {
        self.queues.push(Arc::new(parsed), clock.now());
    }

    /// The topics as the watch has shown them so far; built anew only when something changed.
    pub fn topics(&self) -> Arc<Topics> {
        // Read before the store is: what changes in between is built in at the next call.
        let count = self.topic_changes.count();
        let mut built = lock(&self.built);
        if built.0 != count {
            let objects = self.topic_objects.state();
            let named: Vec<(String, _)> = objects.iter().map(|topic| (topic.name_any(), &topic.spec)).collect();
            *built =
                (count, Arc::new(Topics::new(named.iter().map(|(name, spec)| (name.as_str(), *spec)), &self.locale)));
        }
        built.1.clone()
    }

    /// Takes note of templates that turned out to be broken, each with its topic.
    fn broken(&self, faults: BTreeSet<(String, String)>) {
        for (topic, fault) in faults {
            let object = self.topic_objects.get(&ObjectRef::new(&topic));
            let generation = object.and_then(|object| object.metadata.generation);
            tracing::warn!(topic, fault, "a template is broken, a built-in text was sent instead");
            let known = (generation, fault);
            if lock(&self.faults).insert(topic, known.clone()) != Some(known) {
                self.fault_changes.announce();
            }
        }
    }

    /// What turned out to be wrong with a topic as it is now, when it was sent: by this operator or, as the condition says, by one
    /// before it.
    pub fn fault_of(&self, topic: &NotificationTopic) -> Option<String> {
        let generation = topic.metadata.generation;
        let faults = lock(&self.faults);
        if let Some((of, fault)) = faults.get(&topic.name_any()) {
            return (*of == generation).then(|| format!("{fault}{WHEN_SENT}"));
        }
        let ready = condition(&topic.status.as_ref()?.conditions, "Ready")?;
        let said = ready.status == "False" && ready.observed_generation == generation;
        Some(ready.message.clone()).filter(|message| said && message.ends_with(WHEN_SENT))
    }

    /// How delivery goes.
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// The store, as soon as it is open.
    pub async fn store(&self) -> Store {
        let mut opened = self.store.subscribe();
        loop {
            if let Some(store) = opened.borrow_and_update().clone() {
                return store;
            }
            // The sender lives as long as this does, so waiting cannot fail.
            opened.changed().await.ok();
        }
    }

    /// Opens the store, trying again until it can be opened: decisions are made meanwhile, and nobody is told.
    async fn open(&self, url: &str) {
        let mut failures = 0;
        loop {
            match Store::open(url).await {
                Ok(store) => {
                    self.store.send_replace(Some(store));
                    return;
                }
                Err(error) => tracing::warn!(%error, "nobody is told anything until the store can be opened"),
            }
            failures += 1;
            tokio::time::sleep(backoff(failures)).await;
        }
    }

    /// Takes note of how delivery goes, for ever. What changes with every message is not announced.
    async fn follow(&self, mut seen: watch::Receiver<Health>, metrics: &Metrics) {
        loop {
            let fresh = seen.borrow_and_update().clone();
            metrics.notifications_waiting.set(i64::try_from(fresh.census.queued).unwrap_or(i64::MAX));
            metrics.notifications_set_aside.set(i64::try_from(fresh.census.set_aside).unwrap_or(i64::MAX));
            let changed = {
                let mut health = lock(&self.health);
                let changed = (&health.mail, &health.channels, &health.census.newest)
                    != (&fresh.mail, &fresh.channels, &fresh.census.newest);
                *health = fresh;
                changed
            };
            if changed {
                self.health_changes.announce();
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the store, tells people, and carries messages away, until `stop` is cancelled.
pub async fn run(context: &Arc<Context>, mail: delivery::settings::Settings, stop: &CancellationToken) {
    let notifications = &context.notifications;
    let settings = &context.options.notifications;
    let carry = async {
        notifications.open(&settings.store_url).await;
        let clock = context.clock.clone();
        let courier =
            Courier::new(notifications.store().await, mail, settings.channels.clone(), Arc::new(move || clock.now()));
        let telltale = Telltale { metrics: context.metrics.clone(), events: context.events.clone() };
        let courier = courier.with_observer(Arc::new(telltale));
        let health = courier.health();
        tokio::join!(courier.run(stop.clone()), async {
            tokio::select! {
                () = notifications.follow(health, &context.metrics) => {}
                () = stop.cancelled() => {}
            }
        });
    };
    let care = async {
        tokio::select! {
            ((), ()) = async { tokio::join!(recover::run(context), recover::sweep(context)) } => {}
            () = stop.cancelled() => {}
        }
    };
    let told = async {
        context.synced.wait().await;
        telling::run(context, stop).await;
    };
    tokio::select! {
        _ = async { tokio::join!(carry, care, told) } => {}
        // Nothing of a message is lost when it is left here: it is taken up at the next start.
        () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await; } => {}
    }
}

/// How long what is being sent may take to be finished after the end was announced.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// Tells what becomes of messages.
struct Telltale {
    metrics: Arc<Metrics>,
    events: Events,
}

impl Observer for Telltale {
    fn sent(&self, _: &str) {
        self.metrics.notifications.get_or_create(&word("sent")).inc();
    }

    fn put_off(&self, _: &str) {
        self.metrics.notifications.get_or_create(&word("put-off")).inc();
    }

    fn set_aside(&self, message: &SetAside) {
        self.metrics.notifications.get_or_create(&word("set-aside")).inc();
        let to = crate::store::outbox::recipient(&message.to);
        let said = format!("{} to {to} could not be delivered and is set aside: {}", message.topic, message.reason);
        tracing::warn!(topic = message.topic, to, reason = message.reason, "a message is set aside");
        self.events.post(message.about.clone(), Note { warning: true, reason: "MailSetAside", message: said });
    }
}
