//! When something that failed is tried again. Pure.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long a message is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The wait after the first attempt that failed; it doubles.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// A message is given up only after this many attempts
    pub attempts: u32,
    /// and when it is this old. Both, for a server that refuses everything over a weekend is no fault of the message.
    pub age: SignedDuration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(15),
            attempts: 20,
            age: SignedDuration::from_hours(72),
        }
    }
}

impl Patience {
    /// When a message is tried again whose attempt has failed after `failed` earlier ones; none when it is given up.
    #[must_use]
    pub fn next(
        &self,
        failed: u32,
        created_at: Timestamp,
        asked: Option<Duration>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if failed + 1 >= self.attempts && now.duration_since(created_at) >= self.age {
            return None;
        }
        let wait = doubled(self.first, self.longest, failed).max(asked.unwrap_or_default());
        Some(later(now, wait))
    }
}

/// `first`, doubled `times`, at most `longest`.
#[must_use]
pub fn doubled(first: Duration, longest: Duration, times: u32) -> Duration {
    let factor = 2_u32.checked_pow(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// The moment that long from now; nothing waits longer than [`crate::store::outbox::LONGEST_WAIT`].
#[must_use]
pub fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let longest = crate::store::outbox::LONGEST_WAIT;
    let wait = SignedDuration::try_from(wait).unwrap_or(longest).min(longest);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Patience, doubled};
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = (0..12).map(|times| doubled(Duration::from_secs(1), Duration::from_mins(15), times).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(doubled(Duration::from_secs(1), Duration::from_mins(15), 4000).as_secs(), 900);
    }

    #[test]
    fn a_message_is_given_up_after_many_attempts_and_a_long_time() {
        let patience = Patience::default();
        let now = Timestamp::UNIX_EPOCH;
        let created = |hours: i64| now - SignedDuration::from_hours(hours);
        let wait = |failed: u32, hours: i64, asked: Option<u64>| {
            let next = patience.next(failed, created(hours), asked.map(Duration::from_secs), now);
            next.map(|at| at.duration_since(now).as_secs())
        };
        assert_eq!(wait(0, 0, None), Some(1));
        assert_eq!(wait(3, 0, Some(60)), Some(60), "a server may ask for more");
        assert_eq!(wait(3, 0, Some(10)), Some(10));
        assert_eq!(wait(9, 0, Some(10)), Some(512), "but not for less");
        assert_eq!(wait(0, 0, Some(86_400)), Some(3600), "and not for ever");
        assert_eq!(wait(40, 71, None), Some(900), "a bad weekend");
        assert_eq!(wait(0, 100, None), Some(1), "the server was down");
        assert_eq!(wait(19, 72, None), None);
    }
}
