//! `ApprovalProcess`: binds an event to a workflow.

use super::common::{any_object, is_default};
use super::{NameRef, Notification, ReadyStatus};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

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
    /// Whether the search ends with this process (`Stop`, the default), or goes on to the next that matches (`Continue`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_match: OnMatch,
    /// What starts the process.
    pub event: ProcessEvent,
    /// Who asked, for objects that do not carry it: a CEL expression over `object` that yields a username, or a map with
    /// `username`, `uid`, `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub initiator: Option<String>,
    /// Whom it is about: a CEL expression over `object` and `request` that yields a list of usernames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub subjects: Option<String>,
    /// Where whoever it is about and has no Identity is told: a CEL expression that yields a mail address, or a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub subject_email: Option<String>,
    /// Whether one instance is opened for the whole request (`Request`, the default), or one for each of `subjects`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub instance_per: InstancePer,
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
    /// How an approved change is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
    /// Who may pass without approval, with a reason, on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
    /// Who is told what, about any part of what it opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub notifications: Vec<Notification>,
}

/// Whether other processes are looked at after one that matches.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnMatch {
    /// The first match wins.
    #[default]
    Stop,
    /// The next one that matches is asked too, after this one has approved.
    Continue,
}

/// How many instances one request opens.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum InstancePer {
    /// One.
    #[default]
    Request,
    /// One for each of its subjects.
    Subject,
}

/// How an approved change is carried out, and until when.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// `OnRetry`: the same request of the same requester passes once approved. `Automatic`: the operator repeats it in the name
    /// of the requester; the installation must allow that. Default: `OnRetry` for what the gate holds, `Automatic` for change
    /// requests written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ExecutionMode>,
    /// How long the approval of a change can be used, such as `24h` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub valid_for: Option<String>,
}

/// Who carries out an approved change.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ExecutionMode {
    /// The requester, by the same request.
    #[default]
    OnRetry,
    /// The operator, in the name of the requester.
    Automatic,
}

/// Break-glass.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bypass {
    /// Whether holders of the verb `bypass` on this process may pass without approval when they give a reason. Their change is
    /// recorded, and reviewed afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub permission: bool,
}

/// What starts a process: exactly one of `gate`, `pending`, `collection`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.gate), has(self.pending), has(self.collection)].filter(given, given).size() == 1")
    .message("an event is exactly one of gate, pending, collection"))]
pub struct ProcessEvent {
    /// Live operations: held back until they are approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateEvent>,
    /// Objects that wait by nature: the outcome is written back to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingEvent>,
    /// Objects that enter or leave a collection: nothing is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionEvent>,
}

/// Live operations on the API server, held back by admission until they are approved.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateEvent {
    /// Which operations. UPDATE is a PUT, every kind of PATCH and server-side apply alike.
    #[schemars(length(min = 1, max = 3))]
    pub operations: Vec<Operation>,
    /// Which resources, as `deployments`; a resource stands for its subresources that change it too. `deployments/scale` is that
    /// subresource alone.
    #[schemars(length(min = 1, max = 16))]
    pub resources: Vec<GroupResources>,
    /// For UPDATE: only when one of these fields changes, written as `spec.replicas`, or as a JSON pointer where keys have dots.
    /// Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub fields: Vec<String>,
    /// Whose operations. Default: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiators: Option<Initiators>,
    /// In which namespaces. Default: in all, and outside of them. The operator's own and kube-system are never gated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// CEL conditions over `object`, `oldObject`, `operation`, `initiator` and `request`: all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub match_conditions: Vec<MatchCondition>,
    /// Fields that are no part of what is approved, as JSON pointers: `/metadata/annotations/example.com~1touched`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 512), regex(pattern = r"^/")))]
    pub ignore: Vec<String>,
    /// Fields that nobody is shown and that are stored nowhere, as JSON pointers. The data of Secrets always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 512), regex(pattern = r"^/")))]
    pub redact: Vec<String>,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    #[default]
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        })
    }
}

/// Whose operations: of any of `users`, `groups`, `serviceAccounts` (all, where none is named), but of none of `exclude`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Initiators {
    /// Usernames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub users: Vec<String>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub groups: Vec<String>,
    /// Service accounts, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512), regex(pattern = r"^[^/]+/[^/]+$")))]
    pub service_accounts: Vec<String>,
    /// Whose operations pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Excluded>,
}

/// Whose operations pass.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Excluded {
    /// Usernames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub users: Vec<String>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub groups: Vec<String>,
    /// Service accounts, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512), regex(pattern = r"^[^/]+/[^/]+$")))]
    pub service_accounts: Vec<String>,
}

/// In which namespaces: those of `names`, and those that the selector takes.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) != (has(self.matchLabels) || has(self.matchExpressions))")
    .message("namespaces are given either by names, or by matchLabels and matchExpressions"))]
pub struct Namespaces {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// By labels, all of which must be there. Who may take such a label off a namespace needs the verb `bypass` on the process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// By requirements, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on a label.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What is asked of it.
    pub operator: LabelOperator,
    /// The values, with In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What is asked of a label.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LabelOperator {
    /// It has one of the values.
    #[default]
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// Objects that wait for a decision by nature, such as a `CertificateSigningRequest`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingEvent {
    /// Which resources. Built in: `certificatesigningrequests` of `certificates.k8s.io` and `certificaterequests` of
    /// `cert-manager.io`; for others `writeBack` and the `initiator` of the process are needed.
    #[schemars(length(min = 1, max = 16))]
    pub resources: Vec<GroupResources>,
    /// CEL conditions over `object`, `initiator`, and `request` (what a certificate request asks for): all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub match_conditions: Vec<MatchCondition>,
    /// Whose name a certificate request may carry. `Requester`: its common name must be the requester's username and its
    /// organizations among the requester's groups; anything else is denied at once. `Any`: the approvers judge. Default:
    /// `Requester` for requests of Kubernetes, `Any` for those of cert-manager, whose certificates bear the names of servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_identity: Option<RequestedIdentity>,
    /// How the outcome is written to the object, for kinds that are not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_back: Option<WriteBack>,
}

/// How the outcome is written to an object that waits. An object waits until one of both can be seen in it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteBack {
    /// When it was approved.
    pub approved: Writing,
    /// When it was rejected or has expired.
    pub rejected: Writing,
}

/// What is written to an object.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Writing {
    /// The subresource that it is written through, such as `status`. Default: the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9-]+$"))]
    pub subresource: Option<String>,
    /// A JSON merge patch, whose strings may hold `${CEL}` over `object`, `outcome`, `message` and `now`.
    #[schemars(schema_with = "any_object")]
    pub patch: Value,
    /// A CEL condition over `object` that tells that this has been written. Default: the patch would change nothing, whatever
    /// stands where it has `message` or `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub written: Option<String>,
}

/// Objects that enter or leave a collection. What belongs to it when the process is first seen triggers nothing.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionEvent {
    /// Objects of which resource.
    pub resource: CollectionResource,
    /// Whether objects that enter or objects that leave open an instance.
    pub when: When,
    /// Which of them belong to it, by label. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Which of them belong to it: a CEL condition over `object`. With `selector`, both must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
    /// Whether removals that nobody asks for count too: of objects that a controller owns (garbage collection), and of those in
    /// a namespace that is deleted. Only with `Left`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automated: bool,
}

/// A resource of an API group.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionResource {
    /// The API group, empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub api_group: String,
    /// The resource in the plural, e.g. `rolebindings`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9-]+$"))]
    pub resource: String,
}

/// Which way objects go.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum When {
    /// They did not belong to the collection and now do, or are created as its members.
    #[default]
    Entered,
    /// They belonged to the collection and do no longer, or were deleted.
    Left,
}

/// Objects by their labels.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
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

fn default_order() -> i32 {
    500
}
