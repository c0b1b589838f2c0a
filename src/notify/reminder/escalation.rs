//! The example of examples/escalating-reminders, day by day: which mail goes to whom.

use super::reminder;
use crate::api::{BusinessRoleSpec, DigestSpec, IdentitySpec, ReminderSpec};
use crate::directory::Snapshot;
use crate::notify::digest::digest;
use crate::notify::run::fixtures::{at, task};
use crate::notify::run::{Occasion, Run};
use crate::notify::schedule::Schedule;
use crate::notify::seen::Seen;
use crate::notify::topics::Topics;
use crate::notify::{Destination, Links};
use crate::scenario::{NamedFile, specs};
use jiff::Timestamp;
use jiff::civil::Date;
use k8s_openapi::api::core::v1::ObjectReference;
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: &str = include_str!("../../../examples/escalating-reminders/policy/2-people.yaml");
const MAILS: &str = include_str!("../../../examples/escalating-reminders/policy/3-mails.yaml");

fn file(name: &str, text: &str) -> NamedFile {
    NamedFile { name: name.to_owned(), text: text.to_owned() }
}

/// The mails of thirty mornings, as `date: topic to whom, …`.
fn mornings(opened_at: &str) -> Vec<String> {
    let (people, mails) = (file("2-people.yaml", PEOPLE), file("3-mails.yaml", MAILS));
    let identities = specs::<IdentitySpec>(&people, "Identity").expect("identities");
    let roles = specs::<BusinessRoleSpec>(&people, "BusinessRole").expect("roles");
    let directory = Snapshot::new(
        identities.iter().map(|(name, spec)| (name.as_str(), spec)),
        roles.iter().map(|(name, spec)| (name.as_str(), spec)),
    );
    let now = at(opened_at);
    let holders = directory.holders("production-approvers", now);
    let holders: Vec<&str> = holders.into_iter().filter_map(|holder| directory.username(holder)).collect();
    let tasks = [task("access", opened_at, &holders)];
    let (topics, links) = (Topics::new([], "en"), Links::default());
    let digests = specs::<DigestSpec>(&mails, "Digest").expect("a digest");
    let reminders = specs::<ReminderSpec>(&mails, "Reminder").expect("reminders");
    assert_eq!((digests.len(), reminders.len()), (1, 3));

    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut found = Vec::new();
    let mut today = Date::constant(2026, 3, 2);
    for _ in 0..31 {
        let mut told = Vec::new();
        for (name, schedule, zone, which) in digests
            .iter()
            .map(|(name, spec)| (name, &spec.schedule, &spec.time_zone, Ok(spec)))
            .chain(reminders.iter().map(|(name, spec)| (name, &spec.schedule, &spec.time_zone, Err(spec))))
        {
            let schedule = Schedule::parse(schedule, zone).expect("a schedule");
            let about = ObjectReference { uid: Some(name.clone()), ..ObjectReference::default() };
            let Some(run_at) = run_on(&schedule, today).filter(|run_at| *run_at > now) else { continue };
            let occasion = Occasion {
                about: &about,
                schedule: &schedule,
                time_zone: zone,
                at: run_at,
                now: run_at,
                tasks: &tasks,
                passed_over: &BTreeSet::new(),
                directory: &directory,
                topics: &topics,
                links: &links,
            };
            let run = match which {
                Ok(spec) => digest(occasion, spec, seen.entry(name).or_default()),
                Err(spec) => reminder(occasion, spec),
            };
            told.extend(sent(&run));
            let before = seen.remove(name.as_str()).unwrap_or_default();
            seen.insert(name, before.after(run.seen));
        }
        let recipients: BTreeSet<_> = told.iter().map(|(_, address)| address).collect();
        assert_eq!(recipients.len(), told.len(), "{today}: nobody gets two: {told:?}");
        if !told.is_empty() {
            let mails: Vec<_> = told.iter().map(|(topic, address)| format!("{topic} {address}")).collect();
            found.push(format!("{today}: {}", mails.join(", ")));
        }
        today = today.tomorrow().expect("a day");
    }
    found
}

/// The run of a date, when there is one.
fn run_on(schedule: &Schedule, date: Date) -> Option<Timestamp> {
    let midnight =
        date.to_zoned(crate::calendar::zone("Europe/Prague").expect("a zone")).expect("midnight").timestamp();
    schedule.next(midnight).filter(|run| schedule.date(*run) == date)
}

fn sent(run: &Run<'_>) -> Vec<(String, String)> {
    let mut faults = BTreeSet::new();
    let sent = run.messages(&mut faults).map(|message| {
        let Destination::Mail { address, .. } = message.to else { panic!("a mail") };
        (message.topic, address.replace("@example.com", ""))
    });
    let sent = sent.collect();
    assert_eq!(faults, BTreeSet::new());
    sent
}

#[test]
fn r44_reminders_grow_louder_and_nobody_gets_two_on_a_day() {
    let low = "reminder-low john, reminder-low mary";
    let medium = "reminder-medium john, reminder-medium mary";
    let high = "reminder-high john, reminder-manager anna, reminder-high mary, reminder-manager cilla";
    let expected = [
        ("2026-03-03", "task-digest john, task-digest mary"),
        ("2026-03-09", low),
        ("2026-03-10", low),
        ("2026-03-11", low),
        ("2026-03-12", low),
        ("2026-03-13", low),
        ("2026-03-16", medium),
        ("2026-03-17", medium),
        ("2026-03-18", medium),
        ("2026-03-19", medium),
        ("2026-03-20", medium),
        ("2026-03-23", high),
        ("2026-03-24", high),
        ("2026-03-25", high),
        ("2026-03-26", high),
        ("2026-03-27", high),
        ("2026-03-30", high),
        ("2026-03-31", high),
        ("2026-04-01", high),
    ]
    .map(|(date, mails)| format!("{date}: {mails}"));
    // The same whether it was asked for in the first or in the last minute of the day in Prague.
    assert_eq!(mornings("2026-03-02T08:00:00Z"), expected);
    assert_eq!(mornings("2026-03-02T22:59:59Z"), expected);
}
