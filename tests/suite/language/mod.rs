//! What a workflow can say, each story end to end: from the objects that people write to what they see.
//!
//! - [`steps`]: partitions in parallel, fields, separation of duties
//! - [`conditions`]: the facts decide
//! - [`sources`]: who is asked
//! - [`processes`]: certificate requests, from the event to what is written back
//! - [`delegations`]: standing substitutes and hand-over
//! - [`time`]: deadlines, escalations, calendars
//! - [`activities`]: what the operator does by itself
//! - [`administrators`]: what is no vote
//! - [`shown`]: diagrams, warnings, columns; what follows when the directory changes

mod activities;
mod administrators;
mod conditions;
mod delegations;
mod processes;
mod shown;
mod sources;
mod steps;
mod time;

use crate::scene::*;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

impl Scene<'_> {
    /// A person of the directory: an Identity of this spec, whose name and username are [made unique](Scene::unique).
    pub async fn person(&self, name: &str, mut spec: Value) -> Person {
        let username = self.unique(name);
        spec["username"] = json!(username);
        let identity: Identity = self.has(name, spec).await;
        self.ready(&identity, "True").await;
        self.as_user(&username, &[]).await
    }

    /// A role with these members.
    pub async fn role(&self, name: &str, members: &[&Person]) -> BusinessRole {
        let members: Vec<_> = members.iter().map(|person| json!({"identity": person.name()})).collect();
        self.role_of(name, json!({"members": members})).await
    }

    /// A role of this spec.
    pub async fn role_of(&self, name: &str, spec: Value) -> BusinessRole {
        let role: BusinessRole = self.has(name, spec).await;
        self.ready(&role, "True").await;
        role
    }

    /// A definition of these nodes that can be used.
    #[allow(clippy::needless_pass_by_value, reason = "it is written at the call: json!(…)")]
    pub async fn workflow(&self, name: &str, nodes: Value) -> WorkflowDefinition {
        let definition: WorkflowDefinition = self.has(name, json!({"nodes": nodes})).await;
        self.ready(&definition, "True").await;
        definition
    }

    /// What an object outside of the namespace is now.
    pub async fn found<K>(&self, object: &K) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        Api::all(self.admin.client.clone()).get(&object.name_any()).await.unwrap()
    }

    /// The status of the instance as it is now.
    pub async fn status(&self, instance: &WorkflowInstance) -> WorkflowInstanceStatus {
        self.now(instance).await.status.unwrap()
    }

    /// Who is asked in the first open task, by name.
    pub async fn asked(&self, instance: &WorkflowInstance) -> Vec<String> {
        names_asked(&self.status(instance).await)
    }
}

/// The reference to a definition, as the spec of an instance has it.
pub fn runs(definition: &WorkflowDefinition) -> Value {
    json!({"workflowRef": {"name": definition.name_any()}})
}

/// Who is asked in the tasks, by name.
pub fn names_asked(status: &WorkflowInstanceStatus) -> Vec<String> {
    let summaries = status.tasks.iter().flat_map(|task| &task.approvers);
    summaries.flat_map(|summary| summary.names.clone()).collect()
}
