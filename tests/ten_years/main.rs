//! Ten years of digests and reminders on a clock that is not to be trusted: summer time, an operator that is down for hours or
//! weeks, a clock that is put forward and back by hours or a day, crashes in the middle of a run. Nothing is lost, nothing comes
//! twice, and what was missed is made up once.
//!
//! What should come is computed apart from the code: civil day by civil day, with offsets looked up, over the stretches of time in
//! which operator and clock went undisturbed.

mod clock;
mod crowd;
mod world;

use clock::{Chance, DAILY, FROM, MIDNIGHT, OFTEN, Said, TO, WEEKDAYS, ZONES, at, expected, moments, stretches, years};
use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;
use quorate::notify::schedule::{Handled, Schedule, Step, step};
use std::collections::{BTreeMap, BTreeSet};
use world::{Kind, Operator, Oracle, lives, open};

/// Every run of ten years: by the code, and as it should be.
fn runs_come_once(zone: &str, said: Said, seed: u64) {
    let mut chance = Chance(seed);
    let moments = years(said, &TimeZoneDatabase::bundled().get(zone).expect("a zone"));
    let stretches = stretches(&mut chance, at(FROM), at(TO));
    let schedule = Schedule::parse(said.cron, zone).expect("a schedule");
    let mut handled: Option<Handled> = None;
    let mut done = Vec::new();
    for stretch in &stretches {
        let mut moment = stretch.from;
        while moment < stretch.to {
            let now = stretch.shown(moment);
            let text = schedule.text().to_owned();
            match step(&schedule, 1, at(FROM), handled.as_ref(), now) {
                Step::Begin(until) => handled = Some(Handled { schedule: text, until }),
                Step::Run(due) => {
                    done.push((due.at, now));
                    handled = Some(Handled { schedule: text, until: due.at });
                }
                Step::Wait(until) => {
                    let wait = until.expect("another run").duration_since(now);
                    assert!(wait > SignedDuration::ZERO, "{zone} {}: no wait at {now}", said.cron);
                    moment = moment.checked_add(wait).expect("a moment");
                }
            }
        }
    }
    let expected = expected(&moments, &stretches, at(FROM));
    let differs = done.iter().zip(&expected).position(|(done, expected)| done != expected);
    let shown = differs.map(|place| (done[place], expected[place]));
    assert_eq!(shown, None, "{zone} {} seed {seed}: done (left) and expected at the first difference", said.cron);
    assert_eq!(done.len(), expected.len(), "{zone} {} seed {seed}", said.cron);
    assert!(done.len() > 1000, "{} runs in ten years", done.len());
}

#[test]
fn r42_r43_daily_runs_come_once_whatever_the_clock_does() {
    for (seed, zone) in ZONES.into_iter().enumerate() {
        runs_come_once(zone, DAILY, u64::try_from(seed).expect("a seed"));
    }
}

#[test]
fn r42_r43_weekday_runs_come_once_whatever_the_clock_does() {
    for (seed, zone) in ZONES.into_iter().enumerate() {
        let seed = u64::try_from(seed).expect("a seed");
        runs_come_once(zone, WEEKDAYS, 10 + seed);
        runs_come_once(zone, MIDNIGHT, 20 + seed);
    }
}

#[test]
fn r42_r43_runs_around_the_hour_that_is_skipped_come_once_whatever_the_clock_does() {
    for (seed, zone) in ZONES.into_iter().enumerate() {
        runs_come_once(zone, OFTEN, 30 + u64::try_from(seed).expect("a seed"));
    }
}

/// Ten years of one object. How many mails there were.
async fn live(kind: Kind, said: Said, zone_name: &str, seed: u64) -> usize {
    let zone = TimeZoneDatabase::bundled().get(zone_name).expect("a zone");
    let mut chance = Chance(seed);
    let stretches = stretches(&mut chance, at(FROM), at(TO));
    let lives = lives(&mut chance, at(FROM), at(TO));
    let mut expected = expected(&years(said, &zone), &stretches, at(FROM)).into_iter();
    let mut oracle = Oracle { zone, told: BTreeMap::new() };
    let mut operator = Operator::new(&kind, said, zone_name, seed).await;
    let mut mails = 0;
    let mut due = expected.next();
    for stretch in &stretches {
        let mut moment = stretch.from;
        while moment < stretch.to {
            let now = stretch.shown(moment);
            let tasks = open(&lives, moment);
            let wait = operator.look(now, &tasks).await;
            let Some(wait) = wait else { continue };
            // Everything that was to be done at this moment is done.
            let mut wanted = BTreeSet::new();
            while let Some((run, _)) = due.filter(|(_, when)| *when <= now) {
                wanted.extend(oracle.mails(&kind, &tasks, run));
                due = expected.next();
            }
            mails += wanted.len();
            assert_eq!(operator.take().await, wanted, "{zone_name} {}: sent (left) and wanted at {now}", said.cron);
            moment = moment.checked_add(wait).expect("a moment");
        }
    }
    assert_eq!(due, None, "{zone_name} {}: lost", said.cron);
    mails
}

#[tokio::test]
async fn r42_digests_of_ten_years_in_prague() {
    let mails = live(Kind::digest(DAILY, "Europe/Prague"), DAILY, "Europe/Prague", 1).await;
    assert!(mails > 1000, "{mails} in ten years");
}

#[tokio::test]
async fn r42_digests_of_ten_years_on_lord_howe() {
    let mails = live(Kind::digest(MIDNIGHT, "Australia/Lord_Howe"), MIDNIGHT, "Australia/Lord_Howe", 2).await;
    assert!(mails > 1000, "{mails} in ten years");
}

#[tokio::test]
async fn r43_reminders_of_ten_years_in_new_york() {
    let mails = live(Kind::reminder(WEEKDAYS, "America/New_York"), WEEKDAYS, "America/New_York", 3).await;
    assert!(mails > 1000, "{mails} in ten years");
}

#[tokio::test]
async fn r43_reminders_of_ten_years_in_apia() {
    let mails = live(Kind::reminder(DAILY, "Pacific/Apia"), DAILY, "Pacific/Apia", 4).await;
    assert!(mails > 1000, "{mails} in ten years");
}

#[test]
fn a_zone_that_skipped_a_whole_day_has_one_run_for_two_dates() {
    // Samoa went from 29 to 31 December 2011.
    let zone = TimeZoneDatabase::bundled().get("Pacific/Apia").expect("a zone");
    let schedule = Schedule::parse(WEEKDAYS.cron, "Pacific/Apia").expect("a schedule");
    let moments = moments(WEEKDAYS, &zone, Date::constant(2011, 12, 1), Date::constant(2012, 1, 31));
    let runs = std::iter::successors(schedule.next(at("2011-12-01T00:00:00Z")), |run| schedule.next(*run));
    let runs: BTreeSet<_> = runs.take_while(|run| *run < at("2012-01-20T00:00:00Z")).collect();
    let wanted: BTreeSet<_> =
        moments.range(at("2011-12-01T00:00:00.1Z")..at("2012-01-20T00:00:00Z")).copied().collect();
    assert_eq!(runs, wanted);
}
