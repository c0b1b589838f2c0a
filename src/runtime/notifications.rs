//! The arguments of the operator that are about notifications.

use super::operator::Error;
use crate::api::NotificationEvent;
use crate::controllers::notifications::Settings;
use crate::delivery::channels::Channels;
use crate::delivery::settings::{Dkim, Options};
use crate::notify::Links;
use clap::Args;
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Where the operator keeps what is to be sent, where it sends it, and how it says who it is.
#[derive(Args, Clone, Debug)]
#[group(id = "notifications")]
pub struct Arguments {
    /// Where what is to be sent and what was sent is kept: `sqlite:FILE`, or `postgres://user:password@host/database`.
    #[arg(long, env = "QUORATE_STORE_URL", default_value = "sqlite:quorate.db", hide_env_values = true)]
    store_url: String,
    /// The server that takes mail: `smtp://user@host:587?tls=required`, `smtps://user@host:465`, `smtp://host:25`. Default: mails
    /// are composed and queued, and shown in the log at debug level.
    #[arg(long, env = "QUORATE_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// A file with the password of the user of --smtp-url.
    #[arg(long, env = "QUORATE_SMTP_PASSWORD_FILE")]
    smtp_password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) that the server's certificate is checked against. Default: those of the system.
    #[arg(long, env = "QUORATE_SMTP_CA_FILE")]
    smtp_ca_file: Option<PathBuf>,
    /// How long the server may take for one step of a mail.
    #[arg(long, env = "QUORATE_SMTP_TIMEOUT", default_value = "60s")]
    smtp_timeout: SignedDuration,
    /// How many connections are kept at most.
    #[arg(long, env = "QUORATE_SMTP_CONNECTIONS", default_value_t = 4)]
    smtp_connections: usize,
    /// Who mails are from; its domain is that of their Message-IDs.
    #[arg(long, env = "QUORATE_MAIL_FROM", default_value = "Quorate <quorate@localhost>")]
    mail_from: String,
    /// A file with the private key (RSA or Ed25519, PEM) that mails are signed with (DKIM).
    #[arg(long, env = "QUORATE_DKIM_KEY_FILE", requires_all = ["dkim_selector", "dkim_domain"])]
    dkim_key_file: Option<PathBuf>,
    /// The selector that its public key is published under.
    #[arg(long, env = "QUORATE_DKIM_SELECTOR")]
    dkim_selector: Option<String>,
    /// The domain that its public key is published under.
    #[arg(long, env = "QUORATE_DKIM_DOMAIN")]
    dkim_domain: Option<String>,
    /// The most mails in a second; 0: no limit.
    #[arg(long, env = "QUORATE_MAILS_PER_SECOND", default_value_t = 100)]
    mails_per_second: u32,
    /// The most mails to one recipient in an hour, more are late; 0: no limit.
    #[arg(long, env = "QUORATE_MAILS_PER_RECIPIENT_AND_HOUR", default_value_t = 1000)]
    mails_per_recipient_and_hour: usize,
    /// A file with the webhooks and chats that may be told, YAML or JSON: a list of {name, kind, url, secret or secretFile, events,
    /// timeout, headers, ca or caFile}.
    #[arg(long, env = "QUORATE_CHANNELS_FILE")]
    channels_file: Option<PathBuf>,
    /// The language of those whose language nobody knows, a BCP 47 tag.
    #[arg(long, env = "QUORATE_LOCALE", default_value = "en")]
    locale: String,
    /// Where links in mails lead, such as `https://approvals.example.com`. Default: mails have none.
    #[arg(long, env = "QUORATE_LINK")]
    link: Option<String>,
}

impl Arguments {
    /// What the controllers are started with.
    ///
    /// # Errors
    /// The argument that cannot be used.
    pub fn settings(&self) -> Result<Settings, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let file = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        let timeout = Duration::try_from(self.smtp_timeout)
            .map_err(|_| Error::Argument("--smtp-timeout must be longer than nothing, such as 60s".to_owned()))?;
        let dkim = file(&self.dkim_key_file).map(|key_file| Dkim {
            key_file,
            selector: self.dkim_selector.clone().unwrap_or_default(),
            domain: self.dkim_domain.clone().unwrap_or_default(),
        });
        let channels = file(&self.channels_file).map(|file| Channels::read(&file)).transpose();
        let channels =
            channels.map_err(|error| Error::Argument(format!("--channels-file: {error}")))?.unwrap_or_default();
        let link = given(&self.link).map(|text| match text.parse::<url::Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            _ => Err(Error::Argument(format!("--link {text} is no URL such as https://approvals.example.com"))),
        });
        Ok(Settings {
            store_url: self.store_url.clone(),
            mail: Options {
                url: given(&self.smtp_url),
                password_file: file(&self.smtp_password_file),
                ca_file: file(&self.smtp_ca_file),
                from: self.mail_from.clone(),
                dkim,
                timeout: Some(timeout),
                connections: Some(self.smtp_connections),
                per_second: f64::from(self.mails_per_second),
                per_recipient: self.mails_per_recipient_and_hour,
                ..Options::default()
            },
            subscriptions: subscriptions(&channels)?,
            channels,
            links: Links { base: link.transpose()? },
            locale: self.locale.clone(),
        })
    }
}

/// What each channel hears of every instance.
fn subscriptions(channels: &Channels) -> Result<Vec<(String, BTreeSet<NotificationEvent>)>, Error> {
    let mut subscriptions: BTreeMap<String, BTreeSet<NotificationEvent>> = BTreeMap::new();
    for (channel, event) in channels.events() {
        let known = serde_json::from_value(Value::from(event)).map_err(|_| {
            Error::Argument(format!(
                "--channels-file: channel {channel}: events: there is no event {event}; write one such as completed"
            ))
        })?;
        subscriptions.entry(channel.to_owned()).or_default().insert(known);
    }
    Ok(subscriptions.into_iter().collect())
}
