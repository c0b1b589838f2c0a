//! `WorkflowInstance`: one running approval.

use super::common::any_object;
use super::{Actor, Decision, NameRef, NamedApprovers, Operation, WorkflowDefinitionSpec, attributes_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// One running approval: opened by a process for an object, or by hand as the gate of a pipeline.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "WorkflowInstance",
    plural = "workflowinstances",
    shortname = "wfi",
    category = "approvals",
    namespaced,
    status = "WorkflowInstanceStatus",
    derive = "PartialEq",
    doc = "One running approval. Wait for it with: kubectl wait --for=condition=Completed wfi/NAME, then read .status.outcome.",
    validation = Rule::new("self.spec == oldSelf.spec").message("spec is immutable: create another instance"),
    selectable = ".spec.workflowRef.name",
    selectable = ".spec.processRef.name",
    selectable = ".spec.initiator.username",
    selectable = ".spec.changeRef.name",
    selectable = ".status.step",
    selectable = ".status.outcome",
    printcolumn(name = "Workflow", type_ = "string", json_path = ".spec.workflowRef.name"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waiting"),
    printcolumn(name = "Approved", type_ = "string", json_path = ".status.conditions[?(@.type==\"Approved\")].status"),
    printcolumn(name = "Requested By", type_ = "string", json_path = ".spec.initiator.username"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", priority = "1"),
    printcolumn(name = "Title", type_ = "string", json_path = ".status.title", priority = "1"),
    printcolumn(name = "Stalled", type_ = "string", json_path = ".status.conditions[?(@.type==\"Stalled\")].status", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.workflowRef) != has(self.workflow)")
    .message("an instance has exactly one of workflowRef, workflow"))]
#[x_kube(validation = Rule::new("!has(self.processRef) || !has(self.workflow)")
    .message("an instance of a process runs on the workflow of that process; leave workflow out"))]
#[x_kube(validation = Rule::new("!has(self.workflow) || self.workflow.nodes.all(node, !has(node.action))")
    .message("actions are done as the operator, so they take a WorkflowDefinition: name one by workflowRef"))]
pub struct WorkflowInstanceSpec {
    /// The `WorkflowDefinition` to run; it may appear later, the instance waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_ref: Option<NameRef>,
    /// A workflow of this instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowDefinitionSpec>,
    /// What it is about, for people. Default: the display name of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub title: Option<String>,
    /// Who asked: filled in by the API server (or by the client where the server cannot), and always checked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Actor>,
    /// The people it is about, by username, or Identities by name: like the initiator they may not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 1024)))]
    pub subjects: Vec<String>,
    /// The `BusinessRole` that it is about, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
    /// The superior role, where the composition of a role changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub superior_role: Option<String>,
    /// The subrole, where the composition of a role changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub sub_role: Option<String>,
    /// Whatever conditions and expressions of the workflow ask for, as `parameters`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "attributes_schema")]
    pub parameters: BTreeMap<String, Value>,
    /// Usernames of others who may not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 1024)))]
    pub exclude_approvers: Vec<String>,
    /// Where whoever it is about and has no Identity is told, by mail. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 3, max = 254)))]
    pub subject_emails: Vec<String>,
    /// The process that opened it. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_ref: Option<NameRef>,
    /// The object that waits for the outcome. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "object_schema")]
    pub object: Option<Value>,
    /// The object as it was before the change. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub old_object: Option<Value>,
    /// What is to be done to the object. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The change request that it was opened for. Set by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_ref: Option<ChangeRef>,
}

/// A change of a `ChangeRequest` of the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRef {
    /// metadata.name of the request.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// metadata.uid of the request.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// The change, by name.
    #[schemars(length(min = 1, max = 63))]
    pub change: String,
    /// Whether the change was made before anybody was asked: this looks at it afterwards, and decides nothing about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
}

/// Where the instance stands. Never holds comments or fields.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.revision) || (has(self.revision) && self.revision == oldSelf.revision) || (has(self.restarts) ? self.restarts : 0) > (has(oldSelf.restarts) ? oldSelf.restarts : 0)")
    .message("the revision of a started instance changes only when an administrator restarts it"))]
pub struct WorkflowInstanceStatus {
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The `ControllerRevision` (in the operator's namespace, named by content hash) that this instance runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// How often an administrator restarted it on the newest definition.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// How it ended; empty until it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The node where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What is missing, e.g. `security 1/2, finance 0/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Every visit of a node, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepVisit>,
    /// The tasks of the newest visit, one per partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// The decisions that counted, in the order in which they were judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<CountedDecision>,
    /// When something happens next although nobody does anything: an escalation, a deadline, another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_wakeup: Option<Time>,
    /// When the first node was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// `Completed`, `Approved`, `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The graph as Mermaid text, with the path taken and where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagram: Option<String>,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Outcome {
    /// Enough people agreed.
    Approved,
    /// They did not.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Withdrawn, or its object is gone.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One visit of a node.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepVisit {
    /// The node, or one of the built-in ends.
    pub node: String,
    /// The how-manieth visit of this node, from 1.
    pub visit: u32,
    /// When it was entered.
    pub entered_at: Time,
    /// When it was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Time>,
    /// The output by which it was left, e.g. `approved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Until when people may decide: fixed when the step was entered. A signal that was created by then counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// When each level of escalation is due: fixed when the step was entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_at: Vec<Time>,
    /// How many levels of escalation have been called.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub escalated: u32,
    /// How each partition stood when the step was left, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, TaskState>,
    /// Of an action: how often it was tried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Of an action: when it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Of an action: the Job that was started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of an action: what came of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What one partition is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The node.
    pub step: String,
    /// The visit of the node, from 1.
    pub visit: u32,
    /// The partition; `default` for the short form.
    pub partition: String,
    /// Where the task stands.
    pub state: TaskState,
    /// How many approvals counted.
    pub approvals: u32,
    /// How many approvals are needed: fixed when the step was entered.
    pub required: u32,
    /// How many rejections counted.
    pub rejections: u32,
    /// Who may decide, by source: how many of them the directory lists, and the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<ApproverSummary>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TaskState {
    /// People may decide.
    Open,
    /// Enough approvals.
    Approved,
    /// Enough rejections.
    Rejected,
    /// Another partition of the step was rejected first, or the instance ended.
    Superseded,
    /// Its time was over first.
    Expired,
}

/// One approver source, resolved.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApproverSummary {
    /// The source, e.g. `role ra-administrators`; `administrators: …` where they stand in.
    pub source: String,
    /// How many people may decide through it now; absent where Kubernetes cannot list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The first few of them, by username.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// A decision that counted.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CountedDecision {
    /// The username that the API server proved.
    pub actor: String,
    /// The Identity behind the username, where the directory knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What was decided.
    pub decision: Decision,
    /// Whose vote it is, where that is somebody else's: `actor` decided for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The Identity of that person, where the directory knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of_identity: Option<String>,
    /// With Delegate: who took the task over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_to: Option<String>,
    /// With Reassign and `AddApprovers`: who was named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<NamedApprovers>,
    /// The node.
    pub step: String,
    /// The visit of the node, from 1.
    pub visit: u32,
    /// The partition; empty where the whole instance is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub partition: String,
    /// The source through which the actor may decide, e.g. `group enrollment-approvers`.
    pub through: String,
    /// When the signal was created.
    pub at: Time,
    /// The signal.
    pub signal: SignalRef,
}

/// A signal, by name and uid.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalRef {
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What the API server shows of an instance that no controller has seen yet, so that waiting works from the first moment.
pub(super) fn status_default() -> Value {
    let unknown = |type_: &str| {
        json!({"type": type_, "status": "Unknown", "reason": "NotStarted", "message": "waiting for the operator",
               "lastTransitionTime": "1970-01-01T00:00:00Z"})
    };
    json!({"conditions": [unknown("Completed"), unknown("Approved")]})
}

fn object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "The object that waits for the outcome, as it was when the instance was opened. Set by the operator alone.",
        "x-kubernetes-preserve-unknown-fields": true
    })
}
