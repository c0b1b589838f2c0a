//! When a schedule comes: five fields of cron on the clock of a time zone. Pure.
//!
//! The expression is matched against the civil clock, and what matches is taken to the time zone: a time of day that the day skips
//! (summer time begins) comes later by what was skipped, one that it has twice (summer time ends) comes the first time alone. So a
//! schedule is a row of moments that only rises. A run *is* one of those moments: whatever the clock of the machine does, it is
//! dealt with once, because what is remembered is up to which moment that was done.
//!
//! Called by the controllers of Digest and Reminder, and by whoever checks their manifests.

use crate::calendar;
use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

#[cfg(test)]
mod tests;

/// The fields of an expression, as people call them.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// What every fault of an expression ends with.
const FIX: &str = "write five fields such as 0 8 * * 1-5";

/// The library looks four years ahead. 29 February on one day of the week is up to forty years away, so it looks this often.
const WINDOWS: u32 = 12;

/// After this year nothing comes: the calendar of the libraries ends with 9999.
const LAST_YEAR: i16 = 9900;

/// So many missed runs are counted one by one.
const COUNTED: usize = 1000;

/// A row of moments.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Crontab,
    zone: TimeZone,
}

/// A run that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Its moment: the newest one that is not in the future.
    pub at: Timestamp,
    /// How many runs before it were missed too: it stands for all of them. Counted up to 1000.
    pub missed: usize,
}

/// Up to where a schedule has been dealt with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handled {
    /// The schedule as it was then: [`Schedule::text`].
    pub schedule: String,
    /// No run up to this moment is left.
    pub until: Timestamp,
}

/// What is to be done about a schedule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The schedule is new, or another one than before: its runs count from this moment on, which is to be remembered first.
    Begin(Timestamp),
    /// Nothing until that moment; none: nothing ever again.
    Wait(Option<Timestamp>),
    /// This run.
    Run(Due),
}

/// What is to be done now about the schedule of an object of that generation.
///
/// A new object counts from its creation, so that a run is made up even if nobody was there to see it come. One that was edited
/// counts from the moment at which that is seen: nothing of the past is made up. An edit that leaves the schedule itself as it was
/// changes nothing here.
#[must_use]
pub fn step(
    schedule: &Schedule,
    generation: i64,
    created_at: Timestamp,
    handled: Option<&Handled>,
    now: Timestamp,
) -> Step {
    match handled {
        None if generation <= 1 => Step::Begin(created_at),
        Some(handled) if handled.schedule == schedule.text => match schedule.next(handled.until) {
            Some(first) if first <= now => Step::Run(schedule.newest_since(first, now)),
            next => Step::Wait(next),
        },
        _ => Step::Begin(now),
    }
}

/// What is wrong with the fields `spec.schedule` and `spec.timeZone`; empty when nothing is.
#[must_use]
pub fn faults(schedule: &str, time_zone: &str) -> Vec<String> {
    Schedule::parse(schedule, time_zone).err().unwrap_or_default()
}

impl Schedule {
    /// Reads an expression and the name of the time zone whose clock it means.
    ///
    /// # Errors
    /// Every fault, each beginning with the field where it is.
    pub fn parse(schedule: &str, time_zone: &str) -> Result<Self, Vec<String>> {
        let cron = read(schedule).map_err(|fault| format!("spec.schedule: {fault}; {FIX}"));
        let zone = calendar::zone(time_zone);
        let (cron, zone) = match (cron, zone) {
            (Ok(cron), Ok(zone)) => (cron, zone),
            (cron, zone) => return Err([cron.err(), zone.err()].into_iter().flatten().collect()),
        };
        let fields: Vec<_> = schedule.split_ascii_whitespace().collect();
        Ok(Self { text: format!("{} {time_zone}", fields.join(" ")), cron, zone })
    }

    /// Expression and time zone in one line, to tell whether somebody changed them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The date of a moment, on the schedule's calendar.
    #[must_use]
    pub fn date(&self, moment: Timestamp) -> Date {
        self.zone.to_datetime(moment).date()
    }

    /// The first run after a moment; none: there is none before the calendar ends.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = self.clock(after)?;
        let mut found: Option<Timestamp> = None;
        loop {
            from = next_on_the_clock(&self.cron, from)?;
            let ambiguous = self.zone.to_ambiguous_timestamp(from);
            let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
            let moment = ambiguous.compatible().ok()?;
            if moment > after {
                found = Some(found.map_or(moment, |found| found.min(moment)));
            }
            // A time that the day skips comes when the clock is past times that are written later: one of those may come first.
            if found.is_some() && !skipped {
                return found;
            }
        }
    }

    /// The run that is due: the newest in (`handled_until`, `now`].
    #[must_use]
    pub fn due(&self, handled_until: Timestamp, now: Timestamp) -> Option<Due> {
        self.next(handled_until).filter(|first| *first <= now).map(|first| self.newest_since(first, now))
    }

    /// The newest run up to now, when `first` is one of those.
    fn newest_since(&self, first: Timestamp, now: Timestamp) -> Due {
        let mut due = Due { at: first, missed: 0 };
        while let Some(later) = self.next(due.at).filter(|later| *later <= now) {
            due = Due { at: later, missed: due.missed + 1 };
            if due.missed == COUNTED {
                return Due { at: self.newest(later, now), ..due };
            }
        }
        due
    }

    /// The newest run up to now, at least `known`. Searched for from now backwards, in ever longer strides: years of missed runs
    /// are not counted through.
    fn newest(&self, known: Timestamp, now: Timestamp) -> Timestamp {
        let strides = [1, 24, 24 * 32, 24 * 366, 24 * 366 * 40].map(SignedDuration::from_hours);
        for stride in strides {
            let from = now.checked_sub(stride).map_or(known, |from| from.max(known));
            let runs = std::iter::successors(self.next(from), |at| self.next(*at));
            if let Some(newest) = runs.take_while(|at| *at <= now).last() {
                return newest;
            }
        }
        known
    }

    /// What the clock showed at that moment, or would have shown had it not just been put forward: times that were skipped then
    /// may still come.
    fn clock(&self, moment: Timestamp) -> Option<DateTime> {
        let shown = self.zone.to_datetime(moment);
        let next = moment.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let Some(change) = self.zone.preceding(next).next().map(|change| change.timestamp()) else {
            return Some(shown);
        };
        let before = self.zone.to_offset(change.checked_sub(SignedDuration::from_nanos(1)).ok()?);
        let forward = before.until(self.zone.to_offset(change)).get_seconds();
        if moment.duration_since(change) < SignedDuration::from_secs(forward) {
            return Some(before.to_datetime(moment));
        }
        Some(shown)
    }
}

/// The first match after a time on the civil clock.
fn next_on_the_clock(cron: &Crontab, after: DateTime) -> Option<DateTime> {
    let mut from = after;
    for _ in 0..WINDOWS {
        if from.year() > LAST_YEAR {
            return None;
        }
        let written = TimeZone::UTC.to_timestamp(from).ok()?;
        if let Ok(found) = cron.find_next(written) {
            return Some(found.datetime());
        }
        from = from.checked_add(Span::new().years(4)).ok()?;
    }
    None
}

fn read(schedule: &str) -> Result<Crontab, String> {
    let fields: Vec<_> = schedule.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("the number of fields is {}", fields.len()));
    }
    if let Some(extension) = extension(&fields) {
        return Err(extension);
    }
    let cron = parse(&fields.join(" ")).map_err(|reason| {
        // The library counts characters; people look for a field.
        let faulty = fields.iter().zip(FIELDS).find_map(|(written, name)| {
            let alone: Vec<_> = FIELDS.iter().map(|field| if *field == name { *written } else { "*" }).collect();
            parse(&alone.join(" ")).err().map(|reason| format!("{name} {written}: {reason}"))
        });
        faulty.unwrap_or(reason)
    })?;
    if next_on_the_clock(&cron, Date::constant(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
        return Err(format!("{} never comes", fields.join(" ")));
    }
    Ok(cron)
}

/// Refuses what the library knows beyond cron: its last day of the month misses December.
fn extension(fields: &[&str]) -> Option<String> {
    let days =
        [(2, fields[2].contains(|written: char| written.is_ascii_alphabetic())), (4, special_weekday(fields[4]))];
    days.into_iter()
        .find(|(_, special)| *special)
        .map(|(field, _)| format!("{} {}: L, W and # are none of cron's own signs", FIELDS[field], fields[field]))
}

fn special_weekday(written: &str) -> bool {
    written.split([',', '-', '/']).any(|item| item.contains('#') || item.ends_with(['l', 'L']))
}

fn parse(expression: &str) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    parse_crontab_with(expression, options).map_err(|error| {
        let shown = error.to_string();
        // It shows the expression with a mark below, and the reason beside the mark.
        shown.rsplit_once("^ ").map_or(shown.clone(), |(_, reason)| reason.to_owned())
    })
}
