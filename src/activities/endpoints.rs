//! The endpoints that activities may call: of the operator's configuration alone, never of a definition.

pub use crate::endpoints::Error;
use crate::endpoints::{Endpoint, Rules, Written, read};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The endpoints, by name.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<BTreeMap<String, Endpoint>>);

const RULES: Rules = Rules { what: "endpoint", signed: true, query: false, longest: super::PATIENCE };

/// An endpoint, as the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Listed {
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
        let endpoints = read(file, "endpoints", |listed: Listed, folder| {
            let Listed { name, url, secret, secret_file, timeout, headers, ca, ca_file } = listed;
            let written = Written { name, url, secret, secret_file, timeout, headers, ca, ca_file };
            let endpoint = written.ready(folder, RULES)?;
            Ok((endpoint.name.clone(), endpoint))
        })?;
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
