//! A message as MIME, with everything a mail server and a mail client expect. Pure.
//!
//! Header injection ends here (attack 39): an address that is none is refused, every other text of a header becomes one line and
//! is encoded. The same message gives the same bytes at every attempt.

use crate::notify::{Destination, Message, id_of};
use jiff::Timestamp;
use lettre::message::dkim::DkimConfig;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Letter};
use std::error::Error as StdError;
use std::str::FromStr as _;
use std::time::{Duration, UNIX_EPOCH};

/// How much of a name or a subject is sent, in characters.
const LONGEST_LINE: usize = 500;

/// What every mail has.
#[derive(Debug)]
pub struct Letterhead {
    /// Who sends it.
    pub from: Mailbox,
    /// The right side of every Message-ID.
    pub domain: String,
    /// What it is signed with.
    pub dkim: Option<DkimConfig>,
}

impl Letterhead {
    /// The mail, dated with the moment at which the message was queued.
    ///
    /// # Errors
    /// Why it can never be sent.
    pub fn letter(&self, message: &Message, queued_at: Timestamp) -> Result<Letter, String> {
        let Destination::Mail { address, name } = &message.to else {
            return Err("it is for a channel, not for a mailbox".to_owned());
        };
        let name = name.as_deref().map(one_line).filter(|name| !name.is_empty());
        let to = Mailbox::new(name, self::address(address)?);
        let seconds = u64::try_from(queued_at.as_second()).unwrap_or_default();
        let mut letter = Letter::builder()
            .from(self.from.clone())
            .to(to)
            .subject(one_line(&message.subject))
            .date(UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(self.id(&message.id)))
            .header(AutoSubmitted)
            .header(NoAutoResponse);
        if let Some(thread) = &message.thread {
            letter = letter.in_reply_to(self.id(thread)).references(self.id(thread));
        }
        let letter = match &message.html {
            None => letter.singlepart(SinglePart::plain(body(&message.text))),
            Some(html) => {
                let parts = MultiPart::alternative().boundary(id_of(&["boundary", &message.id]));
                let parts = parts.singlepart(SinglePart::plain(body(&message.text)));
                letter.multipart(parts.singlepart(SinglePart::html(body(html))))
            }
        };
        let mut letter = letter.map_err(|error| error.to_string())?;
        if let Some(dkim) = &self.dkim {
            letter.sign(dkim);
        }
        Ok(letter)
    }

    /// A Message-ID; a name that does not fit into one is hashed.
    fn id(&self, name: &str) -> String {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
            return format!("<{name}@{}>", self.domain);
        }
        format!("<{}@{}>", id_of(&["Message-ID", name]), self.domain)
    }
}

/// An address, when it is one. A domain in other letters becomes what DNS knows.
///
/// # Errors
/// That it is none.
pub fn address(text: &str) -> Result<Address, String> {
    let wrong = |why: &str| format!("{text:?} is no mail address: {why}");
    if text.chars().any(|letter| breaks_line(letter) || letter.is_whitespace() || "<>(),;:\\\"[]".contains(letter)) {
        return Err(wrong("it has letters that no address has"));
    }
    let (user, domain) = text.rsplit_once('@').ok_or_else(|| wrong("it has no @"))?;
    let domain = match url::Host::parse(domain) {
        Ok(url::Host::Domain(domain)) => domain,
        Ok(_) => return Err(wrong("behind @ is no domain")),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    Address::new(user, domain).map_err(|error| wrong(&error.to_string()))
}

/// A mailbox as people write it: `Quorate <quorate@example.com>` or the address alone.
///
/// # Errors
/// That it is none.
pub fn mailbox(text: &str) -> Result<Mailbox, String> {
    let mailbox = Mailbox::from_str(text.trim()).map_err(|error| format!("{text:?} is no mailbox: {error}"))?;
    let name = mailbox.name.as_deref().map(one_line).filter(|name| !name.is_empty());
    Ok(Mailbox::new(name, address(mailbox.email.as_ref())?))
}

/// Text as one line of bounded length.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|letter| if breaks_line(letter) { ' ' } else { letter }).collect();
    line.trim().chars().take(LONGEST_LINE).collect()
}

/// Control characters, and what Unicode breaks lines at.
fn breaks_line(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Text without what no body has: control characters other than line breaks and tabs.
fn body(text: &str) -> String {
    let allowed = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().map(|letter| if allowed(letter) { letter } else { '\u{fffd}' }).collect()
}

/// Tells other programs not to answer (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

/// Tells Exchange and Outlook the same.
#[derive(Clone)]
struct NoAutoResponse;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Header for NoAutoResponse {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Auto-Response-Suppress")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "All".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Letterhead, address, mailbox};
    use crate::notify::{Destination, Message};
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ObjectReference;
    use serde_json::Value;

    fn head() -> Letterhead {
        let from = mailbox("Quorate <quorate@example.com>").expect("a mailbox");
        Letterhead { from, domain: "quorate.example.com".to_owned(), dkim: None }
    }

    fn message(address: &str, name: &str, subject: &str) -> Message {
        Message {
            id: "a".repeat(64),
            to: Destination::Mail { address: address.to_owned(), name: Some(name.to_owned()) },
            topic: "assigned".to_owned(),
            subject: subject.to_owned(),
            text: "Please decide.\r\n.\r\nnow\0".to_owned(),
            html: Some("<p>Please decide.</p>".to_owned()),
            thread: Some("6d1c\r\nBcc: x@example.com".to_owned()),
            about: ObjectReference::default(),
            event: Value::Null,
        }
    }

    fn formatted(message: &Message) -> Result<String, String> {
        let letter = head().letter(message, Timestamp::UNIX_EPOCH)?;
        Ok(String::from_utf8_lossy(&letter.formatted()).into_owned())
    }

    #[test]
    fn attack_39_no_text_becomes_a_header_of_its_own() {
        for end in ["\r\n", "\n", "\r", "\0", "\u{85}", "\u{2028}", "\u{2029}", "\u{b}", "\u{c}", "\r\n\r\n", "=0D=0A"]
        {
            let text = format!("Hello{end}Bcc: everybody@example.com{end}{end}<b>body</b>");
            let mail = formatted(&message("mary@example.com", &text, &text)).expect("a mail");
            let (headers, _) = mail.split_once("\r\n\r\n").expect("headers and a body");
            let mut names: Vec<&str> = headers
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .filter_map(|line| line.split_once(':').map(|(name, _)| name))
                .collect();
            names.sort_unstable();
            let expected = [
                "Auto-Submitted",
                "Content-Type",
                "Date",
                "From",
                "In-Reply-To",
                "MIME-Version",
                "Message-ID",
                "References",
                "Subject",
                "To",
                "X-Auto-Response-Suppress",
            ];
            assert_eq!(names, expected, "{end:?}: {headers}");
            assert!(!headers.replace("\r\n", "").contains(['\r', '\n', '\0']), "{end:?}: {headers:?}");
        }
    }

    #[test]
    fn attack_39_an_address_that_is_none_is_refused() {
        for bad in [
            "mary@example.com\r\nRCPT TO:<john@example.com>",
            "mary@example.com\nBcc: john@example.com",
            "mary\0@example.com",
            "mary@example.com>",
            "<mary@example.com>",
            "mary@example.com,john@example.com",
            "mary@example.com john@example.com",
            "mary\u{2028}@example.com",
            "mary@exa\u{2029}mple.com",
            "mary@example.com\u{85}",
            "mary",
            "@example.com",
            "mary@",
            "mary@127.0.0.1",
            "mary@[127.0.0.1]",
            "\"mary\\\" x\"@example.com",
            "",
        ] {
            let why = formatted(&message(bad, "Mary", "Hello")).expect_err(bad);
            assert!(why.contains("is no mail address"), "{why}");
            assert!(!why.contains(['\r', '\n', '\0']), "{why:?}");
        }
        assert_eq!(address("mary+tasks@例え.jp").expect("an address").to_string(), "mary+tasks@xn--r8jz45g.jp");
    }

    #[test]
    fn the_same_message_gives_the_same_bytes() {
        let message = message("mary@example.com", "Mary", "Žádost o schválení");
        let mail = formatted(&message).expect("a mail");
        assert_eq!(mail, formatted(&message).expect("a mail"));
        assert!(mail.contains(&format!("Message-ID: <{}@quorate.example.com>", "a".repeat(64))), "{mail}");
        assert!(mail.is_ascii(), "goes through every server: {mail}");
    }
}
