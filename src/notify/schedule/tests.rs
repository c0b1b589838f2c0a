//! When schedules come, with clocks put forward and back, and what is made up.

use super::{Due, Handled, Schedule, Step, faults, step};
use jiff::{SignedDuration, Timestamp};

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::parse(expression, zone).unwrap_or_else(|faults| panic!("{expression} {zone}: {faults:?}"))
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap_or_else(|error| panic!("{moment}: {error}"))
}

/// The next runs after a moment, on the clock of the zone with its offset.
fn runs(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(expression, zone);
    let runs = std::iter::successors(schedule.next(at(after)), |at| schedule.next(*at));
    runs.take(count)
        .map(|run| run.to_zoned(schedule.zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string())
        .collect()
}

#[test]
fn fields_mean_what_cron_means_by_them() {
    for (expression, expected) in [
        ("0 8 * * 1-5", ["Fri 2026-01-02 08:00", "Mon 2026-01-05 08:00", "Tue 2026-01-06 08:00"]),
        ("0 8 * * MON,wed", ["Mon 2026-01-05 08:00", "Wed 2026-01-07 08:00", "Mon 2026-01-12 08:00"]),
        ("30 6 1 jan-MAR *", ["Sun 2026-02-01 06:30", "Sun 2026-03-01 06:30", "Fri 2027-01-01 06:30"]),
        ("*/20 9-17/8 * * *", ["Thu 2026-01-01 17:00", "Thu 2026-01-01 17:20", "Thu 2026-01-01 17:40"]),
        ("0 8 * * 0", ["Sun 2026-01-04 08:00", "Sun 2026-01-11 08:00", "Sun 2026-01-18 08:00"]),
        ("0 8 * * 7", ["Sun 2026-01-04 08:00", "Sun 2026-01-11 08:00", "Sun 2026-01-18 08:00"]),
        // Both days given: either of them.
        ("0 8 15 * 1", ["Mon 2026-01-05 08:00", "Mon 2026-01-12 08:00", "Thu 2026-01-15 08:00"]),
        ("0 8 29 2 *", ["Tue 2028-02-29 08:00", "Sun 2032-02-29 08:00", "Fri 2036-02-29 08:00"]),
        (" 0\t8  31 * * ", ["Sat 2026-01-31 08:00", "Tue 2026-03-31 08:00", "Sun 2026-05-31 08:00"]),
    ] {
        let expected = expected.map(|run| format!("{run} +00:00"));
        assert_eq!(runs(expression, "UTC", "2026-01-01T12:00:00Z", 3), expected, "{expression}");
    }
}

#[test]
fn a_day_that_is_decades_away_comes() {
    // A star with a step and a day of the month go together in cron: 29 February on a Sunday, across 2100, which has none.
    assert_eq!(
        runs("0 0 29 2 */7", "UTC", "2070-01-01T00:00:00Z", 2),
        ["Sun 2088-02-29 00:00 +00:00", "Sun 2128-02-29 00:00 +00:00"]
    );
}

#[test]
fn a_time_that_the_day_skips_comes_once_and_later() {
    assert_eq!(
        runs("30 2 * * *", "Europe/Prague", "2026-03-28T00:00:00Z", 3),
        ["Sat 2026-03-28 02:30 +01:00", "Sun 2026-03-29 03:30 +02:00", "Mon 2026-03-30 02:30 +02:00"]
    );
    // 02:30 of that day is 03:30, which the schedule has too: one run.
    assert_eq!(
        runs("30 2,3 * * *", "Europe/Prague", "2026-03-29T00:00:00Z", 2),
        ["Sun 2026-03-29 03:30 +02:00", "Mon 2026-03-30 02:30 +02:00"]
    );
    // 02:45 comes at 03:45, which is after 03:00 although it is written before.
    assert_eq!(
        runs("0,45 2,3 * * *", "Europe/Prague", "2026-03-29T00:30:00Z", 3),
        ["Sun 2026-03-29 03:00 +02:00", "Sun 2026-03-29 03:45 +02:00", "Mon 2026-03-30 02:00 +02:00"]
    );
    // Half an hour.
    assert_eq!(
        runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
        ["Sun 2026-10-04 02:45 +11:00", "Mon 2026-10-05 02:15 +11:00"]
    );
    // A whole day: Samoa had no 30 December 2011.
    assert_eq!(
        runs("0 8 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
        ["Thu 2011-12-29 08:00 -10:00", "Sat 2011-12-31 08:00 +14:00", "Sun 2012-01-01 08:00 +14:00"]
    );
}

#[test]
fn a_time_that_the_day_has_twice_comes_once() {
    assert_eq!(
        runs("30 2 * * *", "Europe/Prague", "2026-10-24T23:00:00Z", 2),
        ["Sun 2026-10-25 02:30 +02:00", "Mon 2026-10-26 02:30 +01:00"]
    );
    assert_eq!(
        runs("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
        ["Sun 2026-04-05 01:45 +11:00", "Mon 2026-04-06 01:45 +10:30"]
    );
    // Asked in the hour that comes the second time.
    assert_eq!(
        runs("*/15 * * * *", "America/New_York", "2026-11-01T06:10:00Z", 2),
        ["Sun 2026-11-01 02:00 -05:00", "Sun 2026-11-01 02:15 -05:00"]
    );
}

#[test]
fn runs_rise_whichever_moment_is_asked() {
    for zone in ["Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "UTC"]
    {
        for expression in ["30 2 * * *", "*/10 1-3 * * *", "0,45 2,3 * * 0", "0 0 * * *"] {
            let schedule = schedule(expression, zone);
            for start in
                ["2011-12-28T00:00:00Z", "2026-03-27T00:00:00Z", "2026-10-02T00:00:00Z", "2026-10-31T00:00:00Z"]
            {
                let mut moment = at(start);
                let mut known = schedule.next(moment).expect("a run");
                for _ in 0..12 * 24 * 4 {
                    let next = schedule.next(moment).expect("a run");
                    assert!(next > moment, "{expression} {zone}: {next} after {moment}");
                    assert!(next >= known, "{expression} {zone}: {next} after {known}, asked at {moment}");
                    assert!(next == known || known <= moment, "{expression} {zone}: {known} is lost at {moment}");
                    known = next;
                    moment = moment.checked_add(SignedDuration::from_mins(5)).expect("a moment");
                }
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_field_and_fix() {
    let fix = "write five fields such as 0 8 * * 1-5";
    for (expression, zone, expected) in [
        ("0 8 * *", "UTC", vec![format!("spec.schedule: the number of fields is 4; {fix}")]),
        ("0 8 * * * UTC", "UTC", vec![format!("spec.schedule: the number of fields is 6; {fix}")]),
        ("@daily", "UTC", vec![format!("spec.schedule: the number of fields is 1; {fix}")]),
        ("0 8 30 2 *", "UTC", vec![format!("spec.schedule: 0 8 30 2 * never comes; {fix}")]),
        ("0 24 * * *", "UTC", vec![format!("spec.schedule: hour 24: value must be in range 0..=23; found 24; {fix}")]),
        (
            "0 8 * * 5-1",
            "UTC",
            vec![format!("spec.schedule: day of the week 5-1: range must be in ascending order; found 5-1; {fix}")],
        ),
        (
            "0 8 L * *",
            "UTC",
            vec![format!("spec.schedule: day of the month L: L, W and # are none of cron's own signs; {fix}")],
        ),
        (
            "0 8 * * 5#3",
            "UTC",
            vec![format!("spec.schedule: day of the week 5#3: L, W and # are none of cron's own signs; {fix}")],
        ),
        ("H 8 * * *", "UTC", vec![format!("spec.schedule: minute H: malformed expression; {fix}")]),
        (
            "0 8",
            "Europe/Prag",
            vec![
                format!("spec.schedule: the number of fields is 2; {fix}"),
                "spec.timeZone: there is no time zone Europe/Prag; name one of the IANA database, such as Europe/Prague"
                    .to_owned(),
            ],
        ),
        ("0 8 * * 1-5", "Europe/Prague", vec![]),
    ] {
        assert_eq!(faults(expression, zone), expected, "{expression} {zone}");
    }
}

#[test]
fn the_newest_run_stands_for_all_that_were_missed() {
    let daily = schedule("0 8 * * *", "UTC");
    let handled = at("2026-01-01T08:00:00Z");
    assert_eq!(daily.due(handled, at("2026-01-02T07:59:59Z")), None);
    assert_eq!(daily.due(handled, at("2026-01-02T08:00:00Z")), Some(Due { at: at("2026-01-02T08:00:00Z"), missed: 0 }));
    assert_eq!(daily.due(handled, at("2026-01-09T07:00:00Z")), Some(Due { at: at("2026-01-08T08:00:00Z"), missed: 6 }));
    // The clock was put back: what is dealt with stays so.
    assert_eq!(daily.due(handled, at("2025-12-30T12:00:00Z")), None);
}

#[test]
fn years_of_missed_runs_are_not_counted_through() {
    let every_minute = schedule("* * * * *", "Europe/Prague");
    let due = every_minute.due(at("2016-01-01T00:00:00Z"), at("2026-07-01T12:34:56Z"));
    assert_eq!(due, Some(Due { at: at("2026-07-01T12:34:00Z"), missed: 1000 }));
    let yearly = schedule("0 0 1 1 *", "UTC");
    assert_eq!(
        yearly.due(at("0100-01-01T00:00:00Z"), at("2026-07-01T00:00:00Z")),
        Some(Due { at: at("2026-01-01T00:00:00Z"), missed: 1000 })
    );
}

#[test]
fn the_calendar_ends() {
    assert_eq!(schedule("0 0 * * *", "UTC").next(at("9999-12-30T00:00:00Z")), None);
    assert_eq!(schedule("0 0 * * *", "UTC").next(Timestamp::MAX), None);
}

#[test]
fn a_new_object_counts_from_its_creation() {
    let daily = schedule("0 8 * * *", "UTC");
    let (created, now) = (at("2026-01-01T07:00:00Z"), at("2026-01-03T09:00:00Z"));
    assert_eq!(step(&daily, 1, created, None, now), Step::Begin(created));
    let handled = Handled { schedule: daily.text().to_owned(), until: created };
    let due = Due { at: at("2026-01-03T08:00:00Z"), missed: 2 };
    assert_eq!(step(&daily, 1, created, Some(&handled), now), Step::Run(due));
}

#[test]
fn nothing_is_made_up_for_a_schedule_that_was_edited() {
    let (daily, hourly) = (schedule("0 8 * * *", "UTC"), schedule("0 * * * *", "UTC"));
    let (created, now) = (at("2026-01-01T07:00:00Z"), at("2026-01-03T09:30:00Z"));
    let handled = |schedule: &Schedule, until| Handled { schedule: schedule.text().to_owned(), until };
    assert_eq!(step(&hourly, 2, created, Some(&handled(&daily, created)), now), Step::Begin(now));
    assert_eq!(
        step(&hourly, 2, created, Some(&handled(&hourly, now)), now),
        Step::Wait(Some(at("2026-01-03T10:00:00Z")))
    );
    // Another time zone is another schedule; another topic is not.
    let elsewhere = schedule("0 8 * * *", "Europe/Prague");
    assert_eq!(step(&elsewhere, 3, created, Some(&handled(&daily, created)), now), Step::Begin(now));
    let due = Due { at: at("2026-01-03T08:00:00Z"), missed: 2 };
    assert_eq!(step(&daily, 7, created, Some(&handled(&daily, created)), now), Step::Run(due));
    // Edited before anybody saw it.
    assert_eq!(step(&daily, 2, created, None, now), Step::Begin(now));
}
