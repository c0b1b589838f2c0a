//! The loop that carries the messages of one destination: claims what is due, sends some at once, records what came of them.
//!
//! A lane that is down claims nothing; it asks the carrier now and then whether it would take a message. What is sent is recorded
//! together with what else has been sent meanwhile, in one transaction.

mod records;

use super::backoff::{Patience, doubled};
use super::courier::{Clock, Observer, Reach, Timing};
use super::limits::Bucket;
use crate::store::Store;
use crate::store::outbox::{Claimed, Fate, SetAside};
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long a lane waits before it asks the store again that did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often a lane that ends asks a store that does not answer.
const LAST_TRIES: usize = 5;

/// The longest that a server may ask to be left alone.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// What brings messages to one destination.
pub(super) trait Carrier: Send + Sync + 'static {
    /// Whether it would take a message now, and if not, why.
    fn probe(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Brings one message.
    fn carry(&self, claimed: &Claimed) -> impl Future<Output = Outcome> + Send;

    /// There is nothing to do for a while.
    fn rest(&self);

    /// There will be nothing more to do.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// What came of bringing a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It was taken.
    Sent,
    /// This message is tried again, not before the time that was asked for.
    Again(String, Option<Duration>),
    /// This message will never be taken.
    Refused(String),
    /// No message is taken now.
    Down(String, Option<Duration>),
}

/// What a lane is made of.
pub(super) struct Parts<C> {
    pub(super) name: String,
    /// Who claims, told apart from every other operator and every other lane.
    pub(super) holder: String,
    pub(super) carrier: Arc<C>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) reach: watch::Sender<Reach>,
    /// Something was settled: numbers have changed.
    pub(super) changed: Arc<Notify>,
    pub(super) at_once: usize,
    pub(super) per_second: f64,
    pub(super) per_recipient: usize,
    pub(super) patience: Patience,
    pub(super) timing: Timing,
}

/// Whether messages are taken.
enum Gate {
    Open,
    /// Closed until then; then the carrier is asked.
    Shut(Instant),
    Asking,
}

enum Done {
    Probed(Result<(), String>),
    Carried(Outcome),
}

pub(super) struct Lane<C> {
    parts: Parts<C>,
    gate: Gate,
    /// How often in a row the carrier as a whole took nothing.
    failures: u32,
    bucket: Bucket,
    /// Claimed and not started.
    waiting: VecDeque<Claimed>,
    running: JoinSet<Done>,
    /// What the tasks carry; the probe is none of them.
    carried: HashMap<Id, Claimed>,
    fates: Vec<(String, Fate)>,
    set_aside: Vec<SetAside>,
    /// There may be more to claim.
    hungry: bool,
    /// When to look for more anyway.
    look_at: Instant,
    /// Until when everything that was claimed is ours for sure.
    ours_until: Instant,
    /// Not before then is the store asked to record what it refused to.
    store_at: Instant,
    store_down: bool,
}

impl<C: Carrier> Lane<C> {
    pub(super) fn new(parts: Parts<C>) -> Self {
        let now = Instant::now();
        Self {
            gate: Gate::Shut(now),
            failures: 0,
            bucket: Bucket::new(parts.per_second, now),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            carried: HashMap::new(),
            fates: Vec::new(),
            set_aside: Vec::new(),
            hungry: true,
            look_at: now,
            ours_until: now,
            store_at: now,
            store_down: false,
            parts,
        }
    }

    /// Carries until it is told to stop; then it finishes what is under way and gives back the rest.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut queued = self.parts.store.queued();
        while !stop.is_cancelled() {
            self.ask();
            self.claim().await;
            self.start();
            let wake = tokio::time::Instant::from_std(self.wake());
            tokio::select! {
                Some(done) = self.running.join_next_with_id() => self.finished(done),
                Ok(()) = queued.changed() => self.hungry = true,
                () = tokio::time::sleep_until(wake) => {}
                () = stop.cancelled() => break,
            }
            while let Some(done) = self.running.try_join_next_with_id() {
                self.finished(done);
            }
            // Written down before more is started: no more than `at_once` messages are ever in doubt when the operator dies.
            self.settle().await;
            self.renew().await;
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        self.give_back();
        while let Some(done) = self.running.join_next_with_id().await {
            self.finished(done);
            self.settle().await;
            self.renew().await;
        }
        for _ in 0..LAST_TRIES {
            self.settle().await;
            if self.fates.is_empty() {
                break;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
        self.parts.carrier.close().await;
    }

    /// The moment, as exact as the store keeps it.
    fn now(&self) -> Timestamp {
        let now = (self.parts.clock)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    fn is_open(&self) -> bool {
        matches!(self.gate, Gate::Open) && !self.store_down
    }

    /// Asks a carrier that took nothing whether it would now.
    fn ask(&mut self) {
        if matches!(self.gate, Gate::Shut(until) if Instant::now() >= until) {
            let carrier = Arc::clone(&self.parts.carrier);
            self.running.spawn(async move { Done::Probed(carrier.probe().await) });
            self.gate = Gate::Asking;
        }
    }

    /// Claims messages, when there is room for them.
    async fn claim(&mut self) {
        let now = Instant::now();
        if !self.is_open() || self.waiting.len() >= self.parts.at_once || !(self.hungry || now >= self.look_at) {
            return;
        }
        let (room, worthwhile) = (self.bucket.room(now), self.bucket.worthwhile(self.parts.at_once));
        if room < worthwhile {
            self.hungry = false;
            self.look_at = now + self.bucket.wait(worthwhile);
            return;
        }
        let limit = room.min(4 * self.parts.at_once - self.waiting.len());
        match self.claim_some(limit).await {
            Ok(claimed) if claimed == limit => self.hungry = true,
            Ok(_) => {
                self.hungry = false;
                self.look_at = Instant::now() + self.until_due().await;
            }
            Err(error) => {
                tracing::warn!(lane = self.parts.name, %error, "messages cannot be fetched");
                self.hungry = false;
                self.look_at = Instant::now() + STORE_PAUSE;
            }
        }
    }

    /// Starts to carry what waits, as much as there may be at once.
    fn start(&mut self) {
        // A message whose lease is nearly over may be another operator's before the server has it.
        let lease = self.parts.timing.lease;
        while self.is_open()
            && self.carried.len() < self.parts.at_once
            && self.ours_until.saturating_duration_since(Instant::now()) > lease / 4
        {
            let Some(claimed) = self.waiting.pop_front() else { break };
            let (carrier, copy) = (Arc::clone(&self.parts.carrier), claimed.clone());
            let task = self.running.spawn(async move { Done::Carried(carrier.carry(&copy).await) });
            self.carried.insert(task.id(), claimed);
        }
    }

    fn finished(&mut self, done: Result<(Id, Done), JoinError>) {
        let (id, done) = match done {
            Ok((id, done)) => (id, done),
            Err(error) if self.carried.contains_key(&error.id()) => {
                let outcome = Outcome::Again(format!("the operator failed over it: {error}"), None);
                (error.id(), Done::Carried(outcome))
            }
            Err(error) => (error.id(), Done::Probed(Err(error.to_string()))),
        };
        match done {
            Done::Probed(Ok(())) => {
                self.gate = Gate::Open;
                self.hungry = true;
                self.tell(Reach::Up);
            }
            Done::Probed(Err(why)) => self.shut(why, None),
            Done::Carried(outcome) => {
                if let Some(claimed) = self.carried.remove(&id) {
                    self.carried(claimed, outcome);
                }
            }
        }
    }

    fn carried(&mut self, claimed: Claimed, outcome: Outcome) {
        let (name, now) = (&self.parts.name, self.now());
        let fate = match outcome {
            Outcome::Sent => {
                self.parts.observer.sent(name);
                Fate::Sent
            }
            Outcome::Again(reason, asked) => {
                match self.parts.patience.next(claimed.attempts, claimed.created_at, asked, now) {
                    Some(due) => {
                        tracing::debug!(lane = name, id = claimed.message.id, reason, "tried again later");
                        self.parts.observer.put_off(name);
                        Fate::Again { due, reason }
                    }
                    None => {
                        let reason = format!("given up after {} attempts: {reason}", claimed.attempts + 1);
                        Fate::SetAside { reason }
                    }
                }
            }
            Outcome::Refused(reason) => Fate::SetAside { reason },
            Outcome::Down(why, asked) => {
                self.shut(why, asked);
                self.fates.push((claimed.message.id, Fate::Later { due: now }));
                return;
            }
        };
        self.failures = 0;
        let message = claimed.message;
        if let Fate::SetAside { reason } = &fate {
            let (id, topic, about) = (message.id.clone(), message.topic, message.about);
            self.set_aside.push(SetAside { id, to: message.to, topic, about, reason: reason.clone(), at: now });
        }
        self.fates.push((message.id, fate));
    }

    /// Nothing is taken for a while.
    fn shut(&mut self, why: String, asked: Option<Duration>) {
        if matches!(self.gate, Gate::Shut(_)) {
            return;
        }
        let timing = &self.parts.timing;
        // A server may ask for more than a clock can count.
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        let wait = doubled(timing.pause, timing.longest_pause, self.failures).max(asked);
        self.failures = self.failures.saturating_add(1);
        self.gate = Gate::Shut(Instant::now() + wait);
        tracing::warn!(lane = self.parts.name, why, ?wait, "nothing is taken; messages wait");
        let since = match &*self.parts.reach.borrow() {
            Reach::Down { since, .. } => *since,
            _ => self.now(),
        };
        self.tell(Reach::Down { since, why });
        self.give_back();
    }

    /// Gives back what was claimed and not started.
    fn give_back(&mut self) {
        let now = self.now();
        self.fates.extend(self.waiting.drain(..).map(|claimed| (claimed.message.id, Fate::Later { due: now })));
    }

    fn tell(&self, reach: Reach) {
        let changed = self.parts.reach.send_if_modified(|before| {
            let changed = *before != reach;
            *before = reach;
            changed
        });
        if changed {
            self.parts.changed.notify_one();
        }
    }

    /// When there is something to do, if nothing happens before.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + self.parts.timing.poll;
        if let Some(at) = self.renew_at() {
            wake = wake.min(at);
        }
        if self.store_down {
            return self.store_at;
        }
        match self.gate {
            Gate::Open if self.waiting.len() < self.parts.at_once => {
                wake = wake.min(if self.hungry { now } else { self.look_at });
            }
            Gate::Shut(until) => wake = wake.min(until),
            Gate::Open | Gate::Asking => {}
        }
        if !self.holds_something() && wake > now + Duration::from_secs(1) {
            self.parts.carrier.rest();
        }
        wake
    }
}

#[cfg(test)]
mod tests;
