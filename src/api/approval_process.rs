//! `ApprovalProcess`: binds an event to a workflow.

use super::{NameRef, ReadyStatus};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Binds an event to a workflow. metadata.name is the code of the process.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "ApprovalProcess",
    plural = "approvalprocesses",
    shortname = "aproc",
    category = "approvals",
    status = "ReadyStatus",
    doc = "Which event needs which workflow. The process with the lowest order that matches wins; ties go by name.",
    selectable = ".spec.workflowRef.name",
    printcolumn(name = "Order", type_ = "integer", json_path = ".spec.order"),
    printcolumn(name = "Workflow", type_ = "string", json_path = ".spec.workflowRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.workflowRef) != (has(self.skip) && self.skip)")
    .message("a process has exactly one of workflowRef, skip: true"))]
pub struct ApprovalProcessSpec {
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// Lowest first, ties by name. Default 500.
    #[serde(default = "default_order")]
    pub order: i32,
    /// What starts the process.
    pub event: ProcessEvent,
    /// Whom it is about: a CEL expression over `object` and `request` that yields a list of usernames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub subjects: Option<String>,
    /// Which `BusinessRole` it is about: a CEL expression that yields its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub role: Option<String>,
    /// The superior role, where the composition of a role changes: a CEL expression that yields its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub superior_role: Option<String>,
    /// The subrole, where the composition of a role changes: a CEL expression that yields its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub sub_role: Option<String>,
    /// Who else may not decide: a CEL expression that yields a list of usernames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub exclude_approvers: Option<String>,
    /// The workflow that an instance is opened for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_ref: Option<NameRef>,
    /// Do not approve: no workflow is opened, and the search ends here. A pending object is left as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
}

/// What starts a process.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessEvent {
    /// Objects that wait by nature: the outcome is written back to them.
    pub pending: PendingEvent,
}

/// Objects that wait for a decision by nature, such as a `CertificateSigningRequest`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingEvent {
    /// Which resources. Built in: `certificatesigningrequests` of `certificates.k8s.io`.
    #[schemars(length(min = 1, max = 16))]
    pub resources: Vec<GroupResources>,
    /// CEL conditions over `object`, and over `request` (what a certificate request asks for): all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub match_conditions: Vec<MatchCondition>,
    /// Whose name a certificate request may carry. `Requester` (the default): its common name must be the requester's
    /// username and its organizations among the requester's groups; anything else is denied at once. `Any`: the approvers judge.
    #[serde(default, skip_serializing_if = "is_requester")]
    pub requested_identity: RequestedIdentity,
}

/// Resources of API groups.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupResources {
    /// API groups, e.g. `certificates.k8s.io`.
    #[schemars(length(min = 1, max = 16), inner(length(max = 253)))]
    pub api_groups: Vec<String>,
    /// Resources in the plural, e.g. `certificatesigningrequests`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub resources: Vec<String>,
}

/// A named CEL condition.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchCondition {
    /// The name that messages use.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// A CEL expression that yields true or false.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// Whose name a certificate request may carry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RequestedIdentity {
    /// The requester's own name and groups only.
    #[default]
    Requester,
    /// Whatever the approvers agree to.
    Any,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_requester(value: &RequestedIdentity) -> bool {
    *value == RequestedIdentity::Requester
}

fn default_order() -> i32 {
    500
}
