//! The moment, in the API server's time: a wrong clock on the operator's machine decides nothing.
//!
//! The server tells its time with every object that it stamps, in whole seconds. In between, the monotonic clock of this
//! machine counts on. The wall clock is believed only where it agrees.

use jiff::{SignedDuration, Timestamp};
use std::sync::Mutex;
use std::time::Instant;

/// A clock that follows the API server.
#[derive(Debug, Default)]
pub struct Clock {
    anchor: Mutex<Option<Anchor>>,
}

/// The server was in the second `second` at some moment between `asked` and `answered`.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    second: i64,
    asked: Instant,
    answered: Instant,
}

impl Clock {
    /// Takes over what the server stamped on something asked for and answered at these moments.
    pub fn set(&self, second: i64, asked: Instant, answered: Instant) {
        if let Ok(mut anchor) = self.anchor.lock() {
            *anchor = Some(Anchor { second, asked, answered });
        }
    }

    /// The moment.
    pub fn now(&self) -> Timestamp {
        let anchor = self.anchor.lock().ok().and_then(|anchor| *anchor);
        bounded(Timestamp::now(), anchor, Instant::now())
    }
}

/// The wall clock, moved into what the server's last stamp allows.
fn bounded(wall: Timestamp, anchor: Option<Anchor>, at: Instant) -> Timestamp {
    let Some(anchor) = anchor else { return wall };
    let Ok(second) = Timestamp::from_second(anchor.second) else {
        return wall;
    };
    let since = |moment: Instant| SignedDuration::try_from(at.saturating_duration_since(moment)).unwrap_or_default();
    let earliest = second.saturating_add(since(anchor.answered)).unwrap_or(wall);
    let latest = second.saturating_add(since(anchor.asked) + SignedDuration::from_secs(1)).unwrap_or(wall);
    wall.clamp(earliest, latest.max(earliest))
}

#[cfg(test)]
mod tests {
    use super::{Anchor, bounded};
    use jiff::Timestamp;
    use std::time::{Duration, Instant};

    #[test]
    fn attack_34_a_clock_that_jumps_a_day_is_pulled_back() {
        let asked = Instant::now();
        let anchor = Some(Anchor { second: 1_000_000, asked, answered: asked + Duration::from_millis(20) });
        let at = asked + Duration::from_mins(1);
        let told = |wall: i64| bounded(Timestamp::from_second(wall).expect("in range"), anchor, at).as_millisecond();
        assert_eq!(told(1_000_060), 1_000_060_000, "a clock that agrees is believed");
        assert_eq!(told(1_000_060 + 86_400), 1_000_061_000);
        assert_eq!(told(1_000_060 - 86_400), 1_000_059_980);
    }
}
