//! Webhooks and chats of the operator's configuration (requirement R47): the only places where their URLs are written.

mod forms;

use super::lane::{Carrier, Outcome};
use crate::endpoints::{Endpoint, Error, Rules, Unanswered, Written, read};
use crate::store::outbox::Claimed;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a channel is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum Kind {
    /// `CloudEvents` 1.0, signed as Standard Webhooks says.
    CloudEvents,
    /// A message of a Slack incoming webhook.
    Slack,
    /// An Adaptive Card for a Teams workflow webhook.
    Teams,
    /// A message of a Mattermost incoming webhook.
    Mattermost,
}

/// The channels, by name.
#[derive(Clone, Default)]
pub struct Channels(Arc<BTreeMap<String, Channel>>);

/// One of them.
#[derive(Clone)]
pub(super) struct Channel {
    kind: Kind,
    endpoint: Endpoint,
    /// What it hears of every instance, beside what is sent to it by name.
    events: BTreeSet<String>,
}

/// A channel, as the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Listed {
    name: String,
    kind: Kind,
    url: String,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    events: BTreeSet<String>,
    timeout: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    ca: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Channels {
    /// Reads a list of channels, YAML or JSON. Files that it names are beside it, unless their paths are absolute.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let channels = read(file, "channels", |listed: Listed, folder| {
            let Listed { name, kind, url, secret, secret_file, events, timeout, headers, ca, ca_file } = listed;
            let signed = kind == Kind::CloudEvents;
            let rules = Rules { what: "channel", signed, query: true, longest: Duration::from_mins(1) };
            let written = Written { name: name.clone(), url, secret, secret_file, timeout, headers, ca, ca_file };
            Ok((name, Channel { kind, endpoint: written.ready(folder, rules)?, events }))
        })?;
        Ok(Self(Arc::new(channels)))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The events that channels hear of from every instance, each with its channel.
    pub fn events(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(name, channel)| channel.events.iter().map(move |event| (name.as_str(), event.as_str())))
    }

    pub(super) fn carriers(&self) -> impl Iterator<Item = (&str, Channel)> {
        self.0.iter().map(|(name, channel)| (name.as_str(), channel.clone()))
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the URLs of chats, which are secrets.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Carrier for Channel {
    async fn probe(&self) -> Result<(), String> {
        // A webhook cannot be asked without sending it something.
        Ok(())
    }

    async fn carry(&self, claimed: &Claimed) -> Outcome {
        let (message, at) = (&claimed.message, claimed.created_at);
        let (content_type, body) = match self.kind {
            Kind::CloudEvents => ("application/cloudevents+json", forms::cloud_event(message, at)),
            Kind::Slack => ("application/json", forms::slack(message)),
            Kind::Teams => ("application/json", forms::teams(message)),
            Kind::Mattermost => ("application/json", forms::mattermost(message)),
        };
        let answer = self.endpoint.call(Method::POST, "", content_type, body.to_string(), &message.id).await;
        let told = |what: &dyn fmt::Display| format!("channel {} {what}", self.endpoint.name);
        match answer {
            Ok(answered) if answered.status.is_success() => Outcome::Sent,
            // Too much for all that comes from us, not for this message.
            Ok(answered) if answered.status == StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Down(told(&answered), answered.retry_after)
            }
            Ok(answered) if answered.again() => Outcome::Again(told(&answered), answered.retry_after),
            Ok(answered) => Outcome::Refused(told(&answered)),
            Err(why @ Unanswered::Impossible(_)) => Outcome::Refused(told(&why)),
            Err(why @ Unanswered::Unreachable(_)) => Outcome::Down(told(&why), None),
            Err(why) => Outcome::Again(told(&why), None),
        }
    }

    fn rest(&self) {}

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::Channels;

    fn read(text: &str) -> Result<Channels, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("channels.yaml");
        std::fs::write(&file, text).expect("written");
        Channels::read(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn channels_are_read_and_hear_what_they_want() {
        let channels = read(
            "- {name: audit, kind: CloudEvents, url: 'https://audit.example.com/in', secret: sixteen-letters-or-more}\n\
             - {name: team, kind: Teams, url: 'https://flow.example.com/x?sig=abc', events: [assigned, completed]}",
        )
        .expect("channels");
        assert_eq!(channels.names().collect::<Vec<_>>(), ["audit", "team"]);
        assert_eq!(channels.events().collect::<Vec<_>>(), [("team", "assigned"), ("team", "completed")]);
        assert_eq!(format!("{channels:?}"), r#"{"audit", "team"}"#);
    }

    #[test]
    fn what_is_wrong_names_the_channel() {
        for (line, told) in [
            ("{name: a, kind: CloudEvents, url: 'https://a'}", "channel a: give either secret or secretFile"),
            (
                "{name: a, kind: Slack, url: 'ftp://a'}",
                "channel a: url: write https://host/path, without user and fragment",
            ),
            ("{name: a, kind: Pager, url: 'https://a'}", "is no list of channels: "),
            (
                "{name: a, kind: Slack, url: 'https://a', timeout: 2m}",
                "channel a: timeout: write a duration such as 5s, 60 s at most",
            ),
            ("{name: a, kind: Slack, url: 'https://a', colour: red}", "is no list of channels: "),
        ] {
            let why = read(&format!("[{line}]")).expect_err("refused");
            assert!(why.contains(told), "{why}");
        }
    }
}
