//! What the runs of digests and reminders share: who has which tasks, and the mails about them. Pure.
//!
//! A run is planned first, as positions in one list of tasks, and written mail by mail as it is stored: the text of a task is never
//! held once for each of its thousands of approvers.

use super::schedule::Schedule;
use super::seen::Change;
use super::topics::Topics;
use super::{Destination, Links, Message, OpenTask, id_of};
use crate::directory::{Contact, Snapshot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[cfg(test)]
pub(super) mod fixtures;

/// So many different faults of templates are told of one run.
const FAULTS: usize = 16;

/// What a run is computed from.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// The Digest or Reminder, with its uid.
    pub about: &'a ObjectReference,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// The name of its time zone.
    pub time_zone: &'a str,
    /// The moment of the schedule that this run is for.
    pub at: Timestamp,
    /// The moment of now: a run that is made up is later than `at`.
    pub now: Timestamp,
    /// Every open task of the installation, each once.
    pub tasks: &'a [OpenTask],
    /// The uids of instances that could not be looked at: whether their tasks are still open is not known.
    pub passed_over: &'a BTreeSet<String>,
    /// Who people are.
    pub directory: &'a Snapshot,
    /// The texts.
    pub topics: &'a Topics,
    /// Where messages lead.
    pub links: &'a Links,
}

/// A run: the mails that are due, and what is remembered of it.
pub struct Run<'a> {
    /// What it was computed from.
    pub(super) occasion: Occasion<'a>,
    pub(super) mails: Vec<Mail<'a>>,
    /// Who should have a mail and has no address, by username, each once.
    pub without_address: BTreeSet<String>,
    /// What the people of a Digest have been told; nothing for a Reminder.
    pub seen: Change,
}

/// A mail that is not written yet.
pub(super) struct Mail<'a> {
    /// What the id follows from, besides the run: whose tasks they are, and who is told where that is somebody else.
    pub(super) id: Vec<String>,
    pub(super) to: Contact,
    pub(super) topic: &'a str,
    /// The built-in topic that is sent where `topic` cannot be.
    pub(super) stand_in: &'static str,
    /// The tasks that are listed, by position.
    pub(super) listed: Vec<usize>,
    /// So many of them, from the first, are new.
    pub(super) new: usize,
    /// Whether the recipient gets links.
    pub(super) links: bool,
    /// The parameters of this kind of mail.
    pub(super) parameters: Map<String, Value>,
}

/// Somebody who may decide tasks: a person, or a mailbox behind which there are people whom the directory cannot list.
pub(super) struct Decider {
    /// One for each person.
    pub(super) key: String,
    pub(super) contact: Contact,
    /// Their tasks, by position, in the order of [`Occasion::oldest_first`].
    pub(super) tasks: Vec<usize>,
}

/// Mailboxes that are no person's, by address in lower case: the address as it was written first, and the tasks.
type Mailboxes = BTreeMap<String, (String, Vec<usize>)>;

impl<'a> Run<'a> {
    pub(super) fn new(occasion: Occasion<'a>) -> Self {
        Self { occasion, mails: Vec::new(), without_address: BTreeSet::new(), seen: Change::default() }
    }

    /// How many mails are due.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mails.len()
    }

    /// Whether no mail is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mails.is_empty()
    }

    /// The mails, each written when it is asked for. Templates that could not be used are told in `faults`: the first few.
    pub fn messages<'r>(
        &'r self,
        faults: &'r mut BTreeSet<(String, String)>,
    ) -> impl Iterator<Item = Message> + Send + use<'r, 'a> {
        self.mails.iter().map(move |mail| {
            let (message, fault) = mail.write(&self.occasion);
            let fault = fault.filter(|_| faults.len() < FAULTS);
            faults.extend(fault.map(|fault| (message.topic.clone(), fault)));
            message
        })
    }
}

impl Mail<'_> {
    fn write(&self, occasion: &Occasion<'_>) -> (Message, Option<String>) {
        let locale = self.to.locale.as_deref();
        let rendered = occasion.topics.render(self.topic, self.stand_in, locale, &self.parameters(occasion));
        let message = Message {
            id: self.id(occasion),
            to: Destination::Mail {
                address: self.to.email.clone().unwrap_or_default(),
                name: self.to.display_name.clone(),
            },
            topic: self.topic.to_owned(),
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            thread: None,
            about: occasion.about.clone(),
            event: Value::Null,
        };
        (message, rendered.fault)
    }

    fn id(&self, occasion: &Occasion<'_>) -> String {
        let kind = occasion.about.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
        let (uid, at) = (occasion.about.uid.as_deref().unwrap_or_default(), occasion.at.to_string());
        let mut parts = vec![kind.as_str(), uid, at.as_str()];
        parts.extend(self.id.iter().map(String::as_str));
        id_of(&parts)
    }

    /// Everything that the template gets.
    fn parameters(&self, occasion: &Occasion<'_>) -> Value {
        let locale = self.to.locale.as_deref();
        let tasks = self.listed.iter().enumerate();
        let tasks = tasks.map(|(place, task)| occasion.show(*task, locale, place < self.new, self.links)).collect();
        let mut parameters = self.parameters.clone();
        parameters.insert("tasks".to_owned(), Value::Array(tasks));
        parameters.insert("recipient".to_owned(), recipient(&self.to));
        let url = if self.links { occasion.links.tasks() } else { String::new() };
        parameters.insert("url".to_owned(), Value::from(url));
        parameters.insert("timeZone".to_owned(), Value::from(occasion.time_zone));
        Value::Object(parameters)
    }
}

impl Occasion<'_> {
    /// The positions of the tasks, those first that have been open longest.
    pub(super) fn oldest_first(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.tasks.len()).collect();
        order.sort_by_cached_key(|task| (self.tasks[*task].opened_at, self.tasks[*task].key()));
        order
    }

    /// How many days lie between the dates on which the task opened and the run was to come; less than none for a task that opened
    /// on a later date, before the run was made up.
    pub(super) fn age(&self, task: usize) -> i64 {
        let opened = self.schedule.date(self.tasks[task].opened_at);
        i64::from(opened.until(self.schedule.date(self.at)).map_or(0, |age| age.get_days()))
    }

    /// Everybody who may decide something, in the order of their keys: under several usernames once.
    pub(super) fn deciders(&self) -> Vec<Decider> {
        let mut found: Vec<Decider> = Vec::new();
        let mut by_username: HashMap<&str, usize> = HashMap::new();
        let mut by_key: HashMap<String, usize> = HashMap::new();
        let mut mailboxes = Mailboxes::new();
        for task in self.oldest_first() {
            for asked in &self.tasks[task].people {
                let place = *by_username.entry(&asked.username).or_insert_with(|| {
                    let key = self.directory.person(&asked.username);
                    *by_key.entry(key).or_insert_with_key(|key| {
                        let contact = contact(self.directory, &asked.username);
                        found.push(Decider { key: key.clone(), contact, tasks: Vec::new() });
                        found.len() - 1
                    })
                });
                add(&mut found[place].tasks, task);
            }
            for address in &self.tasks[task].mails {
                let mailbox = mailboxes.entry(address.to_lowercase());
                add(&mut mailbox.or_insert_with(|| (address.clone(), Vec::new())).1, task);
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        self.add_mailboxes(&mut found, mailboxes);
        found
    }

    /// A mailbox that is somebody's own brings them its tasks; one mail goes there.
    fn add_mailboxes(&self, found: &mut Vec<Decider>, mailboxes: Mailboxes) {
        if mailboxes.is_empty() {
            return;
        }
        let mut owners: HashMap<String, usize> = HashMap::new();
        for (place, person) in found.iter().enumerate() {
            if let Some(address) = &person.contact.email {
                owners.entry(address.to_lowercase()).or_insert(place);
            }
        }
        for (mailbox, (address, tasks)) in mailboxes {
            if let Some(owner) = owners.get(&mailbox) {
                let own: BTreeSet<_> = found[*owner].tasks.iter().chain(&tasks).copied().collect();
                found[*owner].tasks = self.oldest_first().into_iter().filter(|task| own.contains(task)).collect();
            } else {
                let contact = Contact { email: Some(address), ..Contact::default() };
                found.push(Decider { key: format!("mail {mailbox}"), contact, tasks });
            }
        }
    }

    fn show(&self, task: usize, locale: Option<&str>, new: bool, links: bool) -> Value {
        let OpenTask { instance, title, step, step_title, partition, partition_title, initiator, opened_at, .. } =
            &self.tasks[task];
        let (namespace, name) =
            (instance.namespace.as_deref().unwrap_or_default(), instance.name.as_deref().unwrap_or_default());
        json!({
            "title": title.to(locale),
            "namespace": namespace,
            "instance": name,
            "step": step,
            "stepTitle": step_title.to(locale),
            "partition": partition,
            "partitionTitle": partition_title.as_ref().map(|title| title.to(locale)),
            "initiator": initiator.as_ref().map(|username| person(&contact(self.directory, username))),
            "openedAt": opened_at.to_string(),
            "deadline": self.tasks[task].deadline.map(|deadline| deadline.to_string()),
            "age": self.age(task).max(0),
            "isNew": new,
            "url": if links { self.links.task(namespace, name) } else { String::new() },
        })
    }
}

/// How somebody is reached, by username or alias, and shown by their username: never whose Identity merely has that name.
pub(super) fn contact(directory: &Snapshot, username: &str) -> Contact {
    let own = directory.identity_of(username).and_then(|identity| directory.username(identity));
    directory.contact_of(own.unwrap_or(username))
}

/// Somebody as templates see them.
pub(super) fn person(contact: &Contact) -> Value {
    json!({"username": contact.username, "displayName": contact.name()})
}

fn recipient(to: &Contact) -> Value {
    let username = Some(to.username.as_str()).filter(|username| !username.is_empty());
    let name = to.display_name.as_deref().or(username).or(to.email.as_deref());
    json!({"username": username, "displayName": name, "email": to.email, "locale": to.locale})
}

/// Adds a task that is the newest of the list: one that somebody may decide for several reasons comes several times in a row.
fn add(tasks: &mut Vec<usize>, task: usize) {
    if tasks.last() != Some(&task) {
        tasks.push(task);
    }
}
