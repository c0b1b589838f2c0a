//! What the parts of the gate share: its settings, its secrets, its certificate, and what the API server is known to have.

use super::certificates::Generation;
use crate::api::ApprovalProcess;
use crate::runtime::watch::Changes;
use jiff::SignedDuration;
use kube::ResourceExt as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the gate is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the API server reaches it; none: through the Service of the chart.
    pub url: Option<url::Url>,
    /// Who signs the client certificates that it demands; none: it demands none.
    pub client_authorities: Option<PathBuf>,
    /// How long its own certificates are valid.
    pub certificate_lifetime: SignedDuration,
}

/// What only operator and API server know. Shared by all replicas.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Secrets {
    /// The part of the path that nobody can guess.
    pub token: String,
    /// What digests of redacted payloads are keyed with.
    pub key: Vec<u8>,
    /// The certificates, the oldest first.
    pub generations: Vec<Generation>,
}

/// What the API server is known to have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// The processes whose rules it has, with the generation that the rules are of.
    pub generations: BTreeMap<String, Option<i64>>,
    /// What is wrong with a process in this cluster.
    pub faults: BTreeMap<String, Vec<String>>,
    /// Why nothing can be said about any of them.
    pub broken: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    secrets: Secrets,
    certificate: Option<Arc<CertifiedKey>>,
    loaded: Loaded,
    /// Under which name the server made what a request with a generated name was claimed for, by the uid of the request.
    claimed: BTreeMap<String, String>,
}

/// The gate, as its parts share it.
#[derive(Debug)]
pub struct Gate {
    /// How it is run; none: it is switched off.
    pub settings: Option<Settings>,
    /// Told when what the API server has changes.
    pub changes: Changes,
    state: Mutex<State>,
    alone: tokio::sync::Mutex<()>,
}

/// How many names are remembered: far more than are claimed in the time that a call is repeated in.
const CLAIMED: usize = 4096;

impl Gate {
    /// A gate that does not work yet.
    #[must_use]
    pub fn new(settings: Option<Settings>) -> Self {
        Self { settings, changes: Changes::default(), state: Mutex::default(), alone: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of digests; none before it was read.
    #[must_use]
    pub fn key(&self) -> Option<Vec<u8>> {
        Some(self.state().secrets.key.clone()).filter(|key| !key.is_empty())
    }

    /// Whether this is the secret part of the path.
    #[must_use]
    pub fn knows(&self, token: &str) -> bool {
        use sha2::{Digest as _, Sha256};
        let known = self.state().secrets.token.clone();
        // Hashes are compared: how long that takes says nothing about the token.
        !known.is_empty() && Sha256::digest(known.as_bytes()) == Sha256::digest(token.as_bytes())
    }

    /// Whether it can be connected to.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.state().certificate.is_some()
    }

    /// Takes secrets in, and the certificate that is served from now on.
    pub fn take(&self, secrets: Secrets, certificate: Arc<CertifiedKey>) {
        let mut state = self.state();
        state.secrets = secrets;
        state.certificate = Some(certificate);
    }

    /// Takes in what the API server has.
    pub fn tell(&self, loaded: Loaded) {
        let mut state = self.state();
        if state.loaded != loaded {
            state.loaded = loaded;
            self.changes.announce();
        }
    }

    /// What is wrong with a process in this cluster, for whoever judges by it: it is never that its rules are on their way.
    #[must_use]
    pub fn faults(&self, process: &ApprovalProcess) -> Vec<String> {
        if process.spec.event.gate.is_none() {
            return Vec::new();
        }
        if self.settings.is_none() {
            return vec![
                "spec.event.gate: the gate is switched off; install the chart with gate.enabled=true".to_owned(),
            ];
        }
        self.state().loaded.faults.get(&process.name_any()).cloned().unwrap_or_default()
    }

    /// Why the API server is not known to hold back what the process is about; none when it does.
    #[must_use]
    pub fn waits(&self, process: &ApprovalProcess) -> Option<String> {
        process.spec.event.gate.as_ref()?;
        self.settings.as_ref()?;
        let state = self.state();
        if let Some(why) = &state.loaded.broken {
            return Some(format!("spec.event.gate: {why}"));
        }
        let has = state.loaded.generations.get(&process.name_any()) == Some(&process.metadata.generation);
        (!has).then(|| "spec.event.gate: the API server does not have its rules yet".to_owned())
    }

    /// For claims that are written and remembered one after the other.
    pub async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// Remembers the name under which the server makes what a request was claimed for.
    pub fn claim(&self, request: &str, name: &str) {
        let mut state = self.state();
        if state.claimed.len() >= CLAIMED {
            state.claimed.clear();
        }
        state.claimed.insert(request.to_owned(), name.to_owned());
    }

    /// Whether a request was claimed for what the server makes under this name.
    #[must_use]
    pub fn claimed(&self, request: &str, name: &str) -> bool {
        self.state().claimed.get(request).is_some_and(|claimed| claimed == name)
    }

    /// The name or address that its certificate is for.
    #[must_use]
    pub fn host(&self, namespace: &str) -> String {
        let url = self.settings.as_ref().and_then(|settings| settings.url.as_ref());
        let host = url.and_then(|url| url.host_str()).map(|host| host.trim_matches(['[', ']']).to_owned());
        host.unwrap_or_else(|| format!("quorate.{namespace}.svc"))
    }

    /// How the API server reaches it.
    #[must_use]
    pub fn client(&self, namespace: &str) -> Value {
        let path = format!("/gate/{}", self.state().secrets.token);
        match self.settings.as_ref().and_then(|settings| settings.url.as_ref()) {
            Some(url) => json!({"url": format!("{}{path}", url.as_str().trim_end_matches('/'))}),
            None => json!({"service": {"namespace": namespace, "name": "quorate", "port": 443, "path": path}}),
        }
    }
}

impl ResolvesServerCert for Gate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.state().certificate.clone()
    }
}
