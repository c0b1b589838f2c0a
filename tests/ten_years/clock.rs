//! The moments that schedules should have, and the clock and the operator that come between.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::collections::BTreeSet;

pub const ZONES: [&str; 4] = ["Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];
pub const FROM: &str = "2025-01-01T12:00:00Z";
pub const TO: &str = "2035-01-01T12:00:00Z";

pub fn at(moment: &str) -> Timestamp {
    moment.parse().expect("a moment")
}

/// Chance that is the same every time: splitmix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).expect("a limit")).expect("below the limit")
    }

    pub fn one_in(&mut self, many: i64) -> bool {
        self.below(many) == 0
    }
}

/// A schedule as people would say it.
#[derive(Clone, Copy)]
pub struct Said {
    pub cron: &'static str,
    pub hours: &'static [i8],
    pub minutes: &'static [i8],
    pub weekdays_only: bool,
}

pub const DAILY: Said = Said { cron: "30 2 * * *", hours: &[2], minutes: &[30], weekdays_only: false };
pub const WEEKDAYS: Said = Said { cron: "0 8 * * 1-5", hours: &[8], minutes: &[0], weekdays_only: true };
pub const OFTEN: Said = Said { cron: "*/30 1-3 * * *", hours: &[1, 2, 3], minutes: &[0, 30], weekdays_only: false };
pub const MIDNIGHT: Said = Said { cron: "0 0 * * MON-FRI", hours: &[0], minutes: &[0], weekdays_only: true };

/// Every moment of a schedule, day by day.
pub fn moments(said: Said, zone: &TimeZone, first: Date, last: Date) -> BTreeSet<Timestamp> {
    let mut found = BTreeSet::new();
    let mut day = first;
    while day <= last {
        let free = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        if !(said.weekdays_only && free) {
            for hour in said.hours {
                found.extend(said.minutes.iter().map(|minute| moment_of(day.at(*hour, *minute, 0, 0), zone)));
            }
        }
        day = day.tomorrow().expect("a day");
    }
    found
}

/// The first moment at which the clock shows this; where it never does, what it would show had it not been put forward.
pub fn moment_of(shown: DateTime, zone: &TimeZone) -> Timestamp {
    let under = |offset: Offset| offset.to_timestamp(shown).expect("a moment");
    let about = under(Offset::UTC);
    let before = zone.to_offset(about.checked_sub(36.hours()).expect("a moment"));
    let after = zone.to_offset(about.checked_add(36.hours()).expect("a moment"));
    let fitting = [before, after].map(under).into_iter().filter(|moment| zone.to_datetime(*moment) == shown);
    fitting.min().unwrap_or_else(|| under(before))
}

/// A stretch of time in which the operator is up, and its clock wrong by so much.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub from: Timestamp,
    pub to: Timestamp,
    pub skew: SignedDuration,
}

impl Stretch {
    pub fn shown(&self, moment: Timestamp) -> Timestamp {
        moment.checked_add(self.skew).expect("a moment")
    }
}

/// Ten years, cut by downtimes and jumps of the clock.
pub fn stretches(chance: &mut Chance, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut moment = from;
    let mut skew = SignedDuration::ZERO;
    while moment < to {
        let up = SignedDuration::from_secs(3600 * 6 + chance.below(86_400 * 40));
        let end = moment.checked_add(up).expect("a moment").min(to);
        found.push(Stretch { from: moment, to: end, skew });
        moment = end;
        let hours = [0, 0, 24, -24, 1, -1, 23, -23];
        match chance.below(3) {
            0 => skew = SignedDuration::from_hours(hours[usize::try_from(chance.below(8)).expect("a place")]),
            1 => {
                moment = moment.checked_add(SignedDuration::from_secs(60 + chance.below(3600 * 24))).expect("a moment");
            }
            _ => moment = moment.checked_add(SignedDuration::from_secs(chance.below(86_400 * 30))).expect("a moment"),
        }
    }
    found
}

/// What should come: the moment of the run, and when it is done by the clock of the operator.
pub fn expected(
    moments: &BTreeSet<Timestamp>,
    stretches: &[Stretch],
    created: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    let mut handled = created;
    let mut found = Vec::new();
    for stretch in stretches {
        let (from, to) = (stretch.shown(stretch.from), stretch.shown(stretch.to));
        // What was missed, at once; the newest stands for all.
        let missed =
            moments.range(..=from).next_back().filter(|moment| **moment > handled).map(|moment| (*moment, from));
        found.extend(missed);
        handled = missed.map_or(handled, |(moment, _)| moment);
        for moment in moments.range(from..to).filter(|moment| **moment > handled) {
            found.push((*moment, *moment));
        }
        handled = found.last().map_or(handled, |(moment, _)| *moment);
    }
    found
}

pub fn years(said: Said, zone: &TimeZone) -> BTreeSet<Timestamp> {
    moments(said, zone, Date::constant(2024, 12, 1), Date::constant(2035, 2, 15))
}
