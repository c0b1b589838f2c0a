//! Change requests, written by hand: from asking to what is carried out. What the gate holds is tried elsewhere.
//!
//! - [`asked`]: who is asked, in which order, and what an answer does
//! - [`carried_out`]: in the name of the requester, or not
//! - [`forged`]: the attacks on change requests, by their numbers
//!
//! The server that fills in who sends what is also the one whose operator may carry changes out.

mod asked;
mod carried_out;
mod forged;

use crate::eventually;
use crate::scene::*;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};

impl Scene<'_> {
    /// A gate for the ConfigMaps of this namespace, with a workflow of these nodes; `more` goes into the spec of the process.
    #[allow(clippy::needless_pass_by_value, reason = "it is written at the call: json!(…)")]
    pub async fn gate(&self, name: &str, nodes: Value, more: Value) -> ApprovalProcess {
        let definition: WorkflowDefinition = self.has(name, json!({"nodes": nodes})).await;
        self.ready(&definition, "True").await;
        let mut spec = json!({
            "event": {"gate": {
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": [{"apiGroups": [""], "resources": ["configmaps"]}],
                "namespaces": {"names": [self.namespace]},
                "initiators": {"exclude": {"users": [self.admin.name()]}},
                "matchConditions": [{"name": "not-of-kubernetes", "expression": "request.name != 'kube-root-ca.crt'"}],
            }},
            "workflowRef": {"name": definition.name_any()},
        });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let process: ApprovalProcess = self.has(name, spec).await;
        self.ready(&process, "True").await;
        process
    }

    /// Lets somebody edit everything that is usual in this namespace.
    pub async fn may_edit(&self, person: &Person) {
        let user = format!("--user={}", person.name());
        let name = format!("edit-{}", person.name());
        self.kubectl(&["create", "rolebinding", &name, "--clusterrole=edit", &user]).await.ok().unwrap();
        let asked = ["auth", "can-i", "create", "configmaps", "--as", person.name()];
        eventually("the API server knows the right", async || self.kubectl(&asked).await.success().then_some(())).await;
    }

    /// Waits until something holds of the status of a change request.
    pub async fn until_change(
        &self,
        request: &ChangeRequest,
        what: &str,
        holds: impl Fn(&ChangeRequestStatus) -> bool,
    ) -> ChangeRequestStatus {
        let mut last = None;
        let name = request.name_any();
        eventually(&format!("{name}: {what}"), async || {
            let found = self.now(request).await;
            if last.as_ref() != Some(&found) {
                println!("{name}: {:?}", found.status);
                last = Some(found.clone());
            }
            found.status.filter(&holds)
        })
        .await
    }

    /// Waits until every change of a request has come to its end; gives their states, in order.
    pub async fn completed(&self, request: &ChangeRequest) -> Vec<ChangeState> {
        let status = self.until_change(request, "it is complete", |status| status.completed_at.is_some()).await;
        assert!(is_true(&status.conditions, "Completed"), "{:?}", status.conditions);
        status.changes.iter().map(|change| change.state).collect()
    }

    /// Waits until a condition of the request has a status and a reason; gives the message.
    pub async fn tells(&self, request: &ChangeRequest, type_: &str, status: &str, reason: &str) -> String {
        let says = |found: &ChangeRequestStatus| {
            condition(&found.conditions, type_).is_some_and(|c| c.status == status && c.reason == reason)
        };
        let found = self.until_change(request, &format!("{type_}={status}, {reason}"), says).await;
        condition(&found.conditions, type_).unwrap().message.clone()
    }

    /// Waits for the instance that a process has for a change, until people are asked.
    pub async fn asked_for(
        &self,
        request: &ChangeRequest,
        change: &str,
        process: &ApprovalProcess,
    ) -> WorkflowInstance {
        let mut found = self.all_asked_for(request, change, process, 1).await;
        found.pop().unwrap()
    }

    /// The same where each subject has one: so many.
    pub async fn all_asked_for(
        &self,
        request: &ChangeRequest,
        change: &str,
        process: &ApprovalProcess,
        count: usize,
    ) -> Vec<WorkflowInstance> {
        let process = process.name_any();
        let names = |status: &ChangeRequestStatus| -> Vec<String> {
            let change = status.changes.iter().find(|found| found.name == change).unwrap();
            let own = change.instances.iter().filter(|instance| instance.process == process);
            own.map(|instance| instance.name.clone()).collect()
        };
        let opened = |status: &ChangeRequestStatus| !status.changes.is_empty() && names(status).len() == count;
        let status = self.until_change(request, &format!("{process} asks about {change}"), opened).await;
        let mut asked = Vec::new();
        for name in names(&status) {
            let api = self.admin.sees::<WorkflowInstance>();
            let found = eventually(&format!("{name} is there"), async || api.get_opt(&name).await.unwrap()).await;
            asked.push(self.asking(&found).await);
        }
        asked
    }

    /// The ConfigMap of that name, if it is there.
    pub async fn config_map(&self, name: &str) -> Option<ConfigMap> {
        let api: Api<ConfigMap> = Api::namespaced(self.admin.client.clone(), &self.namespace);
        api.get_opt(name).await.unwrap()
    }
}

impl Person {
    /// Asks for changes.
    pub async fn asks(&self, scene: &Scene<'_>, name: &str, spec: Value) -> ChangeRequest {
        self.tries_to_ask(scene, name, spec).await.unwrap()
    }

    /// Asks for changes, or is refused.
    pub async fn tries_to_ask(&self, scene: &Scene<'_>, name: &str, mut spec: Value) -> kube::Result<ChangeRequest> {
        self.fill_in(&mut spec, "requester");
        self.creates(&scene.namespace, json!({"metadata": {"name": name}, "spec": spec})).await
    }
}

/// A change that makes a ConfigMap.
fn create(name: &str) -> Value {
    json!({"name": name, "operation": "Create", "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": name}}})
}

/// One step: whoever is of that group.
pub fn one_of(group: &str) -> Value {
    json!([{"name": "check", "approval": {"approvers": [{"group": group}]}}])
}
