//! What the tests of digests and reminders share: tasks, people, and what is in mails.

use super::{Mail, Occasion, Run};
use crate::api::{IdentitySpec, NotificationTopicSpec};
use crate::directory::Snapshot;
use crate::notify::schedule::Schedule;
use crate::notify::topics::Topics;
use crate::notify::{Asked, Destination, Links, Message, OpenTask, Translated};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap_or_else(|error| panic!("{moment}: {error}"))
}

/// A task of an instance of that name, opened then, which these people may decide.
pub fn task(name: &str, opened_at: &str, people: &[&str]) -> OpenTask {
    let asked = |username: &&str| Asked { username: (*username).to_owned(), on_behalf_of: None };
    OpenTask {
        instance: ObjectReference {
            namespace: Some("prod".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(format!("uid-of-{name}")),
            ..ObjectReference::default()
        },
        title: Translated { text: format!("Task {name}"), names: [("cs".to_owned(), format!("Úkol {name}"))].into() },
        step: "review".to_owned(),
        step_title: Translated { text: "Review".to_owned(), names: BTreeMap::new() },
        visit: 1,
        partition: "default".to_owned(),
        partition_title: None,
        initiator: Some("martha".to_owned()),
        opened_at: at(opened_at),
        deadline: None,
        approvals: 0,
        required: 1,
        people: people.iter().map(asked).collect(),
        mails: Vec::new(),
    }
}

/// A person with an address at example.com and these managers.
pub fn identity(name: &str, managers: &[&str]) -> (String, IdentitySpec) {
    let spec = IdentitySpec {
        username: name.to_owned(),
        display_name: Some(format!("{}{}", name[..1].to_uppercase(), &name[1..])),
        email: Some(format!("{name}@example.com")),
        active: true,
        managers: managers.iter().map(|manager| (*manager).to_owned()).collect(),
        ..IdentitySpec::default()
    };
    (name.to_owned(), spec)
}

pub fn directory(people: &[(String, IdentitySpec)]) -> Snapshot {
    Snapshot::new(people.iter().map(|(name, spec)| (name.as_str(), spec)), [])
}

/// Every instance could be looked at.
static NONE: BTreeSet<String> = BTreeSet::new();

/// An object of that kind, one schedule, one zone: Europe/Prague, every day at eight.
pub struct Place {
    pub about: ObjectReference,
    pub schedule: Schedule,
    pub directory: Snapshot,
    pub topics: Topics,
    pub links: Links,
}

impl Place {
    pub fn new(kind: &str, people: &[(String, IdentitySpec)]) -> Self {
        Self {
            about: ObjectReference {
                kind: Some(kind.to_owned()),
                name: Some("daily".to_owned()),
                uid: Some("uid".to_owned()),
                ..ObjectReference::default()
            },
            schedule: Schedule::parse("0 8 * * *", "Europe/Prague").expect("a schedule"),
            directory: directory(people),
            topics: topics(&[]),
            links: Links { base: "https://q.example.com".parse().ok() },
        }
    }

    pub fn occasion<'a>(&'a self, moment: &str, tasks: &'a [OpenTask]) -> Occasion<'a> {
        Occasion {
            about: &self.about,
            schedule: &self.schedule,
            time_zone: "Europe/Prague",
            at: at(moment),
            now: at(moment),
            tasks,
            passed_over: &NONE,
            directory: &self.directory,
            topics: &self.topics,
            links: &self.links,
        }
    }
}

/// The topics that are built in, these of them disabled.
pub fn topics(disabled: &[&str]) -> Topics {
    let off = NotificationTopicSpec { enabled: false, ..NotificationTopicSpec::default() };
    Topics::new(disabled.iter().map(|topic| (*topic, &off)), "en")
}

/// The messages of a run; the built-in texts suit them.
pub fn written(run: &Run<'_>) -> Vec<Message> {
    let mut faults = BTreeSet::new();
    let messages: Vec<_> = run.messages(&mut faults).collect();
    assert_eq!(faults, BTreeSet::new());
    assert_eq!(messages.len(), run.len());
    assert_eq!(messages.is_empty(), run.is_empty());
    messages
}

/// The address of every mail, and what its template is given.
pub fn shown(run: &Run<'_>) -> Vec<(String, Value)> {
    let shown = |(message, mail): (Message, &Mail<'_>)| {
        let Destination::Mail { address, .. } = message.to else { panic!("no mail: {message:?}") };
        (address, mail.parameters(&run.occasion))
    };
    written(run).into_iter().zip(&run.mails).map(shown).collect()
}

/// The topic and the id of every mail, without writing them.
pub fn planned(run: &Run<'_>) -> Vec<(String, String)> {
    run.mails.iter().map(|mail| (mail.topic.to_owned(), mail.id(&run.occasion))).collect()
}

/// Address, topic, what is listed (new ones with a star), and the counts of those names.
pub fn summaries(run: &Run<'_>, counts: &[&str]) -> Vec<String> {
    let summary = |((address, given), mail): ((String, Value), &Mail<'_>)| {
        let tasks = given["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tasks: Vec<_> = tasks.iter().map(name).collect();
        let counts: Vec<_> = counts.iter().map(|count| given[*count].to_string()).collect();
        format!("{address} {}: {} | {}", mail.topic, tasks.join(" "), counts.join(" "))
    };
    shown(run).into_iter().zip(&run.mails).map(summary).collect()
}

/// The instance of a task that is listed, with a star when it is new.
fn name(task: &Value) -> String {
    format!("{}{}", task["instance"].as_str().unwrap_or("?"), if task["isNew"] == true { "*" } else { "" })
}
