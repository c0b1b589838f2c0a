//! What a lane asks of the outbox: messages to carry, and to keep what came of them.

use super::super::backoff::later;
use super::super::limits::{WINDOW, held_back};
use super::{Carrier, Lane, STORE_PAUSE};
use crate::store;
use crate::store::outbox::{Fate, MAIL, recipient};
use jiff::Timestamp;
use std::time::{Duration, Instant};

impl<C: Carrier> Lane<C> {
    /// Claims at most so many, and puts off those whose recipients have got enough. Returns how many were claimed.
    pub(super) async fn claim_some(&mut self, limit: usize) -> Result<usize, store::Error> {
        let (started, now) = (Instant::now(), self.now());
        let (name, holder) = (self.parts.name.clone(), self.parts.holder.clone());
        let until = later(now, self.parts.timing.lease);
        let claimed = self.parts.store.claim(&name, &holder, limit, until, now).await?;
        let count = claimed.len();
        if count > 0 && !self.holds_something() {
            self.ours_until = started + self.parts.timing.lease;
        }
        let mut held = vec![None; count];
        if self.parts.per_recipient > 0 && name == MAIL {
            let recipients: Vec<String> = claimed.iter().map(|claimed| recipient(&claimed.message.to)).collect();
            held = match self.counted(&recipients, now).await {
                Ok(held) => held,
                Err(error) => {
                    self.fates
                        .extend(claimed.into_iter().map(|claimed| (claimed.message.id, Fate::Later { due: now })));
                    return Err(error);
                }
            };
        }
        let put_off = held.iter().filter(|held| held.is_some()).count();
        if put_off > 0 {
            let limit = self.parts.per_recipient;
            tracing::info!(lane = name, put_off, limit, "mails wait: their recipients have had enough within an hour");
        }
        for (claimed, held) in claimed.into_iter().zip(held) {
            match held {
                None => {
                    self.bucket.take(1);
                    self.waiting.push_back(claimed);
                }
                Some(due) => self.fates.push((claimed.message.id, Fate::Later { due })),
            }
        }
        Ok(count)
    }

    /// Which of the recipients have got enough, and until when.
    async fn counted(&self, recipients: &[String], now: Timestamp) -> Result<Vec<Option<Timestamp>>, store::Error> {
        let since = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
        let mut sent = self.parts.store.sent_to(recipients, &self.parts.holder, since, now).await?;
        let settling = self.fates.iter().filter(|(_, fate)| *fate == Fate::Sent).count();
        debug_assert_eq!(settling, 0, "what was sent is recorded before more is claimed");
        for claimed in self.waiting.iter().chain(self.carried.values()) {
            sent.entry(recipient(&claimed.message.to)).or_default().push(now);
        }
        Ok(held_back(recipients, &sent, self.parts.per_recipient, now))
    }

    /// How long until the next message is due.
    pub(super) async fn until_due(&self) -> Duration {
        let poll = self.parts.timing.poll;
        match self.parts.store.next_due(&self.parts.name).await {
            Ok(Some(due)) => due.duration_since(self.now()).try_into().unwrap_or(Duration::ZERO).min(poll),
            Ok(None) => poll,
            Err(error) => {
                tracing::warn!(lane = self.parts.name, %error, "it is not known when the next message is due");
                STORE_PAUSE
            }
        }
    }

    /// Records what came of messages.
    pub(super) async fn settle(&mut self) {
        if self.store_down && Instant::now() < self.store_at {
            return;
        }
        if self.fates.is_empty() {
            // There is nothing to record: whatever is asked next shows whether it answers again.
            self.store_down = false;
            return;
        }
        match self.parts.store.settle(&self.parts.holder, &self.fates, self.now()).await {
            Ok(()) => {
                self.store_down = false;
                // What was put off may be due before we would have looked.
                self.hungry = true;
                self.fates.clear();
                for set_aside in self.set_aside.drain(..) {
                    tracing::warn!(
                        lane = self.parts.name,
                        id = set_aside.id,
                        topic = set_aside.topic,
                        reason = set_aside.reason,
                        "message set aside"
                    );
                    self.parts.observer.set_aside(&set_aside);
                }
                self.parts.changed.notify_one();
            }
            Err(error) => {
                tracing::warn!(lane = self.parts.name, %error, "what came of messages cannot be recorded");
                self.store_down = true;
                self.store_at = Instant::now() + STORE_PAUSE;
            }
        }
    }

    pub(super) fn holds_something(&self) -> bool {
        !(self.waiting.is_empty() && self.carried.is_empty() && self.fates.is_empty())
    }

    pub(super) fn renew_at(&self) -> Option<Instant> {
        // Half of it is left for a store that does not answer at once.
        self.holds_something().then(|| self.ours_until.checked_sub(self.parts.timing.lease / 2)).flatten()
    }

    /// Moves the lease of everything that we hold on.
    pub(super) async fn renew(&mut self) {
        let started = Instant::now();
        if self.renew_at().is_none_or(|at| started < at) || (self.store_down && started < self.store_at) {
            return;
        }
        let until = later(self.now(), self.parts.timing.lease);
        match self.parts.store.renew(&self.parts.holder, until).await {
            Ok(()) => self.ours_until = started + self.parts.timing.lease,
            Err(error) => {
                tracing::warn!(lane = self.parts.name, %error, "what is under way cannot be kept from other operators");
                self.store_down = true;
                self.store_at = Instant::now() + STORE_PAUSE;
            }
        }
    }
}
