//! How much is sent at once: by the server as a whole, and to one recipient. Pure.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How far back the mails to one recipient are counted.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// At most so many a second, with at most a second's worth at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Zero: no limit.
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A bucket with room for one message: one that was just started must not add to what was sent before.
    #[must_use]
    pub fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, tokens: 1.0, filled: now }
    }

    /// How many may go now.
    pub fn room(&mut self, now: Instant) -> usize {
        if self.per_second <= 0.0 {
            return usize::MAX;
        }
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second.max(1.0));
        self.filled = now;
        // Never negative, and far below what an f64 counts exactly.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let room = self.tokens as usize;
        room
    }

    /// So many go.
    pub fn take(&mut self, count: usize) {
        if self.per_second > 0.0 {
            #[allow(clippy::cast_precision_loss)]
            let count = count as f64;
            self.tokens -= count;
        }
    }

    /// How many are worth the trouble to fetch: a tenth of a second's, for what is fetched is written down.
    #[must_use]
    pub fn worthwhile(&self, most: usize) -> usize {
        // Never negative, and far below what an f64 counts exactly.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let tenth = (self.per_second / 10.0) as usize;
        tenth.clamp(1, most.max(1))
    }

    /// How long until there is room for so many.
    #[must_use]
    pub fn wait(&self, count: usize) -> Duration {
        #[allow(clippy::cast_precision_loss)]
        let missing = count as f64 - self.tokens;
        if self.per_second <= 0.0 || missing <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((missing / self.per_second).min(3600.0))
    }
}

/// Which of these messages wait, each given by its recipient, and until when: no recipient gets more than `most` within the
/// [`WINDOW`]. `sent` has what they got in it already.
#[must_use]
pub fn held_back(
    recipients: &[String],
    sent: &BTreeMap<String, Vec<Timestamp>>,
    most: usize,
    now: Timestamp,
) -> Vec<Option<Timestamp>> {
    let mut sent = sent.clone();
    for moments in sent.values_mut() {
        moments.sort_unstable();
    }
    let held = recipients.iter().map(|recipient| {
        let got = sent.entry(recipient.clone()).or_default();
        if got.len() < most {
            got.push(now);
            return None;
        }
        // When so many have left the window that there is room for one.
        let leaves = got.get(got.len() - most).copied().unwrap_or(now);
        Some(leaves.saturating_add(WINDOW).unwrap_or(Timestamp::MAX).max(now))
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::{Bucket, held_back};
    use jiff::{SignedDuration, Timestamp};
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    #[test]
    fn a_bucket_paces() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, start);
        let mut gone = 0;
        for step in 0..=300 {
            let room = bucket.room(start + Duration::from_millis(step * 10));
            bucket.take(room);
            gone += room;
        }
        assert!((30..=31).contains(&gone), "one at once, then ten a second: {gone}");
        assert_eq!(
            bucket.room(start + Duration::from_mins(10)),
            10,
            "what was not used is no more than a second's worth"
        );
    }

    #[test]
    fn an_empty_bucket_says_when_to_come_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(20.0, start);
        assert_eq!((bucket.room(start), bucket.wait(1)), (1, Duration::ZERO));
        bucket.take(1);
        assert_eq!((bucket.wait(1), bucket.wait(5)), (Duration::from_millis(50), Duration::from_millis(250)));
        let worthwhile = |per_second: f64| Bucket::new(per_second, start).worthwhile(8);
        assert_eq!((worthwhile(0.1), worthwhile(20.0), worthwhile(500.0)), (1, 2, 8));
    }

    #[test]
    fn a_slow_bucket_still_lets_one_go() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.5, start);
        assert_eq!(bucket.room(start), 1);
        bucket.take(1);
        assert_eq!(bucket.room(start + Duration::from_millis(1900)), 0);
        assert_eq!(bucket.room(start + Duration::from_secs(2)), 1);
    }

    #[test]
    fn without_a_limit_everything_goes() {
        let mut bucket = Bucket::new(0.0, Instant::now());
        bucket.take(1000);
        assert_eq!((bucket.room(Instant::now()), bucket.wait(9)), (usize::MAX, Duration::ZERO));
    }

    #[test]
    fn a_recipient_gets_so_many_an_hour_and_the_rest_waits() {
        let now = Timestamp::UNIX_EPOCH;
        let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
        let sent = BTreeMap::from([("mary".to_owned(), vec![ago(10), ago(50)])]);
        let to = ["mary", "mary", "john", "mary"].map(str::to_owned);
        let minutes = |held: Vec<Option<Timestamp>>| -> Vec<Option<i64>> {
            held.into_iter().map(|at| at.map(|at| at.duration_since(now).as_mins())).collect()
        };
        assert_eq!(minutes(held_back(&to, &sent, 3, now)), [None, Some(10), None, Some(10)]);
        assert_eq!(minutes(held_back(&to, &sent, 1, now)), [Some(50), Some(50), None, Some(50)]);
        assert_eq!(minutes(held_back(&to, &BTreeMap::new(), 1, now)), [None, Some(60), None, Some(60)]);
    }
}
