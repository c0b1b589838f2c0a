//! What people are told: from what happened to rendered messages. Pure.
//!
//! Everything that is sent has an id that follows from what it is about, so that computing it again repeats nothing: the outbox
//! ([`crate::store`]) knows what it has seen, and the id is the `Message-ID` of the mail. Nothing here knows a server, a clock or
//! a store; [`crate::delivery`] carries messages away, the controllers bring the facts.

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendered {
    /// One line without control characters.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: Option<String>,
    /// What is wrong with the template that should have been used: the built-in text stands in.
    pub fault: Option<String>,
}
