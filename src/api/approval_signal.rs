//! `ApprovalSignal`: one decision of one person.

use super::Actor;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
#[x_kube(validation = Rule::new("self.decision != 'Delegate' || has(self.delegateTo)")
    .message("decision Delegate needs delegateTo: who takes the task over"))]
#[x_kube(validation = Rule::new("!(self.decision in ['Reassign', 'AddApprovers']) || has(self.approvers) != has(self.delegateTo)")
    .message("decisions Reassign and AddApprovers need either approvers, or delegateTo: one person"))]
#[x_kube(validation = Rule::new("self.decision in ['Reassign', 'AddApprovers'] || !has(self.approvers)")
    .message("approvers goes with the decisions Reassign and AddApprovers alone"))]
#[x_kube(validation = Rule::new("self.decision in ['Delegate', 'Reassign', 'AddApprovers'] || !has(self.delegateTo)")
    .message("delegateTo goes with the decisions Delegate, Reassign and AddApprovers alone"))]
#[x_kube(validation = Rule::new("self.decision in ['Approve', 'Reject'] || !has(self.fields)")
    .message("fields go with the decisions Approve and Reject alone"))]
#[x_kube(validation = Rule::new("self.decision != 'Comment' || (has(self.comment) && self.comment.size() > 0)")
    .message("decision Comment needs a comment"))]
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
    /// What an approval records, by the names of the partition's fields; values are text, e.g. `met: "true"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fields_schema")]
    pub fields: BTreeMap<String, String>,
    /// With Delegate: who takes the task over, an Identity by name or a username; yourself: you take it back. With Reassign and
    /// `AddApprovers`: one person, instead of `approvers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub delegate_to: Option<String>,
    /// With Reassign: who decides instead; with `AddApprovers`: who decides besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvers: Vec<NamedApprovers>,
    /// Who decided: filled in by the API server (or by the client where the server cannot), and always checked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// Approvers that an administrator names: exactly one of its fields is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.user) ? 1 : 0) + (has(self.group) ? 1 : 0) + (has(self.role) ? 1 : 0) == 1")
    .message("approvers are named by exactly one of user, group, role"))]
pub struct NamedApprovers {
    /// One person, by the username that the API server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub user: Option<String>,
    /// Whoever holds this Kubernetes group when they sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub group: Option<String>,
    /// The holders of this `BusinessRole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    #[default]
    Reject,
    /// Somebody else takes my task over, until I take it back.
    Delegate,
    /// A remark, without effect.
    Comment,
    /// Whoever asked withdraws the request.
    Cancel,
    /// An administrator: these decide instead of those who were asked.
    Reassign,
    /// An administrator: these decide besides those who were asked.
    AddApprovers,
    /// An administrator ends the instance: Cancelled.
    Stop,
    /// An administrator: what could not go on is tried again now.
    Retry,
    /// An administrator: the instance begins anew, on the newest definition.
    Restart,
}

impl Decision {
    /// Whether it is a vote.
    #[must_use]
    pub fn is_vote(self) -> bool {
        matches!(self, Self::Approve | Self::Reject)
    }
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

fn fields_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
        "description": "What an approval records, by the names of the partition's fields; values are text, e.g. met: \"true\"."
    })
}
