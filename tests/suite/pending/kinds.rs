//! The kinds of these tests: cert-manager's request as its CRD has it, as far as an approver sees it, and made-up ones.

use crate::requests::{Subject, pkcs10};
use crate::scene::*;
use crate::{Cluster, eventually};
use base64::Engine as _;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use quorate::api::*;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A kind: group, version, kind, plural.
pub type Kind = [&'static str; 4];

/// cert-manager's requests.
pub const CERTIFICATE_REQUESTS: Kind = ["cert-manager.io", "v1", "CertificateRequest", "certificaterequests"];
/// Whatever somebody wants to send: the outcome goes into the status.
pub const PARCELS: Kind = ["example.com", "v1", "Parcel", "parcels"];

/// The values that let the operator work with them.
const VALUES: &[&str] = &[
    "pending.resources[0].apiGroups[0]=cert-manager.io",
    "pending.resources[0].resources[0]=certificaterequests",
    "pending.resources[0].subresources[0]=status",
    "pending.resources[1].apiGroups[0]=example.com",
    "pending.resources[1].resources[0]=parcels",
    "pending.resources[1].subresources[0]=status",
    "collections.resources[0].apiGroups[0]=example.com",
    "collections.resources[0].resources[0]=parcels",
];

/// A `CustomResourceDefinition` with a status; spec and status hold anything.
pub fn crd([group, version, kind, plural]: Kind, scope: &str) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}],
        },
    })
}

/// The fields of a `CertificateRequest` that cert-manager v1 has, pruned and checked as its own CRD does.
fn certificate_requests() -> Value {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let issuer =
        json!({"type": "object", "required": ["name"], "properties": {"group": text, "kind": text, "name": text}});
    let condition = json!({
        "type": "object",
        "required": ["status", "type"],
        "properties": {
            "type": text,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": text,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    });
    let conditions = json!({
        "type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    });
    let spec = json!({
        "type": "object",
        "required": ["issuerRef", "request"],
        "properties": {
            "request": {"type": "string", "format": "byte"}, "issuerRef": issuer, "isCA": {"type": "boolean"},
            "duration": text, "usages": texts, "username": text, "uid": text, "groups": texts,
            "extra": {"type": "object", "additionalProperties": texts},
        },
    });
    let status = json!({
        "type": "object",
        "properties": {
            "conditions": conditions, "certificate": {"type": "string", "format": "byte"},
            "ca": {"type": "string", "format": "byte"}, "failureTime": {"type": "string", "format": "date-time"},
        },
    });
    let mut crd = crd(CERTIFICATE_REQUESTS, "Namespaced");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = json!({"spec": spec, "status": status});
    crd
}

static KINDS: OnceCell<Cluster> = OnceCell::const_new();

/// The cluster whose operator may work with these kinds, shared by the tests about them.
pub async fn kinds() -> &'static Cluster {
    KINDS.get_or_init(kinds_alone).await
}

/// Such a cluster for one test.
pub async fn kinds_alone() -> Cluster {
    let cluster = Cluster::start_with(true, VALUES, &[]).await;
    for crd in [certificate_requests(), crd(PARCELS, "Namespaced")] {
        cluster.plane.apply(&crd.to_string()).await.unwrap().ok().unwrap();
    }
    cluster.plane.wait_kinds().await.unwrap();
    cluster
}

/// A kind as a client names it.
pub fn resource([group, version, kind, plural]: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

impl Scene<'_> {
    /// The objects of a kind in the namespace of the test, as the one who may do everything.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.client.clone(), &self.namespace, &resource(kind))
    }

    /// An object of a kind in the namespace of the test.
    pub async fn makes(&self, kind: Kind, name: &str, data: Value) -> DynamicObject {
        let mut object = DynamicObject::new(name, &resource(kind));
        object.data = data;
        self.api(kind).create(&PostParams::default(), &object).await.unwrap()
    }

    /// Every instance of the namespace.
    pub async fn instances(&self) -> Vec<WorkflowInstance> {
        self.admin.sees::<WorkflowInstance>().list(&ListParams::default()).await.unwrap().items
    }

    /// Waits for the instance that the operator opens for an object, and until people are asked.
    pub async fn opened(&self, object: &DynamicObject) -> WorkflowInstance {
        self.another(object, &[]).await
    }

    /// The same, where these instances have been opened for it before.
    pub async fn another(&self, object: &DynamicObject, before: &[&WorkflowInstance]) -> WorkflowInstance {
        let what = format!("an instance is opened for {}, besides {}", object.name_any(), before.len());
        let instance = eventually(&what, async || {
            let all = self.instances().await.into_iter();
            let mut own = all.filter(|instance| {
                let known = instance.spec.object.as_ref().and_then(|known| known["metadata"]["uid"].as_str());
                known == object.uid().as_deref() && before.iter().all(|before| before.uid() != instance.uid())
            });
            own.next()
        });
        self.asking(&instance.await).await
    }

    /// A parcel that Alice wants to send.
    pub async fn parcel(&self, name: &str, size: u32) -> DynamicObject {
        self.makes(PARCELS, name, json!({"spec": {"owner": "alice", "size": size}})).await
    }

    /// A request as cert-manager takes it from a user.
    pub async fn certificate_request(&self, name: &str, user: &str, subject: &Subject<'_>) -> DynamicObject {
        let request = base64::engine::general_purpose::STANDARD.encode(pkcs10(subject));
        let spec = json!({"request": request, "issuerRef": {"name": "ca"}, "username": user, "groups": ["staff"]});
        self.makes(CERTIFICATE_REQUESTS, name, json!({"spec": spec})).await
    }

    /// A process for the certificate requests of this test; `more` goes into its event.
    pub async fn cert_manager_process(&self, workflow: &str, more: Value) -> ApprovalProcess {
        let resources = json!([{"apiGroups": ["cert-manager.io"], "resources": ["certificaterequests"]}]);
        let mut pending = json!({"resources": resources, "matchConditions": [self.here()]});
        pending.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        self.has("requests", json!({"event": {"pending": pending}, "workflowRef": {"name": workflow}})).await
    }

    /// A process for the parcels of this test.
    pub async fn parcel_process(&self, workflow: &str) -> ApprovalProcess {
        self.has("parcels", self.parcel_spec(workflow)).await
    }

    /// What such a process is.
    pub fn parcel_spec(&self, workflow: &str) -> Value {
        let writing = |phase: &str| {
            let status = json!({"phase": phase, "told": "${message}", "at": "${now}"});
            json!({"subresource": "status", "patch": {"status": status}})
        };
        let pending = json!({
            "resources": [{"apiGroups": ["example.com"], "resources": ["parcels"]}],
            "matchConditions": [self.here()],
            "writeBack": {"approved": writing("${outcome}"), "rejected": writing("Refused")},
        });
        json!({"event": {"pending": pending}, "initiator": "object.spec.owner", "workflowRef": {"name": workflow}})
    }

    /// That an object is one of this test.
    fn here(&self) -> Value {
        json!({"name": "here", "expression": format!("object.metadata.namespace == '{}'", self.namespace)})
    }
}
