//! Business days, case by case. Moments are written with the time zone, as a person there would read the clock.

use super::Calendar;
use crate::api::BusinessCalendarSpec;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};

fn spec(fields: &Value) -> BusinessCalendarSpec {
    serde_json::from_value(fields.clone()).expect("a calendar")
}

/// An office in Prague, eight to five, closed over Christmas.
fn office() -> Value {
    json!({"timeZone": "Europe/Prague", "hours": {"from": "08:00", "to": "17:00"},
           "holidays": ["2026-12-24", "2026-12-25", "2026-12-26", "2027-01-01"]})
}

fn whole_days(zone: &str) -> Value {
    json!({"timeZone": zone, "workdays": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]})
}

fn moment(written: &str) -> Timestamp {
    written.parse::<Zoned>().expect("a moment with its time zone").timestamp()
}

#[track_caller]
fn check(calendar: &Value, from: &str, business_days: u32, expected: &str) {
    let zone = calendar["timeZone"].as_str().expect("a time zone");
    let calendar = Calendar::compile(&spec(calendar)).expect("a calendar that works");
    let end = calendar.after(moment(&format!("{from}[{zone}]")), business_days).expect("a moment");
    assert_eq!(end, moment(&format!("{expected}[{zone}]")), "{business_days} after {from}: {end}");
}

#[track_caller]
fn faults(calendar: &Value) -> String {
    Calendar::compile(&spec(calendar)).expect_err("faults").join("\n")
}

#[test]
fn r22_within_working_hours_the_time_of_day_is_kept() {
    check(&office(), "2026-09-01T10:30", 1, "2026-09-02T10:30"); // Tuesday
    check(&office(), "2026-09-01T10:30:00.5", 5, "2026-09-08T10:30:00.5");
    check(&office(), "2026-09-04T16:59:59", 1, "2026-09-07T16:59:59"); // Friday
}

#[test]
fn r22_outside_working_hours_the_count_begins_at_the_next_opening() {
    check(&office(), "2026-09-01T07:59:59", 1, "2026-09-01T17:00"); // before opening
    check(&office(), "2026-09-01T17:00:01", 1, "2026-09-02T17:00"); // after closing
    check(&office(), "2026-09-04T20:00", 1, "2026-09-07T17:00"); // Friday evening
    check(&office(), "2026-09-05T12:00", 1, "2026-09-07T17:00"); // Saturday
    check(&office(), "2026-09-06T23:59:59", 3, "2026-09-09T17:00"); // Sunday
    check(&office(), "2026-12-25T10:00", 1, "2026-12-28T17:00"); // a holiday
}

#[test]
fn r22_opening_and_the_closing_before_it_are_one_instant_of_working_time() {
    check(&office(), "2026-09-01T08:00", 1, "2026-09-01T17:00");
    check(&office(), "2026-09-01T08:00", 5, "2026-09-07T17:00");
    check(&office(), "2026-09-01T17:00", 1, "2026-09-02T17:00");
    check(&office(), "2026-09-04T17:00", 1, "2026-09-07T17:00"); // Friday
}

#[test]
fn r22_holidays_in_a_row_are_passed_over() {
    check(&office(), "2026-12-23T09:00", 1, "2026-12-28T09:00"); // two holidays, a holiday on Saturday, Sunday
    check(&office(), "2026-12-31T09:00", 1, "2027-01-04T09:00");
}

#[test]
fn r22_no_business_days_is_at_once() {
    check(&office(), "2026-09-01T10:30", 0, "2026-09-01T10:30");
    check(&office(), "2026-09-05T12:00", 0, "2026-09-05T12:00");
}

#[test]
fn r22_whole_days_end_at_midnight() {
    let calendar = json!({"timeZone": "Europe/Prague"});
    check(&calendar, "2026-09-01T10:30", 2, "2026-09-03T10:30");
    check(&calendar, "2026-09-05T10:30", 1, "2026-09-08T00:00"); // Saturday: all of Monday
    check(&calendar, "2026-09-01T00:00", 1, "2026-09-02T00:00");
    check(&calendar, "2026-09-04T00:00", 1, "2026-09-05T00:00"); // Friday: over when Friday is
    let until_midnight = json!({"timeZone": "Europe/Prague", "hours": {"from": "12:00", "to": "24:00"}});
    check(&until_midnight, "2026-09-01T11:00", 1, "2026-09-02T00:00");
    check(&until_midnight, "2026-09-01T23:59", 1, "2026-09-02T23:59");
}

#[test]
fn r22_days_are_those_of_the_time_zone() {
    let new_york = json!({"timeZone": "America/New_York", "hours": {"from": "09:00", "to": "17:00"}});
    let calendar = Calendar::compile(&spec(&new_york)).expect("a calendar");
    // Saturday morning in Tokyo, still Friday afternoon in New York.
    let end = calendar.after(moment("2026-09-05T04:00[Asia/Tokyo]"), 1).expect("a moment");
    assert_eq!(end, moment("2026-09-07T15:00[America/New_York]"));
    // Friday noon in Honolulu is Friday evening in New York.
    let end = calendar.after(moment("2026-09-04T12:00[Pacific/Honolulu]"), 1).expect("a moment");
    assert_eq!(end, moment("2026-09-07T17:00[America/New_York]"));
}

#[test]
fn r22_summer_time_begins_and_ends() {
    // 2026-03-29: 02:00 to 03:00 is skipped; 2026-10-25: 02:00 to 03:00 comes twice.
    let prague = whole_days("Europe/Prague");
    check(&prague, "2026-03-28T02:30", 1, "2026-03-29T03:30");
    check(&prague, "2026-03-28T02:30", 2, "2026-03-30T02:30");
    check(&prague, "2026-10-24T02:30", 1, "2026-10-25T02:30+02:00");
    check(&prague, "2026-10-25T02:30+01:00", 1, "2026-10-26T02:30");
    check(&prague, "2026-03-27T10:00", 3, "2026-03-30T10:00"); // 71 hours
    check(&prague, "2026-10-23T10:00", 3, "2026-10-26T10:00"); // 73 hours
    check(&prague, "2026-03-29T00:00", 1, "2026-03-30T00:00"); // a day of 23 hours
}

#[test]
fn r22_summer_time_of_half_an_hour() {
    // Lord Howe: 2026-04-05 at 02:00 back to 01:30; 2026-10-04 at 02:00 on to 02:30.
    let island = whole_days("Australia/Lord_Howe");
    check(&island, "2026-10-03T02:15", 1, "2026-10-04T02:45");
    check(&island, "2026-10-03T02:15", 2, "2026-10-05T02:15");
    check(&island, "2026-04-04T01:45", 1, "2026-04-05T01:45+11:00");
    check(&island, "2026-04-04T12:00", 1, "2026-04-05T12:00");
}

#[test]
fn r22_midnight_that_does_not_exist() {
    // Santiago: 2026-09-06 begins at 01:00.
    check(&whole_days("America/Santiago"), "2026-09-05T00:00", 1, "2026-09-06T01:00");
}

#[test]
fn r22_leap_days() {
    check(&office(), "2028-02-28T10:00", 1, "2028-02-29T10:00"); // Monday
    check(&office(), "2028-02-29T10:00", 1, "2028-03-01T10:00");
    let mut closed = office();
    closed["holidays"] = json!(["2028-02-29"]);
    check(&closed, "2028-02-28T10:00", 1, "2028-03-01T10:00");
}

#[test]
fn r22_years_of_holidays_and_huge_numbers_end() {
    let days =
        moment("2026-01-01T00:00[UTC]").to_zoned(jiff::tz::TimeZone::UTC).date().series(jiff::Span::new().days(1));
    let holidays: Vec<_> = days.take(4096).map(|day| day.to_string()).collect();
    let calendar = json!({"timeZone": "UTC", "holidays": holidays});
    check(&calendar, "2026-01-01T10:00", 1, "2037-03-21T00:00"); // Friday 2037-03-20 is the first day that is worked
    let seldom = json!({"timeZone": "UTC", "workdays": ["Sun"]});
    for (calendar, number) in [(&calendar, u32::MAX), (&calendar, 36_525), (&seldom, 5_300)] {
        let calendar = Calendar::compile(&spec(calendar)).expect("a calendar");
        let error = calendar.after(moment("2026-01-01T10:00[UTC]"), number).expect_err("too far");
        assert_eq!(
            error,
            format!(
                "{number} business days after 2026-01-01T10:00:00Z is more than a hundred years away; ask for fewer days, or mend spec.holidays of the calendar"
            )
        );
        assert!(calendar.after(Timestamp::MAX, 1).is_err());
    }
}

#[test]
fn r22_an_end_is_never_before_its_beginning() {
    let odd =
        json!({"timeZone": "Europe/Prague", "workdays": ["Sat", "Sun"], "hours": {"from": "02:20", "to": "02:40"}});
    let calendar = Calendar::compile(&spec(&odd)).expect("a calendar");
    let start = moment("2026-10-24T00:00[UTC]");
    for minutes in (0..3 * 24 * 60).step_by(7) {
        let from = start + jiff::Span::new().minutes(minutes);
        let mut before = from;
        for number in 1..4 {
            let end = calendar.after(from, number).expect("a moment");
            assert!(end >= before, "{number} after {from}: {end}");
            before = end;
        }
    }
}

#[test]
fn r22_a_fault_names_its_field() {
    assert_eq!(
        faults(&json!({"timeZone": "Europe/Pragu", "workdays": [], "hours": {"from": "8:00", "to": "25:00"},
                       "holidays": ["2026-12-24", "2026-02-29", "20261225", "2026-12-24T10:00"]})),
        "spec.timeZone: there is no time zone Europe/Pragu; name one of the IANA database, such as Europe/Prague\n\
         spec.workdays: there is no working day; name at least one, such as Mon, or leave the field out\n\
         spec.hours.from: 8:00 is not a time of day; write hours and minutes, such as 08:00\n\
         spec.hours.to: 25:00 is not a time of day; write hours and minutes, such as 17:00, or 24:00 for the end of the day\n\
         spec.holidays[1]: 2026-02-29 is not a date; write year-month-day, such as 2026-12-24\n\
         spec.holidays[2]: 20261225 is not a date; write year-month-day, such as 2026-12-24\n\
         spec.holidays[3]: 2026-12-24T10:00 is not a date; write year-month-day, such as 2026-12-24"
    );
    for to in ["08:00", "17:00"] {
        let backwards = faults(&json!({"timeZone": "UTC", "hours": {"from": "17:00", "to": to}}));
        assert_eq!(
            backwards,
            format!(
                "spec.hours: work ends at {to} and so not after it begins, at 17:00; hours are those of one day, so write an end that is later"
            )
        );
    }
    for time in ["24:00", "+8:00", "08:60", "0800", "08:0:", "::::::", "08:00:00", "ž8:0"] {
        assert!(!faults(&json!({"timeZone": "UTC", "hours": {"from": time, "to": "24:00"}})).is_empty(), "{time}");
    }
}
