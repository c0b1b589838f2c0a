//! Ten years of digests and reminders on a clock that is not to be trusted: summer time, an operator that is down for hours or
//! weeks, a clock that is put forward and back by hours or a day, crashes in the middle of a run. Nothing is lost, nothing comes
//! twice, and what was missed is made up once.
//!
//! What should come is computed apart from the code: civil day by civil day, with offsets looked up, over the stretches of time in
//! which operator and clock went undisturbed.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};
use k8s_openapi::api::core::v1::ObjectReference;
use quorate::api::{DigestSpec, IdentitySpec, NotificationTopicSpec, Reminded, ReminderSpec, Template};
use quorate::directory::Snapshot;
use quorate::notify::digest::digest;
use quorate::notify::reminder::reminder;
use quorate::notify::run::{Occasion, Run};
use quorate::notify::schedule::{Handled, Schedule, Step, step};
use quorate::notify::seen::Seen;
use quorate::notify::topics::Topics;
use quorate::notify::{Asked, Destination, Links, OpenTask, Translated};
use quorate::store::Store;
use quorate::store::outbox::{Fate, MAIL};
use std::collections::{BTreeMap, BTreeSet};

const ZONES: [&str; 4] = ["Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];
const PEOPLE: [&str; 4] = ["alita", "john", "martha", "mary"];
const MANAGER: &str = "anna";
const UID: &str = "uid";

fn at(moment: &str) -> Timestamp {
    moment.parse().expect("a moment")
}

/// Chance that is the same every time: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).expect("a limit")).expect("below the limit")
    }

    fn one_in(&mut self, many: i64) -> bool {
        self.below(many) == 0
    }
}

/// A schedule as people would say it.
#[derive(Clone, Copy)]
struct Said {
    cron: &'static str,
    hours: &'static [i8],
    minutes: &'static [i8],
    weekdays_only: bool,
}

const DAILY: Said = Said { cron: "30 2 * * *", hours: &[2], minutes: &[30], weekdays_only: false };
const WEEKDAYS: Said = Said { cron: "0 8 * * 1-5", hours: &[8], minutes: &[0], weekdays_only: true };
const OFTEN: Said = Said { cron: "*/30 1-3 * * *", hours: &[1, 2, 3], minutes: &[0, 30], weekdays_only: false };
const MIDNIGHT: Said = Said { cron: "0 0 * * MON-FRI", hours: &[0], minutes: &[0], weekdays_only: true };

/// Every moment of a schedule, day by day.
fn moments(said: Said, zone: &TimeZone, first: Date, last: Date) -> BTreeSet<Timestamp> {
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
fn moment_of(shown: DateTime, zone: &TimeZone) -> Timestamp {
    let under = |offset: Offset| offset.to_timestamp(shown).expect("a moment");
    let about = under(Offset::UTC);
    let before = zone.to_offset(about.checked_sub(36.hours()).expect("a moment"));
    let after = zone.to_offset(about.checked_add(36.hours()).expect("a moment"));
    let shows = [before, after].map(under).into_iter().filter(|moment| zone.to_datetime(*moment) == shown);
    shows.min().unwrap_or_else(|| under(before))
}

/// A stretch of time in which the operator is up, and its clock wrong by so much.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Timestamp,
    to: Timestamp,
    skew: SignedDuration,
}

impl Stretch {
    fn shown(&self, moment: Timestamp) -> Timestamp {
        moment.checked_add(self.skew).expect("a moment")
    }
}

/// Ten years, cut by downtimes and jumps of the clock.
fn stretches(chance: &mut Chance, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
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
                moment = moment.checked_add(SignedDuration::from_secs(60 + chance.below(3600 * 24))).expect("a moment")
            }
            _ => moment = moment.checked_add(SignedDuration::from_secs(chance.below(86_400 * 30))).expect("a moment"),
        }
    }
    found
}

/// What should come: the moment of the run, and when it is done by the clock of the operator.
fn expected(moments: &BTreeSet<Timestamp>, stretches: &[Stretch], created: Timestamp) -> Vec<(Timestamp, Timestamp)> {
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

const FROM: &str = "2025-01-01T12:00:00Z";
const TO: &str = "2035-01-01T12:00:00Z";

fn years(said: Said, zone: &TimeZone) -> BTreeSet<Timestamp> {
    moments(said, zone, Date::constant(2024, 12, 1), Date::constant(2035, 2, 15))
}

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

/// A task with the moments between which it is open.
struct Life {
    task: OpenTask,
    closed_at: Timestamp,
}

fn lives(chance: &mut Chance, from: Timestamp, to: Timestamp) -> Vec<Life> {
    let mut found = Vec::new();
    let mut moment = from;
    while moment < to {
        moment = moment.checked_add(SignedDuration::from_secs(chance.below(86_400 * 4))).expect("a moment");
        let name = format!("t{:04}", found.len());
        let people: Vec<_> = PEOPLE.iter().filter(|_| chance.one_in(2)).collect();
        let asked = |username: &&str| Asked { username: (*username).to_owned(), on_behalf_of: None };
        let task = OpenTask {
            instance: ObjectReference {
                namespace: Some("prod".to_owned()),
                name: Some(name.clone()),
                uid: Some(format!("uid-of-{name}")),
                ..ObjectReference::default()
            },
            title: Translated { text: name, names: BTreeMap::new() },
            step: "review".to_owned(),
            step_title: Translated::default(),
            visit: 1,
            partition: "default".to_owned(),
            partition_title: None,
            initiator: None,
            opened_at: moment,
            deadline: None,
            approvals: 0,
            required: 1,
            people: people.into_iter().map(asked).collect(),
            mails: Vec::new(),
        };
        let closed_at = moment.checked_add(SignedDuration::from_secs(chance.below(86_400 * 30))).expect("a moment");
        found.push(Life { task, closed_at });
    }
    found
}

fn open(lives: &[Life], moment: Timestamp) -> Vec<OpenTask> {
    let open = lives.iter().filter(|life| life.task.opened_at <= moment && moment < life.closed_at);
    open.map(|life| life.task.clone()).collect()
}

fn snapshot() -> Snapshot {
    let identity = |name: &str| {
        let managers = if name == MANAGER { Vec::new() } else { vec![MANAGER.to_owned()] };
        IdentitySpec {
            username: name.to_owned(),
            email: Some(format!("{name}@example.com")),
            active: true,
            managers,
            ..IdentitySpec::default()
        }
    };
    let people: Vec<_> = PEOPLE.into_iter().chain([MANAGER]).map(|name| (name, identity(name))).collect();
    Snapshot::new(people.iter().map(|(name, spec)| (*name, spec)), [])
}

fn topics() -> Topics {
    let topic = |text: &str| NotificationTopicSpec {
        enabled: true,
        templates: vec![Template {
            locale: "en".to_owned(),
            subject: "Open tasks".to_owned(),
            text: text.to_owned(),
            html: None,
        }],
        ..NotificationTopicSpec::default()
    };
    let list = "{% for task in tasks %}{{ task.instance }} {% endfor %}";
    let digest = topic(&format!("{list}{{{{ newCount }}}}/{{{{ totalCount }}}}"));
    let reminder = topic(&format!("{{{{ approver.username }}}} {list}{{{{ taskCount }}}}/{{{{ totalCount }}}}"));
    let all = [("task-digest", &digest), ("reminder-medium", &reminder), ("reminder-manager", &reminder)];
    Topics::new(all, "en")
}

/// The kind of object whose mails are watched.
enum Kind {
    Digest(DigestSpec),
    Reminder(ReminderSpec),
}

impl Kind {
    fn digest(said: Said, zone: &str) -> Self {
        Self::Digest(DigestSpec {
            schedule: said.cron.to_owned(),
            time_zone: zone.to_owned(),
            topic: "task-digest".to_owned(),
            tasks_to_send: 1000,
        })
    }

    fn reminder(said: Said, zone: &str) -> Self {
        Self::Reminder(ReminderSpec {
            schedule: said.cron.to_owned(),
            time_zone: zone.to_owned(),
            min_days_open: 7,
            max_days_open: Some(13),
            tasks_to_send: 1000,
            approvers: Reminded { notify: true, topic: None },
            managers: Reminded { notify: true, topic: None },
        })
    }
}

/// What should be in the mails, computed with plain sets.
struct Oracle {
    zone: TimeZone,
    told: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Oracle {
    fn mails(&mut self, kind: &Kind, tasks: &[OpenTask], run: Timestamp) -> BTreeSet<(String, String)> {
        let mut mails = BTreeSet::new();
        let date = |moment: Timestamp| self.zone.to_datetime(moment).date();
        for person in PEOPLE {
            let mut own: Vec<_> =
                tasks.iter().filter(|task| task.people.iter().any(|asked| asked.username == person)).collect();
            own.sort_by_key(|task| task.opened_at);
            let names =
                |tasks: &[&OpenTask]| -> String { tasks.iter().map(|task| format!("{} ", task.title.text)).collect() };
            match kind {
                Kind::Digest(_) => {
                    let told = self.told.entry(person).or_default();
                    let (new, old): (Vec<&OpenTask>, Vec<&OpenTask>) =
                        own.iter().partition(|task| !told.contains(&task.title.text));
                    if !new.is_empty() {
                        let text = format!("{}{}{}/{}", names(&new), names(&old), new.len(), own.len());
                        mails.insert((format!("{person}@example.com"), text));
                        *told = own.iter().map(|task| task.title.text.clone()).collect();
                    }
                }
                Kind::Reminder(_) => {
                    let days = |task: &OpenTask| date(task.opened_at).until(date(run)).expect("days").get_days();
                    let due: Vec<_> = own.iter().copied().filter(|task| (7..=13).contains(&days(task))).collect();
                    if !due.is_empty() {
                        let text = format!("{person} {}{}/{}", names(&due), due.len(), own.len());
                        mails.insert((format!("{person}@example.com"), text.clone()));
                        mails.insert((format!("{MANAGER}@example.com"), text));
                    }
                }
            }
        }
        mails
    }
}

/// One operator with its store, which forgets everything else between one look and the next.
struct Operator<'a> {
    store: Store,
    schedule: Schedule,
    zone_name: &'a str,
    kind: &'a Kind,
    about: ObjectReference,
    directory: Snapshot,
    topics: Topics,
    links: Links,
    chance: Chance,
}

impl<'a> Operator<'a> {
    async fn new(kind: &'a Kind, said: Said, zone_name: &'a str, seed: u64) -> Self {
        Self {
            store: Store::open("sqlite::memory:").await.expect("a store"),
            schedule: Schedule::parse(said.cron, zone_name).expect("a schedule"),
            zone_name,
            kind,
            about: ObjectReference { uid: Some(UID.to_owned()), ..ObjectReference::default() },
            directory: snapshot(),
            topics: topics(),
            links: Links::default(),
            chance: Chance(seed),
        }
    }

    /// Looks once at that moment: how long to wait, nothing when there is more to do at once.
    async fn look(&mut self, now: Timestamp, tasks: &[OpenTask]) -> Option<SignedDuration> {
        let handled = self.store.handled(UID).await.expect("the state");
        match step(&self.schedule, 1, at(FROM), handled.as_ref(), now) {
            Step::Begin(until) => {
                let begin = Handled { schedule: self.schedule.text().to_owned(), until };
                assert!(self.store.begin_schedule(UID, handled.as_ref(), &begin).await.expect("begun"));
                None
            }
            Step::Wait(until) => Some(until.expect("another run").duration_since(now)),
            Step::Run(due) => {
                let state = self.store.schedule(UID).await.expect("the state").expect("it has begun");
                let occasion = Occasion {
                    about: &self.about,
                    schedule: &self.schedule,
                    time_zone: self.zone_name,
                    at: due.at,
                    now,
                    tasks,
                    directory: &self.directory,
                    topics: &self.topics,
                    links: &self.links,
                };
                let run: Run<'_> = match self.kind {
                    Kind::Digest(spec) => digest(occasion, spec, &state.seen),
                    Kind::Reminder(spec) => reminder(occasion, spec),
                };
                if self.chance.one_in(20) {
                    // A crash before anything is written.
                    return None;
                }
                let times = if self.chance.one_in(20) { 2 } else { 1 };
                for time in 0..times {
                    let mut faults = BTreeSet::new();
                    let messages = run.messages(&mut faults);
                    let finished = self.store.finish_run(UID, &state.handled, due.at, &run.seen, messages, now).await;
                    let new = finished.expect("finished");
                    // The second time is that of an operator who did not hear that the first had succeeded.
                    assert_eq!(new, if time == 0 { Some(run.len()) } else { None });
                    assert_eq!(faults, BTreeSet::new());
                }
                assert!(run.without_address.is_empty());
                None
            }
        }
    }

    /// Takes what is in the outbox, as by a courier.
    async fn take(&self) -> BTreeSet<(String, String)> {
        let (now, until) = (at("2040-01-01T00:00:00Z"), at("2040-01-02T00:00:00Z"));
        let claimed = self.store.claim(MAIL, "courier", 1000, until, now).await.expect("claimed");
        let mut found = BTreeSet::new();
        let mut fates = Vec::new();
        for claimed in claimed {
            let Destination::Mail { address, .. } = claimed.message.to else { panic!("a mail") };
            assert!(found.insert((address.clone(), claimed.message.text)), "{address} has the same mail twice");
            fates.push((claimed.message.id, Fate::Sent));
        }
        if !fates.is_empty() {
            self.store.settle("courier", &fates, now).await.expect("settled");
        }
        found
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

/// Tasks that these people may decide, all opened before the first run.
fn crowd(tasks: usize, people: &[String]) -> Vec<OpenTask> {
    let mut found = Vec::new();
    let mut chance = Chance(1);
    let pattern = lives(&mut chance, at(FROM), at("2025-01-10T00:00:00Z")).remove(0).task;
    for number in 0..tasks {
        let mut task = pattern.clone();
        task.instance.uid = Some(format!("uid-{number}"));
        let asked = |username: &String| Asked { username: username.clone(), on_behalf_of: None };
        task.people = people.iter().map(asked).collect();
        found.push(task);
    }
    found
}

/// One run over a crowd: how many mails it queued, and again after a restart.
async fn run_over(kind: &Kind, tasks: &[OpenTask], people: &[String]) -> (Option<usize>, usize) {
    let mut operator = Operator::new(kind, DAILY, "Europe/Prague", 1).await;
    let identity = |name: &String| IdentitySpec {
        username: name.clone(),
        email: Some(format!("{name}@example.com")),
        active: true,
        ..IdentitySpec::default()
    };
    let specs: Vec<_> = people.iter().map(|name| (name, identity(name))).collect();
    operator.directory = Snapshot::new(specs.iter().map(|(name, spec)| (name.as_str(), spec)), []);
    operator.topics = Topics::new([], "en");
    let begin = Handled { schedule: operator.schedule.text().to_owned(), until: at(FROM) };
    assert!(operator.store.begin_schedule(UID, None, &begin).await.expect("begun"));
    let run_at = operator.schedule.next(at("2025-01-20T00:00:00Z")).expect("a run");
    let occasion = |run_at: Timestamp| Occasion {
        about: &operator.about,
        schedule: &operator.schedule,
        time_zone: "Europe/Prague",
        at: run_at,
        now: run_at,
        tasks,
        directory: &operator.directory,
        topics: &operator.topics,
        links: &operator.links,
    };
    let run = |run_at: Timestamp, seen: &Seen| match kind {
        Kind::Digest(spec) => digest(occasion(run_at), spec, seen),
        Kind::Reminder(spec) => reminder(occasion(run_at), spec),
    };
    let mut faults = BTreeSet::new();
    let first = run(run_at, &Seen::default());
    let store = &operator.store;
    let queued = store.finish_run(UID, &begin, run_at, &first.seen, first.messages(&mut faults), run_at).await;
    let state = store.schedule(UID).await.expect("the state").expect("known");
    assert_eq!(state.handled.until, run_at);
    let next = operator.schedule.next(run_at).expect("a run");
    let again = run(next, &state.seen).len();
    drop(first);
    assert_eq!(faults, BTreeSet::new());
    (queued.expect("finished"), again)
}

#[tokio::test]
async fn r42_ten_thousand_tasks_of_one_approver_are_one_mail() {
    let people = ["mary".to_owned()];
    let tasks = crowd(10_000, &people);
    let few = |kind| match kind {
        Kind::Digest(spec) => Kind::Digest(DigestSpec { tasks_to_send: 10, ..spec }),
        Kind::Reminder(spec) => Kind::Reminder(ReminderSpec { tasks_to_send: 10, max_days_open: None, ..spec }),
    };
    let kind = few(Kind::digest(DAILY, "Europe/Prague"));
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(1), 0));
    let kind = few(Kind::reminder(DAILY, "Europe/Prague"));
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(1), 1), "a reminder comes again");
}

#[tokio::test]
async fn r42_ten_thousand_approvers_of_a_task_get_one_mail_each_in_one_transaction() {
    let people: Vec<String> = (0..10_000).map(|number| format!("p{number:05}")).collect();
    let tasks = crowd(1, &people);
    let kind = Kind::digest(DAILY, "Europe/Prague");
    assert_eq!(run_over(&kind, &tasks, &people).await, (Some(10_000), 0));
}
