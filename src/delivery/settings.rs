//! Where mail goes and as whom: what the operator's configuration says, checked once at the start.

use super::backoff::Patience;
use super::mail::{Letterhead, mailbox};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::dkim::{
    DkimCanonicalization, DkimCanonicalizationType, DkimConfig, DkimSigningAlgorithm, DkimSigningKey,
};
use lettre::message::header::HeaderName;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// What the configuration says of mail, as it is written.
#[derive(Clone, Default)]
pub struct Options {
    /// `smtp://user:password@host:port?tls=required` or `smtps://…`; none: mail stays in the queue.
    pub url: Option<String>,
    /// The file that has the password, instead of the URL.
    pub password_file: Option<PathBuf>,
    /// The authority of the server's certificate, PEM; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// `Quorate <quorate@example.com>`.
    pub from: String,
    /// The right side of Message-IDs; none: the domain of `from`.
    pub domain: Option<String>,
    /// What mails are signed with.
    pub dkim: Option<Dkim>,
    /// How long one step of a conversation with the server may take.
    pub timeout: Option<Duration>,
    /// How many connections there are at most.
    pub connections: Option<usize>,
    /// How many mails the server gets a second; 0: as many as it takes.
    pub per_second: f64,
    /// How many mails one recipient gets an hour; 0: all.
    pub per_recipient: usize,
    /// How long a message is tried.
    pub patience: Patience,
}

/// What mails are signed with.
#[derive(Clone, Debug)]
pub struct Dkim {
    /// The private key, PEM: RSA as PKCS #1, Ed25519 as PKCS #8.
    pub key_file: PathBuf,
    /// Under which name DNS has the public key.
    pub selector: String,
    /// The domain that signs.
    pub domain: String,
}

/// What is wrong with the configuration of mail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A setting cannot be used.
    #[error("mail: {field}: {why}")]
    Setting {
        /// Which one.
        field: &'static str,
        /// What is wrong and what to do.
        why: String,
    },
}

/// How mail is sent, checked.
pub struct Settings {
    /// None: mail stays in the queue.
    pub(super) server: Option<Server>,
    pub(super) head: Letterhead,
    pub(super) timeout: Duration,
    pub(super) connections: usize,
    pub(super) per_second: f64,
    pub(super) per_recipient: usize,
    pub(super) patience: Patience,
}

/// The mail server.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
}

/// How the connection is protected.
#[derive(Clone)]
pub(super) enum Security {
    /// Not at all.
    None,
    /// By STARTTLS where the server offers it.
    Opportunistic(TlsParameters),
    /// By STARTTLS, or nothing is sent.
    Required(TlsParameters),
    /// From the first byte.
    Implicit(TlsParameters),
}

impl Options {
    /// Checks them, and reads the files that they name.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub fn ready(self) -> Result<Settings, Error> {
        let from = mailbox(&self.from).map_err(|why| wrong("from", why))?;
        let domain = self.domain.clone().unwrap_or_else(|| from.email.domain().to_owned());
        check_domain("domain", &domain)?;
        let dkim = self.dkim.as_ref().map(signing).transpose()?;
        let server = self.url.as_deref().map(|url| self.server(url)).transpose()?;
        let timeout = self.timeout.unwrap_or(Duration::from_mins(1));
        if timeout.is_zero() || timeout > Duration::from_mins(10) {
            return Err(wrong("timeout", "write a duration between 1ms and 10m, such as 60s"));
        }
        let connections = self.connections.unwrap_or(4);
        if !(1..=100).contains(&connections) {
            return Err(wrong("connections", "write a number from 1 to 100"));
        }
        if !self.per_second.is_finite() || self.per_second < 0.0 {
            return Err(wrong("rate per second", "write a number such as 10, or 0 for none"));
        }
        Ok(Settings {
            server,
            head: Letterhead { from, domain, dkim },
            timeout,
            connections,
            per_second: self.per_second,
            per_recipient: self.per_recipient,
            patience: self.patience,
        })
    }

    fn server(&self, url: &str) -> Result<Server, Error> {
        const HOW: &str = "write smtp://user:password@host:587?tls=required or smtps://user:password@host";
        // The URL may have a password: never in a message.
        let url = Url::parse(url).map_err(|error| wrong("URL", format!("{error}; {HOW}")))?;
        let bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let host = url.host_str().filter(|_| bare).ok_or_else(|| wrong("URL", HOW))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut tls = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "tls" => tls = Some(value.into_owned()),
                _ => return Err(wrong("URL", format!("there is no parameter {name}; there is tls"))),
            }
        }
        let credentials = self.credentials(&url)?;
        let parameters = || self.parameters(&host);
        let security = match (url.scheme(), tls.as_deref()) {
            ("smtps", None) => Security::Implicit(parameters()?),
            ("smtp", None) if credentials.is_some() => Security::Required(parameters()?),
            ("smtp", Some("required")) => Security::Required(parameters()?),
            ("smtp", Some("opportunistic" | "none")) if credentials.is_some() => {
                let why = "with a password write tls=required: whoever stands between could read it otherwise";
                return Err(wrong("URL", why));
            }
            ("smtp", None | Some("opportunistic")) => Security::Opportunistic(parameters()?),
            ("smtp", Some("none")) => Security::None,
            ("smtp", Some(_)) => return Err(wrong("URL", "tls is required, opportunistic or none")),
            _ => return Err(wrong("URL", HOW)),
        };
        let usual = match (&security, credentials.is_some()) {
            (Security::Implicit(_), _) => 465,
            (_, true) => 587,
            (_, false) => 25,
        };
        Ok(Server { host, port: url.port().unwrap_or(usual), security, credentials })
    }

    fn credentials(&self, url: &Url) -> Result<Option<Credentials>, Error> {
        let plain = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(Cow::into_owned).map_err(|_| wrong("URL", "user or password is no UTF-8"))
        };
        let password = match (url.password(), &self.password_file) {
            (Some(_), Some(_)) => return Err(wrong("password file", "the URL has a password too; write it once")),
            (Some(password), None) => Some(plain(password)?),
            (None, Some(file)) => Some(read(file)?.trim_end_matches(['\r', '\n']).to_owned()),
            (None, None) => None,
        };
        match (url.username(), password) {
            ("", None) => Ok(None),
            ("", Some(_)) => Err(wrong("URL", "there is a password but no user; write smtp://user@host")),
            (_, None) => Err(wrong("URL", "there is a user but no password; give a password file")),
            (user, Some(password)) => Ok(Some(Credentials::new(plain(user)?, password))),
        }
    }

    fn parameters(&self, host: &str) -> Result<TlsParameters, Error> {
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(file) = &self.ca_file {
            let pem = read(file)?;
            let authority =
                Certificate::from_pem(pem.as_bytes()).map_err(|error| wrong("CA file", error.to_string()))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
        }
        builder.build().map_err(|error| wrong("CA file", error.to_string()))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the URL, which may have a password.
        f.debug_struct("Options").field("from", &self.from).finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.as_ref().map(|server| format!("{}:{}", server.host, server.port));
        f.debug_struct("Settings").field("server", &server).field("from", &self.head.from).finish_non_exhaustive()
    }
}

fn wrong(field: &'static str, why: impl Into<String>) -> Error {
    Error::Setting { field, why: why.into() }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|source| Error::File { file: file.to_owned(), source })
}

fn check_domain(field: &'static str, domain: &str) -> Result<(), Error> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if !domain.is_empty() && domain.len() <= 253 && domain.bytes().all(letters) {
        return Ok(());
    }
    Err(wrong(field, format!("{domain:?} is no domain; write one such as quorate.example.com")))
}

fn signing(dkim: &Dkim) -> Result<DkimConfig, Error> {
    /// What PKCS #8 puts before the 32 bytes of an Ed25519 key.
    const ED25519: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    const HOW: &str = "write an RSA key as PKCS #1 (openssl rsa -traditional) or an Ed25519 key as PKCS #8";
    check_domain("DKIM domain", &dkim.domain)?;
    check_domain("DKIM selector", &dkim.selector)?;
    let pem = read(&dkim.key_file)?;
    let key = if pem.contains("BEGIN RSA PRIVATE KEY") {
        DkimSigningKey::new(&pem, DkimSigningAlgorithm::Rsa)
    } else {
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(base64.trim()).map_err(|_| wrong("DKIM key", HOW))?;
        let seed = der.strip_prefix(ED25519).filter(|seed| seed.len() == 32).ok_or_else(|| wrong("DKIM key", HOW))?;
        DkimSigningKey::new(&STANDARD.encode(seed), DkimSigningAlgorithm::Ed25519)
    };
    let key = key.map_err(|error| wrong("DKIM key", format!("{error}; {HOW}")))?;
    // Content-Type is not among them: the library signs what is in the outer headers alone, and that of a multipart is not.
    let headers = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "MIME-Version"];
    // Relaxed, for servers on the way fold headers anew.
    let relaxed = DkimCanonicalizationType::Relaxed;
    Ok(DkimConfig::new(
        dkim.selector.clone(),
        dkim.domain.clone(),
        key,
        headers.into_iter().map(HeaderName::new_from_ascii_str).collect(),
        DkimCanonicalization { header: relaxed, body: relaxed },
    ))
}

#[cfg(test)]
mod tests {
    use super::{Options, Security};

    fn options(url: &str) -> Options {
        Options { url: Some(url.to_owned()), from: "quorate@example.com".to_owned(), ..Options::default() }
    }

    #[test]
    fn a_url_says_where_and_how_safely() {
        for (url, host, port, security) in [
            ("smtp://mail", "mail", 25, "opportunistic"),
            ("smtp://mail:2525?tls=none", "mail", 2525, "none"),
            ("smtp://user:p%40ss@mail.example.com", "mail.example.com", 587, "required"),
            ("smtp://mail?tls=required", "mail", 25, "required"),
            ("smtps://user:x@[::1]", "::1", 465, "implicit"),
        ] {
            let server = options(url).ready().expect(url).server.expect("a server");
            let name = match server.security {
                Security::None => "none",
                Security::Opportunistic(_) => "opportunistic",
                Security::Required(_) => "required",
                Security::Implicit(_) => "implicit",
            };
            assert_eq!((server.host.as_str(), server.port, name), (host, port, security), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_setting_and_no_password() {
        for (url, told) in [
            ("http://secret:secret@mail", "mail: URL: write smtp://"),
            ("secret", "mail: URL: relative URL without a base"),
            ("smtp://user:secret@mail?tls=opportunistic", "with a password write tls=required"),
            ("smtp://user:secret@mail?tls=none", "with a password write tls=required"),
            ("smtp://user@mail", "there is a user but no password"),
            ("smtp://mail?verify=no", "there is no parameter verify"),
            ("smtp://mail/path", "write smtp://user:password@host"),
        ] {
            let why = options(url).ready().expect_err(url).to_string();
            assert!(why.contains(told) && !why.contains("secret"), "{why}");
        }
        let why = Options { from: "nobody".to_owned(), ..options("smtp://mail") }.ready().expect_err("no address");
        assert!(why.to_string().starts_with("mail: from: \"nobody\" is no mailbox"), "{why}");
        let why = Options { domain: Some("a b".to_owned()), ..options("smtp://mail") }.ready().expect_err("no domain");
        assert!(why.to_string().starts_with("mail: domain: \"a b\" is no domain"), "{why}");
    }
}
