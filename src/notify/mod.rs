//! What people are told: from what happened to rendered messages. Pure.
//!
//! Everything that is sent has an id that follows from what it is about, so that computing it again repeats nothing: the outbox
//! ([`crate::store`]) knows what it has seen, and the id is the `Message-ID` of the mail. Nothing here knows a server, a clock or
//! a store; [`crate::delivery`] carries messages away, the controllers bring the facts.

mod built_in;
mod compose;
pub mod digest;
mod guard;
mod history;
mod links;
pub mod page;
mod parameters;
mod people;
mod plural;
pub mod reminder;
mod render;
pub mod run;
pub mod sample;
pub mod schedule;
pub mod seen;
mod story;
mod tasks;
#[cfg(test)]
mod tests;
pub mod topics;

pub use compose::{Composed, Setting, Texts};
pub use history::{Asks, Event, Occurrence};
pub use links::Links;
pub use story::{Story, Subscriptions};
pub use tasks::open_tasks;

use crate::hex::hex;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A message to one recipient, rendered: what the outbox keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// 64 hexadecimal digits: a hash of what it follows from (whose instance, which visit, partition, event, recipient, topic).
    pub id: String,
    /// Where it goes.
    pub to: Destination,
    /// The topic that it was written by.
    pub topic: String,
    /// The subject: one line without control characters.
    pub subject: String,
    /// The message as plain text.
    pub text: String,
    /// The message as HTML, where there is one.
    pub html: Option<String>,
    /// Mails with the same thread belong together: the uid of the instance; none for digests and reminders.
    pub thread: Option<String>,
    /// The object that it is about, for Events and lists: an instance, a Digest, a Reminder.
    pub about: ObjectReference,
    /// What happened, as data: the body of a `CloudEvent`. Null for digests and reminders.
    pub event: Value,
}

/// Where a message goes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Destination {
    /// A mailbox.
    Mail {
        /// The address.
        address: String,
        /// The name that is shown beside it.
        name: Option<String>,
    },
    /// A webhook or chat of the installation's configuration, by name.
    Channel(String),
}

/// A message of one topic in one language, rendered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rendered {
    /// One line without control characters.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: Option<String>,
    /// What is wrong with the template that should have been used: the built-in text stands in.
    pub fault: Option<String>,
    /// Why the topic was not used although nothing is wrong with it: it is meant for messages of another kind, or there is none of
    /// that name. Whoever named it is to hear of it.
    pub unsuited: Option<String>,
}

/// A name with its translations (semantics.md 34).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Translated {
    /// The name as it is written without a language.
    pub text: String,
    /// By BCP 47 tag.
    pub names: BTreeMap<String, String>,
}

impl Translated {
    /// The name in a language: `cs-CZ` is served by `cs` too. Without that language: as it is written without one.
    #[must_use]
    pub fn to(&self, locale: Option<&str>) -> &str {
        let mut wanted = locale.map(|locale| locale.replace('_', "-"));
        while let Some(tag) = wanted {
            if let Some((_, name)) =
                self.names.iter().find(|(name, _)| name.replace('_', "-").eq_ignore_ascii_case(&tag))
            {
                return name;
            }
            wanted = tag.rsplit_once('-').map(|(shorter, _)| shorter.to_owned());
        }
        &self.text
    }
}

/// A task that people may decide now, and who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTask {
    /// The instance.
    pub instance: ObjectReference,
    /// What it is about.
    pub title: Translated,
    /// The node.
    pub step: String,
    /// What people call the node.
    pub step_title: Translated,
    /// The visit of the node, from 1.
    pub visit: u32,
    /// The partition.
    pub partition: String,
    /// What people call the partition; none for the only one of a step.
    pub partition_title: Option<Translated>,
    /// Who asked, by username.
    pub initiator: Option<String>,
    /// When the step was entered.
    pub opened_at: Timestamp,
    /// Until when people may decide.
    pub deadline: Option<Timestamp>,
    /// How many approvals counted.
    pub approvals: u32,
    /// How many are needed.
    pub required: u32,
    /// Who may decide it now, as far as the directory lists them; whoever has voted may not. One entry for each person.
    pub people: Vec<Asked>,
    /// Addresses that reach those whom the directory cannot list.
    pub mails: Vec<String>,
}

impl OpenTask {
    /// What tells one task from every other: the uid of the instance, the step, the visit, the partition.
    #[must_use]
    pub fn key(&self) -> String {
        let uid = self.instance.uid.as_deref().unwrap_or_default();
        format!("{uid}/{}/{}/{}", self.step, self.visit, self.partition)
    }

    /// The uid of the instance of a [key](Self::key).
    #[must_use]
    pub fn instance_of(key: &str) -> &str {
        key.split_once('/').map_or(key, |(uid, _)| uid)
    }
}

/// Somebody who may decide a task.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Asked {
    /// Their username.
    pub username: String,
    /// For whom, where that is not themselves: the username of the principal.
    pub on_behalf_of: Option<String>,
}

/// An id that follows from what it is about: the same parts give the same 64 hexadecimal digits, other parts others.
#[must_use]
pub fn id_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}
