//! The unfinished instances in memory: compact, and never older than what this operator wrote itself.

use crate::api::{NameRef, WorkflowInstance, WorkflowInstanceSpec, WorkflowInstanceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// An instance as it came from the API server: spec and status stay text until they are needed. Ten thousand of them fit into
/// little memory, and one that this version cannot read does not stop the watch.
#[derive(Clone, Debug, Deserialize)]
pub struct Live {
    metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// An instance, read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The instance, with its spec.
    pub instance: WorkflowInstance,
    /// The status, empty where none was written yet.
    pub status: WorkflowInstanceStatus,
}

/// What is sent to write a status: the spec goes back as it came.
#[derive(Serialize)]
pub struct StatusUpdate<'a> {
    #[serde(rename = "apiVersion")]
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
    metadata: &'a ObjectMeta,
    spec: Option<&'a RawValue>,
    status: &'a WorkflowInstanceStatus,
}

impl Live {
    /// Reads spec and status.
    ///
    /// # Errors
    /// When they are not what this version knows.
    pub fn parse(&self) -> Result<Parsed, serde_json::Error> {
        let spec: WorkflowInstanceSpec = serde_json::from_str(self.spec.as_ref().map_or("{}", |raw| raw.get()))?;
        let status: WorkflowInstanceStatus = serde_json::from_str(self.status.as_ref().map_or("{}", |raw| raw.get()))?;
        let mut instance = WorkflowInstance::new(&self.name_any(), spec);
        instance.metadata = self.metadata.clone();
        Ok(Parsed { instance, status })
    }

    /// The name of the definition that it runs on, if it names one.
    #[must_use]
    pub fn definition(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            workflow_ref: Option<NameRef>,
        }
        let named: Named = serde_json::from_str(self.spec.as_ref()?.get()).ok()?;
        named.workflow_ref.map(|reference| reference.name)
    }

    /// The change request that it was opened for, by name.
    #[must_use]
    pub fn change_request(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            change_ref: Option<NameRef>,
        }
        let named: Named = serde_json::from_str(self.spec.as_ref()?.get()).ok()?;
        named.change_ref.map(|reference| reference.name)
    }

    /// This instance with another status, to be written with the resourceVersion that it was read at.
    #[must_use]
    pub fn with_status<'a>(&'a self, status: &'a WorkflowInstanceStatus) -> StatusUpdate<'a> {
        StatusUpdate {
            api_version: WorkflowInstance::api_version(&()),
            kind: WorkflowInstance::kind(&()),
            metadata: &self.metadata,
            spec: self.spec.as_deref(),
            status,
        }
    }

    /// Drops what nothing reads.
    pub fn compact(&mut self) {
        let kept = std::mem::take(&mut self.metadata);
        self.metadata = ObjectMeta {
            name: kept.name,
            namespace: kept.namespace,
            uid: kept.uid,
            resource_version: kept.resource_version,
            generation: kept.generation,
            creation_timestamp: kept.creation_timestamp,
            deletion_timestamp: kept.deletion_timestamp,
            ..ObjectMeta::default()
        };
    }

    /// The resourceVersion as the number that it is on every etcd-backed server; 0 where it is something else.
    fn version(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
    }
}

impl Resource for Live {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        WorkflowInstance::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        WorkflowInstance::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        <WorkflowInstance as Resource>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        WorkflowInstance::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What this operator wrote and its watch has not shown yet: without it, the next signal of a busy instance would be judged on
/// a stale copy, and the write be refused.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, Arc<Live>>>);

impl Written {
    /// The newer one of what the watch shows and what was written.
    pub fn newest(&self, watched: Arc<Live>) -> Arc<Live> {
        let uid = watched.uid().unwrap_or_default();
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&uid) {
            Some(own) if own.version() > watched.version() => own.clone(),
            Some(_) => {
                written.remove(&uid);
                watched
            }
            None => watched,
        }
    }

    /// Remembers what was written.
    pub fn wrote(&self, live: Arc<Live>) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(live.uid().unwrap_or_default(), live);
    }

    /// Forgets an instance that the watch has let go.
    pub fn forget(&self, live: &Live) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(&live.uid().unwrap_or_default());
    }
}
