//! What is said about delivery in a condition.

use crate::api::Says;
use crate::delivery::{Health, Reach};
use crate::store::outbox::SetAside;

/// Whether mail is delivered, for a condition `Delivering`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivering {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Delivering {
    /// The condition.
    #[must_use]
    pub fn says(&self) -> Says<'_> {
        Says { type_: "Delivering", status: self.status, reason: self.reason, message: &self.message }
    }
}

/// Whether the mails of something are delivered; `own` tells which of those that were set aside are of it. None while the server has
/// not been asked: what was said before stands until then, so that a start writes nothing.
#[must_use]
pub fn of(health: &Health, own: impl Fn(&SetAside) -> bool) -> Option<Delivering> {
    let no = |reason, message| Some(Delivering { status: "False", reason, message });
    match &health.mail {
        Reach::NoServer => {
            let message = "no mail server is configured: mails are composed and wait; set the chart value notifications.smtp.url (QUORATE_SMTP_URL)";
            return no("NoMailServer", message.to_owned());
        }
        Reach::Down { since, why } => {
            return no("MailServerDown", format!("since {since} the mail server takes nothing, mails wait: {why}"));
        }
        Reach::Starting => return None,
        Reach::Up => {}
    }
    let aside: Vec<&SetAside> = health.census.newest.iter().filter(|aside| own(aside)).collect();
    if aside.is_empty() {
        let message = "the mail server takes mail".to_owned();
        return Some(Delivering { status: "True", reason: "MailServerUp", message });
    }
    let listed = aside.iter().map(|aside| {
        let to = crate::store::outbox::recipient(&aside.to);
        let about = aside.about.name.as_deref().unwrap_or_default();
        format!("to {to} about {about}, {}: {}", aside.at, aside.reason)
    });
    no("MailSetAside", format!("could not be delivered and is set aside: {}", listed.collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::delivery::{Health, Reach};
    use crate::notify::Destination;
    use crate::store::outbox::{Census, SetAside};
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn said(health: &Health) -> (&'static str, &'static str, String) {
        let delivering = of(health, |aside| aside.topic == "task-digest").expect("the server was asked");
        (delivering.status, delivering.reason, delivering.message)
    }

    #[test]
    fn r46_the_condition_says_why_mail_does_not_arrive() {
        let mut health = Health::default();
        assert_eq!(of(&health, |_| true), None, "what was said before stands until the server was asked");
        health.mail = Reach::NoServer;
        assert!(
            matches!(said(&health), ("False", "NoMailServer", message) if message.contains("notifications.smtp.url"))
        );
        let why = "connection refused".to_owned();
        health.mail = Reach::Down { since: Timestamp::UNIX_EPOCH, why };
        assert!(
            matches!(said(&health), ("False", "MailServerDown", message) if message.ends_with("connection refused"))
        );
        health.mail = Reach::Up;
        assert_eq!(said(&health).0, "True");
        let aside = |topic: &str, address: &str| SetAside {
            id: "1".to_owned(),
            to: Destination::Mail { address: address.to_owned(), name: None },
            topic: topic.to_owned(),
            about: ObjectReference { name: Some("mornings".to_owned()), ..ObjectReference::default() },
            reason: "550 no such user".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        let newest = vec![aside("task-digest", "mary@example.com"), aside("request-done", "john@example.com")];
        health.census = Census { queued: 0, set_aside: 2, newest };
        let (status, reason, message) = said(&health);
        assert_eq!((status, reason), ("False", "MailSetAside"));
        assert!(
            message.contains("to mary@example.com about mornings") && message.ends_with("550 no such user"),
            "{message}"
        );
        assert!(!message.contains("john@example.com"), "that is of another topic: {message}");
    }
}
