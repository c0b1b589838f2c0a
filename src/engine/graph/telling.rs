//! Who is told what, compiled: what definitions, partitions and processes say about it (semantics.md 31). Whom that means at a
//! moment is told by [`crate::notify`].

use super::{Fault, Graph, GraphNode, Rule, fault, place_of};
use crate::api::{Notification, NotificationEvent, Part, Recipient, SupervisorOf};
use crate::directory::Snapshot;
use std::collections::BTreeSet;
use std::fmt;

/// Who is told when something happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// What happens.
    pub on: NotificationEvent,
    /// Who is told.
    pub to: Vec<To>,
    /// The topic; none: the built-in one of the event.
    pub topic: Option<String>,
}

/// Who is told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum To {
    /// Who asked.
    Initiator,
    /// Whom it is about.
    Subject,
    /// Whom it is about or, where it is about nobody, who asked.
    Concerned,
    /// Who is, or was, asked.
    Approvers,
    /// The managers of whom it is about or, where it is about nobody, of who asked.
    Managers,
    /// A mail address.
    Address(String),
    /// One person, by username or Identity.
    User(String),
    /// The holders of a `BusinessRole`.
    Role(String),
    /// The managers of somebody.
    SupervisorOf(SupervisorOf),
    /// A webhook or chat, by name.
    Channel(String),
}

impl To {
    fn compile(recipient: &Recipient) -> Result<Self, (&'static str, String)> {
        // Whoever adds a recipient to the API meets this line.
        let Recipient { person, address, user, role, supervisor_of, channel } = recipient;
        let mut found = Vec::new();
        found.extend(person.map(|part| match part {
            Part::Initiator => Self::Initiator,
            Part::Subject => Self::Subject,
            Part::Approvers => Self::Approvers,
            Part::Managers => Self::Managers,
        }));
        found.extend(address.clone().map(Self::Address));
        found.extend(user.clone().map(Self::User));
        found.extend(role.clone().map(Self::Role));
        found.extend(supervisor_of.map(Self::SupervisorOf));
        found.extend(channel.clone().map(Self::Channel));
        match (found.pop(), found.is_empty()) {
            (Some(Self::Address(address)), true) if !is_mailbox(&address) => Err((".address", no_mailbox(&address))),
            (Some(only), true) => Ok(only),
            _ => {
                Err(("", "a recipient is exactly one of person, address, user, role, supervisorOf, channel".to_owned()))
            }
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initiator => f.write_str("the initiator"),
            Self::Subject | Self::Concerned => f.write_str("the subject"),
            Self::Approvers => f.write_str("the approvers"),
            Self::Managers => f.write_str("the managers"),
            Self::Address(address) => f.write_str(address),
            Self::User(user) => write!(f, "user {user}"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::SupervisorOf(SupervisorOf::Subject) => f.write_str("supervisor of the subject"),
            Self::SupervisorOf(SupervisorOf::Initiator) => f.write_str("supervisor of the initiator"),
            Self::SupervisorOf(SupervisorOf::Approvers) => f.write_str("supervisor of the approvers"),
            Self::Channel(channel) => write!(f, "channel {channel}"),
        }
    }
}

/// Checks the notifications of a process and makes them explicit; places begin with `spec.notifications`.
///
/// # Errors
/// Every fault, each with its place.
pub fn compile_notifications(notifications: &[Notification]) -> Result<Vec<Telling>, Vec<Fault>> {
    let mut faults = Vec::new();
    let compiled = compile_tellings(notifications, "spec", |_| None, &mut faults);
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

/// What is wrong with the notifications of a process in this directory: roles that do not exist.
#[must_use]
pub fn check_notifications(notifications: &[Telling], directory: &Snapshot) -> Vec<Fault> {
    let listed = notifications.iter().enumerate();
    listed
        .flat_map(|(position, telling)| {
            unknown_roles(&format!("spec.notifications[{position}]"), &telling.to, directory)
        })
        .collect()
}

/// The notifications of a partition, to which only some of the events happen.
pub(super) fn compile_of_partition(list: &[Notification], place: &str, faults: &mut Vec<Fault>) -> Vec<Telling> {
    let elsewhere = |on: NotificationEvent| {
        let whole =
            matches!(on, NotificationEvent::Executed | NotificationEvent::Completed | NotificationEvent::Failed);
        whole.then(|| format!("{on} happens to the instance and not to a partition; write it in spec.notifications"))
    };
    compile_tellings(list, place, elsewhere, faults)
}

/// The notifications that stand at `place`; `never` tells why an event cannot happen there.
pub(super) fn compile_tellings(
    list: &[Notification],
    place: &str,
    never: impl Fn(NotificationEvent) -> Option<String>,
    faults: &mut Vec<Fault>,
) -> Vec<Telling> {
    let mut compiled = Vec::new();
    for (position, Notification { on, to, topic }) in list.iter().enumerate() {
        let place = format!("{place}.notifications[{position}]");
        if let Some(why) = never(*on) {
            faults.push(fault(&format!("{place}.on"), why));
        }
        compiled.push(Telling { on: *on, to: compile_recipients(to, &place, faults), topic: topic.clone() });
    }
    compiled
}

/// The recipients that stand at `place.to`.
pub(super) fn compile_recipients(list: &[Recipient], place: &str, faults: &mut Vec<Fault>) -> Vec<To> {
    if list.is_empty() {
        let message = "nobody is named; name at least one recipient, e.g. {person: Initiator}".to_owned();
        faults.push(fault(&format!("{place}.to"), message));
    }
    let mut compiled = Vec::new();
    for (position, recipient) in list.iter().enumerate() {
        match To::compile(recipient) {
            Ok(to) => compiled.push(to),
            Err((field, why)) => faults.push(fault(&format!("{place}.to[{position}]{field}"), why)),
        }
    }
    compiled
}

/// Whether mail can be sent there: one local part, one domain, nothing that means anything else in a header.
#[must_use]
pub fn is_mailbox(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let dotted = |text: &str, allowed: fn(char) -> bool| {
        text.split('.')
            .all(|part| !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || allowed(letter)))
    };
    address.len() <= 254
        && local.len() <= 64
        && dotted(local, |letter| "!#$%&'*+-/=?^_`{|}~".contains(letter))
        && dotted(domain, |letter| letter == '-')
}

pub(super) fn no_mailbox(address: &str) -> String {
    format!("{address:?} is no mail address; write one such as security@example.com")
}

pub(super) fn unknown_roles(place: &str, to: &[To], directory: &Snapshot) -> Vec<Fault> {
    let listed = to.iter().enumerate();
    listed
        .filter_map(|(position, to)| match to {
            To::Role(role) if !directory.has_role(role) => {
                let message = format!("there is no BusinessRole {role}; create it or name another one");
                Some(fault(&format!("{place}.to[{position}].role"), message))
            }
            _ => None,
        })
        .collect()
}

impl Graph {
    /// Every list of recipients: the place that it stands in, who is told, and the topic that is written there.
    pub fn recipients(&self) -> impl Iterator<Item = (String, &[To], Option<&str>)> {
        fn listed<'a>(place: &str, list: &'a [Telling]) -> Vec<(String, &'a [To], Option<&'a str>)> {
            let list = list.iter().enumerate();
            list.map(|(position, telling)| {
                (format!("{place}.notifications[{position}]"), telling.to.as_slice(), telling.topic.as_deref())
            })
            .collect()
        }
        let partitions = self.steps().flat_map(|(name, step)| {
            step.partitions.iter().flat_map(move |rule| listed(&place_of(name, step, rule), &rule.notifications))
        });
        let nodes = self.nodes.iter().filter_map(|(name, node)| match node {
            GraphNode::Notify(notice) => {
                Some((format!("spec.nodes[{name}].notify"), notice.to.as_slice(), notice.topic.as_deref()))
            }
            _ => None,
        });
        listed("spec", &self.notifications).into_iter().chain(partitions).chain(nodes)
    }

    /// Whether anybody is told anything by it. Levels of escalation always tell whom they call in.
    #[must_use]
    pub fn tells(&self) -> bool {
        let partition = |rule: &Rule| rule.notify.is_some() || rule.notify_user.is_some();
        self.recipients().next().is_some()
            || self.steps().any(|(_, step)| !step.escalations.is_empty() || step.partitions.iter().any(partition))
    }

    /// The topics that it names, each with the place of the name. One that does not exist is no fault: the built-in text is sent.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<(String, String)> {
        let mut topics = BTreeSet::new();
        let mut add = |place: String, topic: Option<&str>| {
            topics.extend(topic.map(|topic| (format!("{place}.topic"), topic.to_owned())));
        };
        for (place, _, topic) in self.recipients() {
            add(place, topic);
        }
        for (name, step) in self.steps() {
            for rule in &step.partitions {
                let place = place_of(name, step, rule);
                for (field, topic) in [("notify", &rule.notify), ("notifyUser", &rule.notify_user)] {
                    add(format!("{place}.{field}"), topic.as_ref().and_then(|topic| topic.topic.as_deref()));
                }
            }
            for (position, level) in step.escalations.iter().enumerate() {
                add(format!("spec.nodes[{name}].approval.escalations[{position}]"), level.topic.as_deref());
            }
        }
        topics
    }

    /// What a workflow of an instance's own may not say: whoever may create an instance must not send mail to addresses of their
    /// own choice, nor tell webhooks and chats that listen to the installation's definitions.
    #[must_use]
    pub fn tells_the_world(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (place, to, _) in self.recipients() {
            for (position, to) in to.iter().enumerate() {
                let place = format!("{place}.to[{position}]");
                match to {
                    To::Address(_) => faults.push(fault(&format!("{place}.address"), foreign("an address"))),
                    To::Channel(_) => faults.push(fault(&format!("{place}.channel"), foreign("a channel"))),
                    _ => {}
                }
            }
        }
        for (name, step) in self.steps() {
            let partitions = step.partitions.iter().map(|rule| (place_of(name, step, rule), &rule.mails));
            let levels = step.escalations.iter().enumerate().map(|(position, level)| {
                (format!("spec.nodes[{name}].approval.escalations[{position}]"), &level.mails)
            });
            for (place, mails) in partitions.chain(levels) {
                let mailed = mails.iter();
                faults.extend(
                    mailed.map(|mail| fault(&format!("{place}.approvers[{}].mail", mail.source), foreign("mail"))),
                );
            }
        }
        faults
    }
}

fn foreign(what: &str) -> String {
    format!(
        "{what} is not for a workflow of an instance's own; put the workflow into a WorkflowDefinition, or remove this"
    )
}

#[cfg(test)]
mod tests {
    use super::is_mailbox;

    #[test]
    fn a_mailbox_is_one_address_and_nothing_more() {
        for good in ["mary@example.com", "m.novak+qa@sub.example.cz", "o'hara@localhost", "jiří@příklad.cz"] {
            assert!(is_mailbox(good), "{good}");
        }
        for bad in [
            "",
            "mary",
            "@example.com",
            "mary@",
            "mary@@example.com",
            "mary@example.com, john@example.com",
            "Mary <mary@example.com>",
            "mary @example.com",
            "mary@example..com",
            ".mary@example.com",
            "mary@example.com\r\nBcc: john@example.com",
            "mary@exam\u{2028}ple.com",
        ] {
            assert!(!is_mailbox(bad), "{bad:?}");
        }
        assert!(!is_mailbox(&format!("{}@example.com", "m".repeat(65))));
    }
}
