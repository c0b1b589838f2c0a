//! What the operator may call over HTTP: of its configuration alone, never of an object that users write.
//!
//! Reads what a configuration says of an endpoint and calls it: signed as Standard Webhooks says, bounded in time and size,
//! without following redirects. Used by [`crate::activities`] for calls that actions ask for, and by [`crate::delivery`] for
//! webhooks and chats.

mod call;

use crate::engine::activity::endpoint_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use call::{Answered, Unanswered};
use http::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// One endpoint, ready to be called.
#[derive(Clone)]
pub struct Endpoint {
    /// Its name in the configuration.
    pub name: String,
    url: Url,
    /// What calls are signed with; without it they are not.
    secret: Option<Vec<u8>>,
    /// How long a call may take.
    pub timeout: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
    client: call::Caller,
}

/// Why endpoints cannot be used.
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
    /// It is no list of endpoints.
    #[error("{file} is no list of {what}: {message}", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What it should list.
        what: &'static str,
        /// What is wrong.
        message: String,
    },
    /// An endpoint cannot be called.
    #[error("{what} {name}: {message}")]
    Endpoint {
        /// What it is called: endpoint, channel.
        what: &'static str,
        /// The endpoint.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What is asked of an endpoint beyond being one.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What people call it: endpoint, channel.
    pub what: &'static str,
    /// Every call is signed.
    pub signed: bool,
    /// The URL may have a query.
    pub query: bool,
    /// The longest timeout.
    pub longest: Duration,
}

/// An endpoint, as a configuration has it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What calls are signed with,
    pub secret: Option<String>,
    /// or the file that has it.
    pub secret_file: Option<PathBuf>,
    /// How long a call may take; 10 s without.
    pub timeout: Option<String>,
    /// Headers that every call has.
    pub headers: BTreeMap<String, String>,
    /// The authority of its certificate,
    pub ca: Option<String>,
    /// or the file that has it.
    pub ca_file: Option<PathBuf>,
}

impl Written {
    /// Makes it ready. Files that it names are in the folder, unless their paths are absolute.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub fn ready(self, folder: &Path, rules: Rules) -> Result<Endpoint, Error> {
        let wrong = |message: String| Error::Endpoint { what: rules.what, name: self.name.clone(), message };
        endpoint_name(&self.name).map_err(&wrong)?;
        let url = Url::parse(&self.url).map_err(|error| wrong(format!("url: {error}")))?;
        let plain = url.username().is_empty() && url.password().is_none() && (rules.query || url.query().is_none());
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !plain || url.fragment().is_some() {
            let without = if rules.query { "user and fragment" } else { "user, query and fragment" };
            return Err(wrong(format!("url: write https://host/path, without {without}")));
        }
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => Some(secret.clone()),
            (None, Some(file)) => Some(text_of(&folder.join(file))?),
            (None, None) if !rules.signed => None,
            _ => return Err(wrong("give either secret or secretFile: every call is signed".to_owned())),
        };
        let secret = secret.map(|secret| key(secret.trim()).map_err(&wrong)).transpose()?;
        let timeout = self.timeout.as_deref().unwrap_or("10s");
        let timeout = timeout.parse::<jiff::SignedDuration>().ok().and_then(|span| span.try_into().ok());
        let timeout = timeout.filter(|span: &Duration| !span.is_zero() && *span <= rules.longest);
        let timeout = timeout.ok_or_else(|| {
            wrong(format!("timeout: write a duration such as 5s, {} s at most", rules.longest.as_secs()))
        })?;
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| wrong(format!("headers: {name} is no header")))?;
            let value =
                value.parse().map_err(|_| wrong(format!("headers: the value of {name} has control letters")))?;
            headers.push((name, value));
        }
        let authority = match (&self.ca, &self.ca_file) {
            (Some(ca), None) => Some(ca.clone()),
            (None, Some(file)) => Some(text_of(&folder.join(file))?),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(wrong("give either ca or caFile".to_owned())),
        };
        let client = call::caller(authority.as_deref()).map_err(wrong)?;
        Ok(Endpoint { name: self.name, url, secret, timeout, headers, client })
    }
}

/// Reads a list, YAML or JSON, whose elements have names, and makes each of them ready.
///
/// # Errors
/// What cannot be read or used; a name that is there twice.
pub fn read<W: DeserializeOwned, R>(
    file: &Path,
    what: &'static str,
    ready: impl Fn(W, &Path) -> Result<(String, R), Error>,
) -> Result<BTreeMap<String, R>, Error> {
    let text = text_of(file)?;
    let malformed = |message: String| Error::Malformed { file: file.to_owned(), what, message };
    let written: Vec<W> = serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut all = BTreeMap::new();
    for element in written {
        let (name, element) = ready(element, folder)?;
        if all.insert(name.clone(), element).is_some() {
            return Err(malformed(format!("{name} is there twice")));
        }
    }
    Ok(all)
}

fn text_of(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|source| Error::File { file: file.to_owned(), source })
}

/// The key of a secret: `whsec_` and base64, as Standard Webhooks writes it, or the text as it is.
fn key(secret: &str) -> Result<Vec<u8>, String> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|error| format!("secret: behind whsec_ is no base64: {error}"))?
        }
        None => secret.as_bytes().to_vec(),
    };
    if key.len() < 16 {
        return Err(format!("secret: {} bytes are too few, write at least 16", key.len()));
    }
    Ok(key)
}
