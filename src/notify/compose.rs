//! Messages: one for each person and topic of an occurrence, rendered in their language. What has been composed is marked, also
//! where nobody can be reached or the topic is disabled: it is dealt with.

use super::history::{Asks, Occurrence};
use super::parameters::Parameters;
use super::people::{People, Reached};
use super::story::Story;
use super::tasks::reference;
use super::topics::Topics;
use super::{Destination, Links, Message, Rendered, id_of};
use crate::directory::Contact;
use crate::directory::delegations::SERVICE_ACCOUNT;
use crate::engine::graph::To;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The texts of all topics at one moment.
pub trait Texts {
    /// Whether anything of a topic is sent.
    fn is_enabled(&self, topic: &str) -> bool;

    /// A topic in a language; `stand_in` is the topic whose text is sent when that one is unknown or its template is broken.
    fn render(&self, topic: &str, stand_in: &str, locale: Option<&str>, parameters: &Value) -> Rendered;
}

impl Texts for Topics {
    fn is_enabled(&self, topic: &str) -> bool {
        Self::is_enabled(self, topic)
    }

    fn render(&self, topic: &str, stand_in: &str, locale: Option<&str>, parameters: &Value) -> Rendered {
        Self::render(self, topic, stand_in, locale, parameters)
    }
}

/// What an installation puts into its messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting<'a> {
    /// Where messages lead.
    pub links: &'a Links,
    /// The time zone that times are told in, a name of the IANA database.
    pub time_zone: &'a str,
}

/// What came of occurrences: to be stored in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// What is sent.
    pub messages: Vec<Message>,
    /// The ids of the occurrences that are dealt with.
    pub marks: Vec<String>,
    /// Who should have been told and has no mail address, by username.
    pub without_address: BTreeSet<String>,
    /// What is wrong with templates whose place a built-in text took, each with its topic.
    pub faults: BTreeSet<(String, String)>,
    /// Which topics were named where they do not suit, and why.
    pub unsuited: BTreeSet<String>,
}

impl Story<'_> {
    /// The messages of occurrences that are not dealt with yet.
    #[must_use]
    pub fn compose(&self, due: &[Occurrence], texts: &dyn Texts, setting: &Setting<'_>) -> Composed {
        let people = People::new(self);
        let mut composed = Composed::default();
        for occurrence in due {
            composed.marks.push(occurrence.id.clone());
            // By topic, once for each destination, whatever upper and lower case it is written in.
            let mut told = BTreeSet::new();
            let parameters = Parameters::new(self, occurrence, setting);
            let mut recipients = self.told(occurrence);
            // Whoever is asked, and is meant by something else too, hears that they are asked.
            recipients.sort_by_key(|(to, _)| occurrence.event.asks() && *to != To::Approvers);
            for (to, topic) in recipients {
                if !texts.is_enabled(&topic) {
                    continue;
                }
                for reached in people.meant(&to, occurrence) {
                    let Some(mut recipient) = self.recipient(&reached, &mut composed.without_address) else { continue };
                    recipient.asked = to == To::Approvers && occurrence.event.asks();
                    if !told.insert((topic.clone(), recipient.key.clone())) {
                        continue;
                    }
                    let message = self.message(occurrence, &topic, recipient, &parameters, texts, &mut composed);
                    composed.messages.push(message);
                }
            }
        }
        composed
    }

    fn message(
        &self,
        occurrence: &Occurrence,
        topic: &str,
        recipient: Recipient,
        parameters: &Parameters<'_>,
        texts: &dyn Texts,
        composed: &mut Composed,
    ) -> Message {
        let Recipient { to, key, shown, locale, asked } = recipient;
        let filled = parameters.to(locale.as_deref(), &shown, asked);
        let Rendered { subject, text, html, fault, unsuited } =
            texts.render(topic, occurrence.event.topic(), locale.as_deref(), &filled);
        composed.unsuited.extend(unsuited);
        composed.faults.extend(fault.map(|fault| (topic.to_owned(), fault)));
        Message {
            id: id_of(&[&occurrence.id, topic, &key]),
            to,
            topic: topic.to_owned(),
            subject,
            text,
            html,
            thread: Some(self.facts.instance.uid.to_owned()),
            about: reference(self.facts),
            event: parameters.event(),
        }
    }

    /// Where somebody is reached, and how templates see them; none where they cannot be.
    fn recipient(&self, reached: &Reached, without_address: &mut BTreeSet<String>) -> Option<Recipient> {
        match reached {
            Reached::Person(username) => {
                let directory = self.facts.directory;
                if directory.is_out(username, self.facts.now) {
                    return None;
                }
                let contact = directory.contact_of(username);
                let shown = json!({
                    "username": contact.username, "displayName": contact.name(), "email": contact.email, "locale": contact.locale,
                });
                let Contact { username, display_name, email, locale } = contact;
                let Some(address) = email else {
                    // A machine reads no mail.
                    if !username.starts_with(SERVICE_ACCOUNT) {
                        without_address.insert(username);
                    }
                    return None;
                };
                let key = format!("mail {}", address.to_lowercase());
                let to = Destination::Mail { address, name: display_name };
                Some(Recipient { to, key, shown, locale, asked: false })
            }
            Reached::Address(address) => Some(Recipient {
                to: Destination::Mail { address: address.clone(), name: None },
                key: format!("mail {}", address.to_lowercase()),
                shown: json!({"username": null, "displayName": address, "email": address, "locale": null}),
                locale: None,
                asked: false,
            }),
            Reached::Channel(channel) => Some(Recipient {
                to: Destination::Channel(channel.clone()),
                key: format!("channel {channel}"),
                shown: json!({"username": null, "displayName": channel, "email": null, "locale": null}),
                locale: None,
                asked: false,
            }),
        }
    }
}

impl Occurrence {
    /// For whom somebody is asked, by username, where that is not themselves.
    pub(super) fn on_behalf_of(&self) -> Option<&str> {
        match &self.asks {
            Some(Asks::Person(invited)) => invited.on_behalf_of.as_deref(),
            _ => None,
        }
    }
}

/// Somebody who is reached.
struct Recipient {
    to: Destination,
    /// The same for everything that is one destination.
    key: String,
    /// How templates see them.
    shown: Value,
    locale: Option<String>,
    /// Whether they are asked to decide.
    asked: bool,
}
