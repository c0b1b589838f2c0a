//! Tasks and people, what their mails should say, and an operator that sends them.

use crate::clock::{Chance, FROM, Said, at};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use quorate::api::{DigestSpec, IdentitySpec, NotificationTopicSpec, Reminded, ReminderSpec, Template};
use quorate::directory::Snapshot;
use quorate::notify::digest::digest;
use quorate::notify::reminder::reminder;
use quorate::notify::run::{Occasion, Run};
use quorate::notify::schedule::{Handled, Schedule, Step, step};
use quorate::notify::topics::Topics;
use quorate::notify::{Asked, Destination, Links, OpenTask, Translated};
use quorate::store::Store;
use quorate::store::outbox::{Fate, MAIL};
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: [&str; 4] = ["alita", "john", "martha", "mary"];
const MANAGER: &str = "anna";
pub const UID: &str = "uid";

/// A task with the moments between which it is open.
pub struct Life {
    pub task: OpenTask,
    pub closed_at: Timestamp,
}

pub fn lives(chance: &mut Chance, from: Timestamp, to: Timestamp) -> Vec<Life> {
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

pub fn open(lives: &[Life], moment: Timestamp) -> Vec<OpenTask> {
    let open = lives.iter().filter(|life| life.task.opened_at <= moment && moment < life.closed_at);
    open.map(|life| life.task.clone()).collect()
}

pub fn snapshot() -> Snapshot {
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

pub fn topics() -> Topics {
    let topic = |text: &str| NotificationTopicSpec {
        enabled: true,
        templates: vec![Template {
            locale: "en".to_owned(),
            subject: "Open tasks".to_owned(),
            text: text.to_owned(),
            html: None,
        }],
    };
    let list = "{% for task in tasks %}{{ task.instance }} {% endfor %}";
    let digest = topic(&format!("{list}{{{{ newCount }}}}/{{{{ totalCount }}}}"));
    let reminder = topic(&format!("{{{{ approver.username }}}} {list}{{{{ taskCount }}}}/{{{{ totalCount }}}}"));
    let all = [("task-digest", &digest), ("reminder-medium", &reminder), ("reminder-manager", &reminder)];
    Topics::new(all, "en")
}

/// The kind of object whose mails are watched.
pub enum Kind {
    Digest(DigestSpec),
    Reminder(ReminderSpec),
}

impl Kind {
    pub fn digest(said: Said, zone: &str) -> Self {
        Self::Digest(DigestSpec {
            schedule: said.cron.to_owned(),
            time_zone: zone.to_owned(),
            topic: "task-digest".to_owned(),
            tasks_to_send: 1000,
        })
    }

    pub fn reminder(said: Said, zone: &str) -> Self {
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
pub struct Oracle {
    pub zone: TimeZone,
    pub told: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Oracle {
    pub fn mails(&mut self, kind: &Kind, tasks: &[OpenTask], run: Timestamp) -> BTreeSet<(String, String)> {
        let mut mails = BTreeSet::new();
        let date = |moment: Timestamp| self.zone.to_datetime(moment).date();
        for person in PEOPLE {
            let mut own: Vec<_> =
                tasks.iter().filter(|task| task.people.iter().any(|asked| asked.username == person)).collect();
            own.sort_by_key(|task| task.opened_at);
            let names = |tasks: &[&OpenTask]| -> String {
                tasks.iter().flat_map(|task| [task.title.text.as_str(), " "]).collect()
            };
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
pub struct Operator<'a> {
    pub store: Store,
    pub schedule: Schedule,
    pub zone_name: &'a str,
    pub kind: &'a Kind,
    pub about: ObjectReference,
    pub directory: Snapshot,
    pub topics: Topics,
    pub links: Links,
    pub chance: Chance,
}

impl<'a> Operator<'a> {
    pub async fn new(kind: &'a Kind, said: Said, zone_name: &'a str, seed: u64) -> Self {
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
    pub async fn look(&mut self, now: Timestamp, tasks: &[OpenTask]) -> Option<SignedDuration> {
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
                    passed_over: &BTreeSet::new(),
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
    pub async fn take(&self) -> BTreeSet<(String, String)> {
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
