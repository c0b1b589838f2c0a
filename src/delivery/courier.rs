//! The courier: one lane for mail, one for each channel, and the care for the outbox.

use super::channels::Channels;
use super::lane::{Carrier, Lane, Outcome, Parts};
use super::mail::Letterhead;
use super::pool::{Pool, Taken};
use super::quiet;
use super::settings::Settings;
use super::smtp::{self, Connection, Envelope, Failure};
use crate::hex::hex;
use crate::notify::{Destination, Message};
use crate::store::outbox::{Census, Claimed, Fate, MAIL, SetAside, channel_lane};
use crate::store::{self, Store};
use jiff::{SignedDuration, Timestamp};
use lettre::Address;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tells the moment.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How many of those that were set aside [`Health`] shows of each topic, Digest and Reminder.
const SHOWN: usize = 5;

/// How many messages for a channel that is gone are set aside at once.
const AT_ONCE: usize = 64;

/// How often something happens, and how long it lasts. The defaults are for operators; tests are in a hurry.
#[derive(Clone, Debug)]
pub struct Timing {
    /// For how long what was claimed belongs to its holder; a message under way when the operator died waits as long.
    pub lease: Duration,
    /// How often the outbox is looked at although nothing was said of it.
    pub poll: Duration,
    /// How long nothing is sent after a server took nothing; it doubles
    pub pause: Duration,
    /// up to this.
    pub longest_pause: Duration,
    /// How long what was sent, and what was set aside, is remembered.
    pub retention: SignedDuration,
    /// How often the outbox is put in order.
    pub tidy: Duration,
    /// How often the numbers of [`Health`] change at most.
    pub count: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(1),
            retention: SignedDuration::from_hours(30 * 24),
            tidy: Duration::from_mins(1),
            count: Duration::from_secs(1),
        }
    }
}

/// Whether a destination takes messages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// It has not been asked yet.
    #[default]
    Starting,
    /// None is configured: messages wait.
    NoServer,
    /// It does.
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: Timestamp,
        /// What it says.
        why: String,
    },
}

/// How delivery goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The mail server.
    pub mail: Reach,
    /// The channels, by name.
    pub channels: BTreeMap<String, Reach>,
    /// How many messages wait or are set aside.
    pub census: Census,
}

/// Is told what happens to messages, as it happens.
pub trait Observer: Send + Sync {
    /// A message of this lane was taken.
    fn sent(&self, lane: &str) {
        let _ = lane;
    }

    /// An attempt failed; there will be another.
    fn put_off(&self, lane: &str) {
        let _ = lane;
    }

    /// A message will never be sent.
    fn set_aside(&self, message: &SetAside) {
        let _ = message;
    }
}

impl Observer for () {}

/// Carries messages from the outbox to where they go.
pub struct Courier {
    store: Store,
    mail: Settings,
    channels: Channels,
    clock: Clock,
    observer: Arc<dyn Observer>,
    timing: Timing,
    health: watch::Sender<Health>,
}

impl Courier {
    /// A courier that has not started.
    #[must_use]
    pub fn new(store: Store, mail: Settings, channels: Channels, clock: Clock) -> Self {
        let health = watch::Sender::new(Health::default());
        Self { store, mail, channels, clock, observer: Arc::new(()), timing: Timing::default(), health }
    }

    /// The same, which tells what happens to messages.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The same, in other time.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// How delivery goes, from now on.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Carries until it is told to stop; what is under way then is finished and recorded.
    ///
    /// # Panics
    /// When one of its own tasks does.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, mail, channels, clock, observer, timing, health } = self;
        let changed = Arc::new(Notify::new());
        let me = name();
        let mut reaches = BTreeMap::new();
        let mut lanes = JoinSet::new();
        for (channel, carrier) in channels.carriers() {
            let reach = watch::Sender::default();
            reaches.insert(channel.to_owned(), reach.subscribe());
            let parts = Parts {
                name: channel_lane(channel),
                holder: format!("{me}/{channel}"),
                carrier: Arc::new(carrier),
                store: store.clone(),
                clock: Arc::clone(&clock),
                observer: Arc::clone(&observer),
                reach,
                changed: Arc::clone(&changed),
                at_once: 4,
                per_second: 0.0,
                per_recipient: 0,
                patience: mail.patience,
                timing: timing.clone(),
            };
            lanes.spawn(Lane::new(parts).run(stop.clone()));
        }
        let reach = watch::Sender::default();
        let mail_reach = reach.subscribe();
        match mail.server {
            None => {
                reach.send_replace(Reach::NoServer);
                lanes.spawn(quiet::run(store.clone(), timing.poll, stop.clone()));
            }
            Some(server) => {
                let carrier = MailCarrier {
                    pool: Pool::new(server, mail.connections, mail.timeout),
                    from: mail.head.from.email.clone(),
                    head: mail.head,
                    timeout: mail.timeout,
                };
                let parts = Parts {
                    name: MAIL.to_owned(),
                    holder: me.clone(),
                    carrier: Arc::new(carrier),
                    store: store.clone(),
                    clock: Arc::clone(&clock),
                    observer: Arc::clone(&observer),
                    reach,
                    changed: Arc::clone(&changed),
                    at_once: mail.connections,
                    per_second: mail.per_second,
                    per_recipient: mail.per_recipient,
                    patience: mail.patience,
                    timing: timing.clone(),
                };
                lanes.spawn(Lane::new(parts).run(stop.clone()));
            }
        }
        let care = Care { store, clock, observer, timing, health, changed, me, mail: mail_reach, channels: reaches };
        lanes.spawn(care.run(stop));
        // Lanes end by themselves when they are told to stop; one that panics must not be missed in silence.
        lanes.join_all().await;
    }
}

/// A name that no other courier has.
fn name() -> String {
    let mut bytes = [0; 8];
    // Without chance there is still the process.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    hex(&bytes)
}

/// Keeps the outbox in order and the numbers up to date.
struct Care {
    store: Store,
    clock: Clock,
    observer: Arc<dyn Observer>,
    timing: Timing,
    health: watch::Sender<Health>,
    changed: Arc<Notify>,
    me: String,
    mail: watch::Receiver<Reach>,
    channels: BTreeMap<String, watch::Receiver<Reach>>,
}

impl Care {
    async fn run(self, stop: CancellationToken) {
        let mut queued = self.store.queued();
        let mut tidied: Option<Instant> = None;
        // The limits may be others than those of the operator before this one.
        if let Err(error) = self.store.reconsider((self.clock)()).await {
            tracing::warn!(%error, "mails that wait for a limit of before are sent when that is over");
        }
        loop {
            if tidied.is_none_or(|at| at.elapsed() >= self.timing.tidy) {
                tidied = Some(Instant::now());
                if let Err(error) = self.tidy().await {
                    tracing::warn!(%error, "the outbox cannot be put in order");
                }
            }
            // Whoever named a channel that is not there is told at once.
            if let Err(error) = self.abandon_lost().await {
                tracing::warn!(%error, "messages for channels that are not there cannot be set aside");
            }
            if let Err(error) = self.count().await {
                tracing::warn!(%error, "messages cannot be counted");
            }
            tokio::select! {
                () = self.changed.notified() => {}
                Ok(()) = queued.changed() => {}
                () = tokio::time::sleep(self.timing.tidy) => {}
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(self.timing.count) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    async fn tidy(&self) -> Result<(), store::Error> {
        let now = (self.clock)();
        self.store.heal(now).await?;
        self.store.prune(self.timing.retention, now).await?;
        Ok(())
    }

    /// Sets aside what is for channels that are not there.
    async fn abandon_lost(&self) -> Result<(), store::Error> {
        for lane in self.store.lanes().await? {
            let Some(channel) = lane.strip_prefix("channel/") else { continue };
            if !self.channels.contains_key(channel) {
                self.abandon(&lane, channel).await?;
            }
        }
        Ok(())
    }

    /// Sets aside what is for one of them.
    async fn abandon(&self, lane: &str, channel: &str) -> Result<(), store::Error> {
        let reason =
            format!("there is no channel {channel} in the operator's configuration; add it, or notify another");
        loop {
            let now = (self.clock)();
            let until = super::backoff::later(now, self.timing.lease);
            let claimed = self.store.claim(lane, &self.me, AT_ONCE, until, now).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let fate = Fate::SetAside { reason: reason.clone() };
            let fates: Vec<_> = claimed.iter().map(|claimed| (claimed.message.id.clone(), fate.clone())).collect();
            self.store.settle(&self.me, &fates, now).await?;
            for Claimed { message: Message { id, to, topic, about, .. }, .. } in claimed {
                let set_aside = SetAside { id, to, topic, about, reason: reason.clone(), at: now };
                self.observer.set_aside(&set_aside);
            }
        }
    }

    async fn count(&self) -> Result<(), store::Error> {
        let census = self.store.census(SHOWN).await?;
        let mail = self.mail.borrow().clone();
        let channels = self.channels.iter().map(|(name, reach)| (name.clone(), reach.borrow().clone())).collect();
        let health = Health { mail, channels, census };
        self.health.send_if_modified(|before| {
            let changed = *before != health;
            *before = health;
            changed
        });
        Ok(())
    }
}

/// Brings mails to the mail server.
struct MailCarrier {
    pool: Arc<Pool>,
    from: Address,
    head: Letterhead,
    timeout: Duration,
}

impl Carrier for MailCarrier {
    async fn probe(&self) -> Result<(), String> {
        loop {
            let mut taken = self.pool.take().await?;
            let used = taken.used;
            let Some(connection) = taken.get() else { continue };
            match smtp::probe(connection, &self.from, self.timeout).await {
                Ok(()) => {
                    taken.give_back();
                    return Ok(());
                }
                // The server has closed it while it waited.
                Err(_) if used => {}
                Err(why) => return Err(why),
            }
        }
    }

    async fn carry(&self, claimed: &Claimed) -> Outcome {
        let letter = match self.head.letter(&claimed.message, claimed.created_at) {
            Ok(letter) => letter,
            Err(why) => return Outcome::Refused(why),
        };
        let Some(to) = letter.envelope().to().first() else {
            return Outcome::Refused("the mail has no recipient".to_owned());
        };
        let mail = letter.formatted();
        // The client ends the last line itself.
        let mail = mail.strip_suffix(b"\r\n").unwrap_or(&mail);
        let envelope = Envelope { from: &self.from, to, mail };
        loop {
            let mut taken = match self.pool.take().await {
                Ok(taken) => taken,
                Err(why) => return Outcome::Down(why, None),
            };
            let used = taken.used;
            let Some(connection) = taken.get() else { continue };
            let failure = match smtp::send(connection, &envelope, used, self.timeout).await {
                Ok(()) => {
                    taken.give_back();
                    return Outcome::Sent;
                }
                Err(failure) => failure,
            };
            match failure {
                // The next is new, or as old as this one: it ends.
                Failure::Stale(why) => tracing::debug!(why, "the mail server had closed the connection"),
                Failure::Server(why) => return Outcome::Down(why, None),
                Failure::Again(why, connection) => {
                    put_back(taken, connection);
                    return Outcome::Again(why, None);
                }
                Failure::Refused(why, connection) => {
                    put_back(taken, connection);
                    return Outcome::Refused(why);
                }
            }
        }
    }

    fn rest(&self) {
        self.pool.rest();
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

fn put_back(taken: Taken, connection: Connection) {
    if connection == Connection::Usable {
        taken.give_back();
    }
}

/// Where a message goes, for the log.
pub(super) fn shown(to: &Destination) -> &str {
    match to {
        Destination::Mail { address, .. } => address,
        Destination::Channel(name) => name,
    }
}
