//! `WorkflowDefinition`: the graph of who must agree, in which order.

use super::{ApproverSource, ReadyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A graph of named nodes: who must agree, in which order, and where each output leads.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "WorkflowDefinition",
    plural = "workflowdefinitions",
    shortname = "wfd",
    category = "approvals",
    status = "WorkflowDefinitionStatus",
    doc = "Who must agree, in which order: a graph of approval steps. Running instances finish on the definition as it was when they started.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowDefinitionSpec {
    /// The name that people read; the title of an instance that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// The node to begin with. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub start: Option<String>,
    /// The nodes, by name, in order: an approved step leads to the next of the list unless `next` says otherwise.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<Node>,
}

/// A node of the graph: exactly one of `approval` and `end`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.approval) != has(self.end)")
    .message("a node is exactly one of approval, end"))]
#[x_kube(validation = Rule::new("!(self.name in ['Approved', 'Rejected', 'Expired'])")
    .message("Approved, Rejected and Expired are the built-in ends; give the node another name"))]
pub struct Node {
    /// The name that edges and signals use.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// People decide here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The workflow ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Where each output leads: `approved`, `rejected` → a node, or one of `Approved`, `Rejected`, `Expired`. Left out: approved
    /// leads to the next node of the list or, after the last, ends Approved; rejected ends Rejected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "next_schema")]
    pub next: BTreeMap<String, String>,
}

/// A step that people decide: partitions in parallel, or the short form of one partition named `default`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.partitions) != has(self.approvers)")
    .message("an approval has either partitions, or approvers (the short form of one partition)"))]
#[x_kube(validation = Rule::new("!has(self.partitions) || (!has(self.required) && !has(self.rejections))")
    .message("with partitions, required and rejections belong inside each partition"))]
pub struct Approval {
    /// Groups of approvers that decide in parallel; the step is approved when every one of them is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub partitions: Vec<Partition>,
    /// Short form: who may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub approvers: Vec<ApproverSource>,
    /// Short form: how many approvals approve. A number, `All`, or a percentage such as `60%`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Quorum>,
    /// Short form: how many rejections reject. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub rejections: Option<u32>,
    /// Whether who asked, and whom it is about, may decide. Default `Forbid`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub self_approval: SelfApproval,
    /// When a decision needs a comment. Default `Never`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub require_comment: RequireComment,
    /// What happens when nobody may decide: the administrators are asked (`Fallback`, the default), or the step is rejected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outcome_if_no_approvers: NoApprovers,
}

/// Some of those who must agree in a step, with their own quorum.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// The name that signals use.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// Who may decide.
    #[schemars(length(min = 1, max = 16))]
    pub approvers: Vec<ApproverSource>,
    /// How many approvals approve. A number, `All`, or a percentage such as `60%`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Quorum>,
    /// How many rejections reject. Default 1: a veto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub rejections: Option<u32>,
}

/// How many must approve, as written: a number, `All`, or a percentage. What it comes to is fixed when a step is entered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Quorum {
    /// So many people.
    Number(i64),
    /// `All`, or a percentage such as `60%`.
    Text(String),
}

impl JsonSchema for Quorum {
    fn schema_name() -> Cow<'static, str> {
        "Quorum".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 4,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 1 && self <= 10000 : self == 'All' || self.matches('^(100|[1-9][0-9]?)%$')",
                "message": "required must be a number from 1 to 10000, All, or a percentage from 1% to 100%"
            }]
        })
    }
}

/// Whether who asked, and whom it is about, may decide.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SelfApproval {
    /// They may not.
    #[default]
    Forbid,
    /// They may, where the sources name them.
    Allow,
}

/// When a decision needs a comment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RequireComment {
    /// A comment is welcome, never needed.
    #[default]
    Never,
    /// A rejection needs one.
    OnReject,
    /// Every decision needs one.
    Always,
}

/// What happens when nobody may decide a step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum NoApprovers {
    /// The administrators are asked, under the same exclusions.
    #[default]
    Fallback,
    /// The step is rejected as soon as it is entered.
    Reject,
}

/// The end of a workflow.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// How the workflow ended.
    pub outcome: EndOutcome,
}

/// The outcomes that a definition can give.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EndOutcome {
    /// Enough people agreed.
    Approved,
    /// They did not.
    #[default]
    Rejected,
    /// Nobody decided in time.
    Expired,
}

/// What the controller found.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowDefinitionStatus {
    /// `Ready`, with the exact place of each fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The content hash of this definition: what instances that start now run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl From<ReadyStatus> for WorkflowDefinitionStatus {
    fn from(status: ReadyStatus) -> Self {
        Self { conditions: status.conditions, revision: None }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn next_schema(_: &mut SchemaGenerator) -> Schema {
    let target = json_schema!({"type": "string", "minLength": 1, "maxLength": 63});
    json_schema!({
        "type": "object",
        "description": "Where each output leads: to a node, or to one of the ends Approved, Rejected, Expired. Left out: approved leads to the next node of the list or, after the last, ends Approved; rejected ends Rejected.",
        "properties": {"approved": target, "rejected": target}
    })
}
