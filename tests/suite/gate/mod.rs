//! The gate: live operations on the API server that are held back until they are approved.
//!
//! - [`ways`]: every way of changing something is held, once, and a dry run changes nothing
//! - [`attacks`]: 14–17, 20, 22, 24, 37, 42, 43, ways around the gate
//! - [`carried`]: what the operator carries out itself; two operators; service accounts
//! - [`phases`]: several processes, before and after; one instance per subject
//! - [`glass`]: what passes without approval, with a reason
//! - [`away`]: 25, an operator that is down, slow or not trusted, and certificates that are renewed
//! - [`crowd`]: many people at the same time
//! - [`granted`]: 27, what was approved passes once, and nothing else

mod attacks;
mod away;
mod carried;
mod crowd;
mod glass;
mod granted;
mod phases;
mod ways;

use crate::cluster::Output;
use crate::scene::*;
use crate::{Cluster, eventually};
use kube::ResourceExt;
use kube::api::ListParams;
use quorate::api::*;
use serde_json::{Value, json};

/// A namespace in which everybody may change everything, and where configmaps and deployments are gated.
pub struct Gated<'a> {
    pub scene: Scene<'a>,
    pub process: ApprovalProcess,
}

/// What two of a group have to approve.
pub fn two_approvers() -> Value {
    json!({"nodes": [{"name": "check", "approval": {"approvers": [{"group": "enrollment-approvers"}], "required": 2}}]})
}

impl<'a> Gated<'a> {
    /// A gate for configmaps and deployments, whatever is done to them.
    pub async fn start(cluster: &'a Cluster, prefix: &str) -> Self {
        let resources = json!([{"apiGroups": [""], "resources": ["configmaps", "secrets"]},
            {"apiGroups": ["apps"], "resources": ["deployments"]}]);
        Self::with(cluster, prefix, json!({"operations": ["CREATE", "UPDATE", "DELETE"], "resources": resources})).await
    }

    /// A gate in the namespace of the test.
    pub async fn with(cluster: &'a Cluster, prefix: &str, gate: Value) -> Self {
        Self::of(cluster, prefix, gate, json!({})).await
    }

    /// A gate in the namespace of the test, of a process with these fields besides.
    pub async fn of(cluster: &'a Cluster, prefix: &str, mut gate: Value, more: Value) -> Self {
        let scene = Scene::with_namespace(cluster, prefix).await;
        let bind = ["create", "rolebinding", "everybody", "--clusterrole=admin", "--group=system:authenticated"];
        scene.kubectl(&bind).await.ok().unwrap();
        let definition: WorkflowDefinition = scene.has("two", two_approvers()).await;
        scene.ready(&definition, "True").await;
        if gate.get("namespaces").is_none() {
            gate["namespaces"] = json!({"names": [scene.namespace]});
        } else if gate["namespaces"].is_null() {
            gate.as_object_mut().unwrap().remove("namespaces");
        }
        let mut spec = json!({"event": {"gate": gate}, "workflowRef": {"name": definition.name_any()}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let process: ApprovalProcess = scene.has("gate", spec).await;
        scene.ready(&process, "True").await;
        Self { scene, process }
    }

    /// The change requests of the namespace, oldest first.
    pub async fn requests(&self) -> Vec<ChangeRequest> {
        let mut all = self.scene.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items;
        all.sort_by_key(|request| (request.creation_timestamp(), request.name_any()));
        all
    }

    /// The one change request about an object of that name.
    pub async fn request_about(&self, name: &str) -> ChangeRequest {
        let about = |request: &ChangeRequest| held_of(request).name == name;
        let mut found: Vec<_> = self.requests().await.into_iter().filter(about).collect();
        let names: Vec<_> = found.iter().map(ResourceExt::name_any).collect();
        assert_eq!(found.len(), 1, "one request about {name}: {names:?}");
        found.remove(0)
    }

    /// kubectl as a person, with a standard input.
    pub async fn kubectl_as(&self, user: &str, arguments: &[&str], input: &Value) -> Output {
        self.scene.kubectl_as(user, arguments, input).await
    }

    /// What is there under that name, as the one who may do everything sees it.
    pub async fn data_of(&self, name: &str) -> Option<Value> {
        let output = self.scene.kubectl(&["get", "configmap", name, "-o", "json", "--ignore-not-found"]).await;
        let text = output.ok().unwrap();
        if text.is_empty() { None } else { Some(serde_json::from_str::<Value>(&text).unwrap()["data"].clone()) }
    }

    /// Makes an object past the gate, as the operator that is exempt: it is there before the test begins.
    pub async fn has_been(&self, object: Value) {
        let arguments = ["-n", &self.scene.namespace, "create", "-f", "-"];
        let plane = &self.scene.cluster.plane;
        let made = plane.run_tool("kubectl", &self.exempt(), &arguments, &object.to_string()).await;
        made.unwrap().ok().unwrap();
    }

    /// A kubeconfig that passes: the username of the operator, with all rights.
    fn exempt(&self) -> std::path::PathBuf {
        let operator = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:quorate");
        self.scene.cluster.plane.kubeconfig_for(&operator, &["system:masters"]).unwrap()
    }
}

impl Gated<'_> {
    /// Two of the group approve the request, and it is granted.
    pub async fn is_approved(&self, request: &ChangeRequest) {
        let instance = eventually("people are asked", async || {
            let status = self.scene.now(request).await.status?;
            let name = &status.changes.first()?.instances.first()?.name;
            self.scene.admin.sees::<WorkflowInstance>().get_opt(name).await.unwrap()
        });
        let instance = instance.await;
        let instance = self.scene.asking(&instance).await;
        for name in ["anna", "bert"] {
            let person = self.scene.as_user(name, &["enrollment-approvers"]).await;
            self.scene.counts(&person.approves(&instance).await).await;
        }
        eventually("the request is granted", async || {
            let status = self.scene.now(request).await.status?;
            let change = status.changes.first()?.clone();
            (change.state == ChangeState::Executed || change.grant.is_some()).then_some(())
        })
        .await;
    }
}

/// What the gate held back with a request.
pub fn held_of(request: &ChangeRequest) -> &Held {
    request.spec.changes[0].held.as_ref().unwrap()
}

/// A ConfigMap.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

/// It was refused, and people are told who must agree and what to do next.
#[track_caller]
pub fn is_held(output: &Output) {
    for part in [
        "held for approval: changerequest/gate-",
        "0 of 2 approvals from group enrollment-approvers",
        "the same command passes once approved",
    ] {
        assert!(output.status != 0 && output.stderr.contains(part), "{part:?} expected: {output:?}");
    }
}
