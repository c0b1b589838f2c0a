//! An instance as it stands, for those who tell people about it: nothing is judged here.

use crate::api::seconds;
use crate::controllers::Context;
use crate::controllers::instances::gather::{is_judged, signals_of};
use crate::controllers::instances::live::Parsed;
use crate::controllers::instances::signals::fact;
use crate::controllers::revisions::{self, Revision};
use crate::directory::Snapshot;
use crate::engine::graph::Graph;
use crate::engine::{Definition, Facts, Instance, Object, Proof, Settings, Signal};
use jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;

/// Why it cannot be told how an instance stands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The snapshot that it runs on cannot be read.
    #[error(transparent)]
    Revision(#[from] revisions::Error),
    /// Its signals cannot be listed.
    #[error(transparent)]
    Signals(#[from] crate::controllers::instances::Error),
}

/// A started instance, with everything that it is told by.
pub struct Standing {
    /// The instance.
    pub parsed: Arc<Parsed>,
    /// What it runs on.
    pub revision: Arc<Revision>,
    /// The graph of that.
    pub graph: Arc<Graph>,
    /// The directory of this moment.
    pub directory: Arc<Snapshot>,
    recorded: Vec<Signal>,
    proof: Proof,
    now: Timestamp,
    namespace: String,
    name: String,
    uid: String,
}

impl Standing {
    /// Gathers it; none when it has not started, or when its snapshot is lost or cannot be used (the instance itself says so).
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn of(parsed: Arc<Parsed>, context: &Context) -> Result<Option<Self>, Error> {
        let Some(name) = &parsed.status.revision else { return Ok(None) };
        let revision = match context.revisions.load(name).await {
            Ok(Some(revision)) => revision,
            Ok(None) | Err(revisions::Error::Unusable(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(graph) = &revision.graph else { return Ok(None) };
        let graph = graph.clone();
        let mut recorded = Vec::new();
        if graph.reads_decisions() {
            recorded =
                signals_of(&parsed, context).await?.iter().filter(|signal| is_judged(signal)).map(fact).collect();
        }
        Ok(Some(Self {
            namespace: parsed.instance.namespace().unwrap_or_default(),
            name: parsed.instance.name_any(),
            uid: parsed.instance.uid().unwrap_or_default(),
            directory: context.directory.snapshot(),
            proof: context.prover.proof(),
            now: context.clock.now(),
            parsed,
            revision,
            graph,
            recorded,
        }))
    }

    /// The same for the engine.
    pub fn facts<'a>(&'a self, settings: &'a Settings) -> Facts<'a> {
        Facts {
            instance: Instance {
                namespace: &self.namespace,
                name: &self.name,
                uid: &self.uid,
                generation: self.parsed.instance.metadata.generation,
                created_at: self.parsed.instance.metadata.creation_timestamp.as_ref().map_or(i64::MAX, seconds),
                spec: &self.parsed.instance.spec,
            },
            status: &self.parsed.status,
            definition: Definition::Usable {
                graph: &self.graph,
                revision: self.parsed.status.revision.as_deref().unwrap_or_default(),
            },
            newest: None,
            signals: &[],
            recorded: &self.recorded,
            seen_until: i64::MIN,
            directory: &self.directory,
            settings,
            proof: &self.proof,
            object: Object::None,
            performed: None,
            now: self.now,
        }
    }
}
