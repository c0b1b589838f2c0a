//! Business days: when a time limit in working time is over.
//!
//! Pure: no clock, no files. The time zones are those that the program brings along, so that every replica, on whatever machine,
//! finds the same moment. Called by whoever enters a step that has a time limit.
//!
//! Business days are counted on the clock of the calendar's time zone, day by day. Within working hours a day later is the same
//! time of day on the next working day. Outside of them the count begins at the next opening, and ends at a closing time: the
//! opening of one working day and the closing of the one before are the same instant of working time.

use crate::api::{BusinessCalendarSpec, Weekday, WorkingHours};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// How far ahead a working day is looked for, in days: a hundred years.
const HORIZON: u32 = 36_525;

/// A calendar that can be counted by.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    workdays: Vec<Weekday>,
    opening: Time,
    /// None: the end of the day.
    closing: Option<Time>,
    holidays: BTreeSet<Date>,
}

impl Calendar {
    /// Checks a calendar and makes it ready to count by.
    ///
    /// # Errors
    /// Every fault, each beginning with the field where it is, e.g. `spec.hours.to: …`.
    pub fn compile(spec: &BusinessCalendarSpec) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let zone = zone(&spec.time_zone).unwrap_or_else(|fault| {
            faults.push(fault);
            TimeZone::UTC
        });
        if spec.workdays.is_empty() {
            let message =
                "spec.workdays: there is no working day; name at least one, such as Mon, or leave the field out";
            faults.push(message.to_owned());
        }
        let (opening, closing) =
            spec.hours.as_ref().map_or((Time::midnight(), None), |hours| compile_hours(hours, &mut faults));
        let mut holidays = BTreeSet::new();
        for (position, written) in spec.holidays.iter().enumerate() {
            match date(written) {
                Some(date) => {
                    holidays.insert(date);
                }
                None => faults.push(format!(
                    "spec.holidays[{position}]: {written} is not a date; write year-month-day, such as 2026-12-24"
                )),
            }
        }
        let calendar = Self { zone, workdays: spec.workdays.clone(), opening, closing, holidays };
        if faults.is_empty() { Ok(calendar) } else { Err(faults) }
    }

    /// The moment that so many business days of working time after `from` are over; `from` itself for none. Never before
    /// `from`. A time of day that the target day skips (summer time begins) is taken later by what was skipped; of one that it
    /// has twice (summer time ends), the first counts.
    ///
    /// # Errors
    /// When the moment is more than a hundred years away: a message for people.
    pub fn after(&self, from: Timestamp, business_days: u32) -> Result<Timestamp, String> {
        if business_days == 0 {
            return Ok(from);
        }
        let too_far = || {
            format!(
                "{business_days} business days after {from} is more than a hundred years away; ask for fewer days, or mend spec.holidays of the calendar"
            )
        };
        let start = self.zone.to_datetime(from);
        self.end(start, business_days)
            .and_then(|end| self.zone.to_timestamp(end).ok())
            .map(|end| end.max(from))
            .ok_or_else(too_far)
    }

    fn end(&self, start: DateTime, business_days: u32) -> Option<DateTime> {
        let (date, time) = (start.date(), start.time());
        let closed = self.closing.is_some_and(|closing| closing <= time);
        if self.works_on(date) && self.opening < time && !closed {
            return Some(self.working_day(date.tomorrow().ok()?, business_days)?.to_datetime(time));
        }
        let day = self.working_day(if closed { date.tomorrow().ok()? } else { date }, business_days)?;
        match self.closing {
            Some(closing) => Some(day.to_datetime(closing)),
            None => Some(day.tomorrow().ok()?.to_datetime(Time::midnight())),
        }
    }

    /// The how-manieth working day, counted from `first` on, which is counted too.
    fn working_day(&self, first: Date, number: u32) -> Option<Date> {
        if number > HORIZON {
            return None;
        }
        let mut left = number;
        let mut day = first;
        for _ in 0..HORIZON {
            left -= u32::from(self.works_on(day));
            if left == 0 {
                return Some(day);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn works_on(&self, date: Date) -> bool {
        self.workdays.contains(&weekday(date)) && !self.holidays.contains(&date)
    }
}

/// The time zone of that name, as the field `spec.timeZone` of a calendar or a schedule gives it.
///
/// # Errors
/// There is none: what to write instead.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        format!("spec.timeZone: there is no time zone {name}; name one of the IANA database, such as Europe/Prague")
    })
}

fn compile_hours(hours: &WorkingHours, faults: &mut Vec<String>) -> (Time, Option<Time>) {
    let opening = time(&hours.from);
    if opening.is_none() {
        faults.push(format!(
            "spec.hours.from: {} is not a time of day; write hours and minutes, such as 08:00",
            hours.from
        ));
    }
    let closing = if hours.to == "24:00" { None } else { Some(time(&hours.to)) };
    match (opening, closing) {
        (_, Some(None)) => faults.push(format!(
            "spec.hours.to: {} is not a time of day; write hours and minutes, such as 17:00, or 24:00 for the end of the day",
            hours.to
        )),
        (Some(opening), Some(Some(closing))) if closing <= opening => faults.push(format!(
            "spec.hours: work ends at {} and so not after it begins, at {}; hours are those of one day, so write an end that is later",
            hours.to, hours.from
        )),
        _ => {}
    }
    (opening.unwrap_or_else(Time::midnight), closing.flatten())
}

/// A time of day, written `08:00`.
fn time(written: &str) -> Option<Time> {
    let plain = written.len() == 5 && written.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let (hour, minute) = written.split_once(':').filter(|(hour, minute)| plain && hour.len() == minute.len())?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// A date, written `2026-12-24` and no other way.
fn date(written: &str) -> Option<Date> {
    written.parse().ok().filter(|date: &Date| date.to_string() == written)
}

fn weekday(date: Date) -> Weekday {
    match date.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Mon,
        jiff::civil::Weekday::Tuesday => Weekday::Tue,
        jiff::civil::Weekday::Wednesday => Weekday::Wed,
        jiff::civil::Weekday::Thursday => Weekday::Thu,
        jiff::civil::Weekday::Friday => Weekday::Fri,
        jiff::civil::Weekday::Saturday => Weekday::Sat,
        jiff::civil::Weekday::Sunday => Weekday::Sun,
    }
}
