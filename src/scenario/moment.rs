//! How a scenario writes moments and durations. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// A moment: a time such as `2027-01-01T00:00:00Z`, or an offset from the creation of the instance such as `+1h30m`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Moment {
    /// Seconds since the epoch.
    At(i64),
    /// Seconds since the creation of the instance.
    After(i64),
}

impl Moment {
    /// Seconds since the epoch, for an instance that was created at that second.
    #[must_use]
    pub fn seconds(self, created_at: i64) -> i64 {
        match self {
            Self::At(moment) => moment,
            Self::After(offset) => created_at.saturating_add(offset),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Self::At(time.as_second())),
            Err(_) => match Seconds::try_from(text.clone()) {
                Ok(Seconds(offset)) => Ok(Self::After(offset)),
                Err(_) => {
                    Err(format!("{text} is neither a time such as 2027-01-01T00:00:00Z nor an offset such as +1h30m"))
                }
            },
        }
    }
}

/// A duration in seconds, written as `+5s`, `-24h`, `1h30m`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Seconds(pub i64);

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let duration: SignedDuration = digits.parse().map_err(|_| format!("{text} is no duration such as 1h30m"))?;
        Ok(Self(sign * duration.as_secs()))
    }
}
