//! The snapshots that instances run on: `ControllerRevisions` in the operator's namespace, named by their content.

use crate::engine::graph::{Fault, Graph};
use crate::engine::revision::{Content, Unusable};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// How many snapshots are kept in memory.
const KEPT: usize = 1000;

/// Why a snapshot is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("ControllerRevision {name}: {source}")]
    Api {
        /// The snapshot.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// What is stored under the name is something else.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It cannot be written as JSON.
    #[error("a definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A snapshot, checked and compiled.
#[derive(Debug)]
pub struct Revision {
    /// What it holds.
    pub content: Content,
    /// The graph, or what is wrong with it for this version of the operator.
    pub graph: Result<Arc<Graph>, Vec<Fault>>,
}

/// Reads and writes snapshots. What has been read once is kept: a name stands for its content.
pub struct Revisions {
    api: Api<ControllerRevision>,
    known: Mutex<HashMap<String, Arc<Revision>>>,
}

impl Revisions {
    /// Snapshots in that namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), known: Mutex::default() }
    }

    /// The snapshot of that name; none when there is no such object.
    ///
    /// # Errors
    /// When the API server does not answer, or its content is not what its name says.
    pub async fn load(&self, name: &str) -> Result<Option<Arc<Revision>>, Error> {
        if let Some(known) = self.known().get(name) {
            return Ok(Some(known.clone()));
        }
        let found = self.api.get_opt(name).await.map_err(|source| Error::Api { name: name.to_owned(), source })?;
        let Some(found) = found else { return Ok(None) };
        let content = Content::read(name, &found.data.unwrap_or(RawExtension(serde_json::Value::Null)).0)?;
        Ok(Some(self.keep(name, content)))
    }

    /// Stores a snapshot unless it is there, and checks that what is there is it.
    ///
    /// # Errors
    /// When it cannot be stored, or something else has its name.
    pub async fn ensure(&self, content: &Content) -> Result<String, Error> {
        let name = content.name()?;
        if self.known().contains_key(&name) {
            return Ok(name);
        }
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(BTreeMap::from([("app.kubernetes.io/name".to_owned(), "quorate".to_owned())])),
                annotations: Some(BTreeMap::from([("quorate.dev/workflow".to_owned(), content.workflow_name.clone())])),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(serde_json::to_value(content)?)),
            revision: 1,
        };
        match self.api.create(&PostParams::default(), &revision).await {
            Ok(_) => {
                self.keep(&name, content.clone());
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.load(&name).await?;
            }
            Err(source) => return Err(Error::Api { name, source }),
        }
        Ok(name)
    }

    fn keep(&self, name: &str, content: Content) -> Arc<Revision> {
        let revision = Arc::new(Revision { graph: content.compile().map(Arc::new), content });
        let mut known = self.known();
        // Every workflow that an instance brings along has a snapshot of its own: what was not asked for lately is read again.
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(name.to_owned(), revision.clone());
        drop(known);
        revision
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Revision>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
