//! `ApprovalSignal`: one decision of one person.

use super::Actor;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decision of one person: immutable, stamped with its proven actor, judged once.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "ApprovalSignal",
    plural = "approvalsignals",
    shortname = "sig",
    category = "approvals",
    namespaced,
    status = "ApprovalSignalStatus",
    doc = "One decision of one person about a WorkflowInstance of the same namespace. The API server proves who sent it; the status says whether it counted, and if not, why.",
    validation = Rule::new("self.spec == oldSelf.spec").message("a signal is immutable: create another one"),
    selectable = ".spec.instance",
    selectable = ".spec.decision",
    selectable = ".spec.actor.username",
    selectable = ".status.reason",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Actor", type_ = "string", json_path = ".spec.actor.username"),
    printcolumn(name = "Counted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSignalSpec {
    /// The `WorkflowInstance` of this namespace that is decided.
    // A name and no path: the operator asks the API server for it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub instance: String,
    /// The uid of that instance; refused when another one has the name by now.
    #[serde(default, rename = "instanceUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub instance_uid: Option<String>,
    /// The step; may be left out while only one task is open that the actor may decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub step: Option<String>,
    /// The partition of the step; may be left out likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub partition: Option<String>,
    /// Which visit of the step is meant, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub visit: Option<u32>,
    /// What was decided.
    pub decision: Decision,
    /// Why. Reaches approvers, never the status of the instance; a rejection's also the requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub comment: Option<String>,
    /// Who decided: filled in by the API server (or by the client where the server cannot), and always checked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    #[default]
    Reject,
}

/// The verdict: written once.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSignalStatus {
    /// `Accepted`: True when the signal counted, False with the reason when it did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The reason of the verdict, e.g. `Counted` or `NotAnApprover`; empty until it is judged, so that open ones can be selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The uid of the instance that it was judged for.
    #[serde(default, rename = "instanceUID", skip_serializing_if = "Option::is_none")]
    pub instance_uid: Option<String>,
}
