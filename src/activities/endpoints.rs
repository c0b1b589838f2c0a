//! The endpoints that activities may call: of the operator's configuration alone, never of a definition.

use crate::engine::activity::endpoint_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// The endpoints, by name.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<BTreeMap<String, Endpoint>>);

/// One endpoint, ready to be called.
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// What calls are signed with.
    pub(super) secret: Vec<u8>,
    pub(super) timeout: std::time::Duration,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) client: super::http::Caller,
}

/// Why the endpoints cannot be used.
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
    #[error("{file} is no list of endpoints: {message}", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An endpoint cannot be called.
    #[error("endpoint {name}: {message}")]
    Endpoint {
        /// The endpoint.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// An endpoint, as the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    name: String,
    url: String,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    timeout: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    ca: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Endpoints {
    /// Reads a list of endpoints, YAML or JSON. Files that it names are beside it, unless their paths are absolute.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = text_of(file)?;
        let malformed = |message: String| Error::Malformed { file: file.to_owned(), message };
        let written: Vec<Written> = serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut endpoints = BTreeMap::new();
        for endpoint in written {
            let name = endpoint.name.clone();
            if endpoints.insert(name.clone(), endpoint.ready(folder)?).is_some() {
                return Err(malformed(format!("{name} is there twice")));
            }
        }
        Ok(Self(Arc::new(endpoints)))
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Endpoint> {
        self.0.get(name)
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secrets.
        f.debug_tuple("Endpoints").field(&self.names()).finish()
    }
}

impl Written {
    fn ready(self, folder: &Path) -> Result<Endpoint, Error> {
        let wrong = |message: String| Error::Endpoint { name: self.name.clone(), message };
        endpoint_name(&self.name).map_err(&wrong)?;
        let url = Url::parse(&self.url).map_err(|error| wrong(format!("url: {error}")))?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !plain || url.fragment().is_some() {
            return Err(wrong("url: write https://host/path, without user, query and fragment".to_owned()));
        }
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => secret.clone(),
            (None, Some(file)) => text_of(&folder.join(file))?,
            _ => return Err(wrong("give either secret or secretFile: every call is signed".to_owned())),
        };
        let secret = key(secret.trim()).map_err(&wrong)?;
        let timeout = self.timeout.as_deref().unwrap_or("10s");
        let timeout = timeout.parse::<jiff::SignedDuration>().ok().and_then(|span| span.try_into().ok());
        let timeout = timeout.filter(|span: &std::time::Duration| !span.is_zero() && *span <= super::PATIENCE);
        let timeout = timeout.ok_or_else(|| {
            wrong(format!("timeout: write a duration such as 5s, {} s at most", super::PATIENCE.as_secs()))
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
        let client = super::http::caller(authority.as_deref()).map_err(wrong)?;
        Ok(Endpoint { url, secret, timeout, headers, client })
    }
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

#[cfg(test)]
mod tests {
    use super::Endpoints;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl\n").expect("written");
        let file = folder.path().join("endpoints.yaml");
        std::fs::write(&file, text).expect("written");
        Endpoints::read(&file).map(|endpoints| endpoints.names()).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_are_read_from_yaml_and_json() {
        let yaml = "- {name: ca-revoke, url: 'https://ca.example.com/v1', secretFile: secret, timeout: 5s}\n- {name: tickets, url: 'http://tickets:8080', secret: sixteen-letters-or-more, headers: {X-Team: pki}}";
        assert_eq!(read(yaml), Ok(vec!["ca-revoke".to_owned(), "tickets".to_owned()]));
        assert_eq!(read(r#"[{"name":"a","url":"https://a","secretFile":"secret"}]"#), Ok(vec!["a".to_owned()]));
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_names_the_endpoint() {
        for (line, told) in [
            ("{name: a, url: 'ftp://a', secretFile: secret}", "endpoint a: url: write https://host/path"),
            ("{name: a, url: 'https://user:x@a', secretFile: secret}", "endpoint a: url: write https://host/path"),
            ("{name: A b, url: 'https://a', secretFile: secret}", "endpoint A b: \"A b\" is no name of an endpoint"),
            ("{name: a, url: 'https://a'}", "endpoint a: give either secret or secretFile"),
            ("{name: a, url: 'https://a', secret: short}", "endpoint a: secret: 5 bytes are too few"),
            ("{name: a, url: 'https://a', secret: whsec_!}", "endpoint a: secret: behind whsec_ is no base64"),
            ("{name: a, url: 'https://a', secretFile: secret, timeout: 1h}", "endpoint a: timeout: write a duration"),
            (
                "{name: a, url: 'https://a', secretFile: secret, headers: {a b: c}}",
                "endpoint a: headers: a b is no header",
            ),
            ("{name: a, url: 'https://a', secretFile: secret, caFile: secret}", "endpoint a: ca: "),
            ("{name: a, url: 'https://a', secretFile: missing}", "missing cannot be read"),
        ] {
            let why = read(&format!("[{line}]")).expect_err("refused");
            assert!(why.contains(told), "{why}");
        }
    }
}
