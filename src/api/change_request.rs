//! `ChangeRequest`: one request for one or more changes.

use super::common::any_object;
use super::{Actor, Execution, InstancePer, Operation, Outcome};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One request for one or more changes: opened by the gate for what it holds back, or written by hand.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "ChangeRequest",
    plural = "changerequests",
    shortname = "creq",
    category = "approvals",
    namespaced,
    status = "ChangeRequestStatus",
    derive = "PartialEq",
    doc = "One request for one or more changes. Each change is approved by itself; the approved ones are carried out when all are decided. Wait for it with: kubectl wait --for=condition=Completed creq/NAME.",
    validation = Rule::new("self.spec == oldSelf.spec").message("spec is immutable: create another change request, with supersedes"),
    selectable = ".spec.requester.username",
    selectable = ".spec.supersedes",
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.requester.username"),
    printcolumn(name = "Changes", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Approved", type_ = "string", json_path = ".status.conditions[?(@.type==\"Approved\")].status"),
    printcolumn(name = "Executed", type_ = "string", json_path = ".status.conditions[?(@.type==\"Executed\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Completed\")].reason", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Completed\")].message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRequestSpec {
    /// Who asked: filled in by the API server (or by the client where the server cannot), and always checked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Actor>,
    /// Why. Needed where a change is not to be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub reason: Option<String>,
    /// The change request of this namespace that this one corrects: the older one ends, and both tell their story together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub supersedes: Option<String>,
    /// The changes, by name.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub changes: Vec<Change>,
    /// How the approved changes are carried out. Default: `Automatic` when written by hand, `OnRetry` for what the gate holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
}

/// One change.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.held) || (self.operation in ['Create', 'Apply', 'Update'] ? has(self.object) && !has(self.target) : has(self.target) && !has(self.object))")
    .message("Create, Apply and Update need object; Patch and Delete need target"))]
pub struct Change {
    /// The name that the status uses.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// What is done.
    pub operation: ChangeOperation,
    /// The object to create, to apply, or to write over the one that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub object: Option<Value>,
    /// The object to patch or to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ChangeTarget>,
    /// What is changed: a JSON merge patch (an object), or a JSON patch (a list).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patch_schema")]
    pub patch: Option<Value>,
    /// No approval is asked for: for holders of the verb `bypass` on the processes that would ask. `spec.reason` is needed, and
    /// the change is reviewed afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub do_not_approve: bool,
    /// What the gate held back. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What a change does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ChangeOperation {
    /// Makes an object; fails when it is there.
    #[default]
    Create,
    /// Server-side apply, in the name of the field manager `quorate`.
    Apply,
    /// Writes the whole object.
    Update,
    /// Changes some of its fields.
    Patch,
    /// Removes it.
    Delete,
}

/// An object, by name.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeTarget {
    /// Its apiVersion, e.g. `apps/v1`.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its namespace. Default: that of the change request; none for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A request that the gate held back, as the API server showed it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The operation of the API server. Server-side apply, PUT and PATCH of an object that is there are UPDATE.
    pub operation: Operation,
    /// The API group; empty for the core.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The version that the gate reads it in.
    pub version: String,
    /// The resource in the plural.
    pub resource: String,
    /// The subresource, e.g. `scale`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// The kind of the object.
    pub kind: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name; where the server makes one up, what that begins with.
    pub name: String,
    /// Whether the server makes up its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated_name: bool,
    /// What was asked for, as a hash of everything that means something. An approval is for exactly this.
    #[schemars(length(min = 1, max = 128))]
    pub digest: String,
    /// What it was asked of: UPDATE, a hash of the gated fields as they were; DELETE, the uid; CREATE, the name.
    #[schemars(length(min = 1, max = 1024))]
    pub base: String,
    /// UPDATE: a hash of the gated fields as they are to be, by which the effect is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub effect: Option<String>,
    /// Which fields are gated; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What is no part of the digest, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// What is shown and stored nowhere, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// The object as it was, without what is redacted; left out where it is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub old_object: Option<Value>,
    /// What changes, for people: bounded, and without values that are redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub differences: Vec<Difference>,
    /// The processes that must agree, in order, and what they say that it is about.
    #[schemars(length(max = 64))]
    pub processes: Vec<PlannedProcess>,
    /// Who passed without approval, and why: the change is reviewed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub bypass_reason: Option<String>,
}

/// One field that changes.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Where, as a JSON pointer.
    #[schemars(length(max = 1024))]
    pub path: String,
    /// What was there, as JSON, cut where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub from: Option<String>,
    /// What is to be there, as JSON, cut where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub to: Option<String>,
}

/// A process that must agree, and what it says that the change is about.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedProcess {
    /// metadata.name of the `ApprovalProcess`.
    pub name: String,
    /// metadata.name of the `WorkflowDefinition`.
    pub workflow: String,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub subjects: Vec<String>,
    /// Where those of them are told who have no Identity, by mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub subject_emails: Vec<String>,
    /// Whether each of them has an instance of their own.
    #[serde(default, skip_serializing_if = "super::common::is_default")]
    pub instance_per: InstancePer,
    /// Which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The superior role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superior_role: Option<String>,
    /// The subrole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_role: Option<String>,
    /// Who else may not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude_approvers: Vec<String>,
}

/// Where a change request stands.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRequestStatus {
    /// How many changes there are and where they stand, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Each change, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub changes: Vec<ChangeStatus>,
    /// The change request that corrected this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// When everything was decided and carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// `Completed`, `Approved`, `Executed`, `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Where one change stands.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeStatus {
    /// The change.
    pub name: String,
    /// Where it stands.
    pub state: ChangeState,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What exactly is approved, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Of a change written by hand: the request that it stands for, as the gate sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Of a change written by hand: the object as it is to be, as the approvers are shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub object: Option<Value>,
    /// The processes that must agree, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<PlannedProcess>,
    /// The instances that were opened for it, by name, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<ChangeInstance>,
    /// By which the same request passes the gate, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// How often carrying it out was tried.
    #[serde(default, skip_serializing_if = "super::common::is_default")]
    pub attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// When it was carried out, or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// Where a change stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ChangeState {
    /// It has not been looked at.
    #[default]
    Pending,
    /// People are asked.
    InApproval,
    /// Everybody agreed; it has not been carried out.
    Approved,
    /// Somebody did not, or the requester may not do it.
    Rejected,
    /// Nobody decided in time, or the approval was not used in time.
    Expired,
    /// It was withdrawn or corrected.
    Cancelled,
    /// It was carried out.
    Executed,
    /// It could not be carried out.
    Failed,
}

/// An instance that was opened for a change.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeInstance {
    /// metadata.name of the `WorkflowInstance`.
    pub name: String,
    /// The process that it was opened for.
    pub process: String,
    /// Whom it is about, where each subject has an instance of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether it looks at the change afterwards and decides nothing about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// By which one request passes the gate.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Until when it can be claimed.
    pub valid_until: Time,
    /// When a request first passed by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Time>,
    /// When its effect was seen, or could be seen no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Time>,
}

/// What the API server shows of a request that no controller has seen yet, so that waiting works from the first moment.
pub(super) fn status_default() -> Value {
    let unknown = |type_: &str| {
        json!({"type": type_, "status": "Unknown", "reason": "NotStarted", "message": "waiting for the operator",
               "lastTransitionTime": "1970-01-01T00:00:00Z"})
    };
    json!({"conditions": [unknown("Completed"), unknown("Approved"), unknown("Executed")]})
}

fn patch_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is changed: a JSON merge patch (an object), or a JSON patch (a list).",
        "x-kubernetes-preserve-unknown-fields": true
    })
}
