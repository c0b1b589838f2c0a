//! `WorkflowDefinition`: the graph of who must agree, in which order.

use super::common::{display_names_schema, is_default};
use super::{Action, ApproverSource, Notification, Notify, ReadyStatus, TopicRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
    printcolumn(name = "Instances", type_ = "integer", json_path = ".status.instances"),
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
    /// The name in other languages, by BCP 47 tag: the title that people are told of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "display_names_schema")]
    pub display_names: BTreeMap<String, String>,
    /// The node to begin with. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub start: Option<String>,
    /// Who is told what, about any part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub notifications: Vec<Notification>,
    /// The nodes, by name, in order: an approved step leads to the next of the list unless `next` says otherwise.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<Node>,
}

/// A node of the graph: exactly one of `approval`, `condition`, `execute`, `notify`, `action` and `end`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.approval) ? 1 : 0) + (has(self.condition) ? 1 : 0) + (has(self.execute) ? 1 : 0) + (has(self.notify) ? 1 : 0) + (has(self.action) ? 1 : 0) + (has(self.end) ? 1 : 0) == 1")
    .message("a node is exactly one of approval, condition, execute, notify, action, end"))]
#[x_kube(validation = Rule::new("!(self.name in ['Approved', 'Rejected', 'Expired', 'Failed'])")
    .message("Approved, Rejected, Expired and Failed are the built-in ends; give the node another name"))]
pub struct Node {
    /// The name that edges and signals use.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// The name of an approval in other languages, by BCP 47 tag, for those who are told of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "display_names_schema")]
    pub display_names: BTreeMap<String, String>,
    /// People decide here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The facts decide here: `then` when the condition holds, else `else`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<NodeCondition>,
    /// The operation is carried out here: the object that waits is told that it is approved. Nodes before it are pre-run, nodes
    /// after it post-run. An instance without an operation passes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute: Option<Execute>,
    /// Somebody is told here, and the workflow goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// The operator does something by itself here: it changes an object, calls an endpoint, or runs a Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The workflow ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Where each output leads: to a node, or to one of the ends `Approved`, `Rejected`, `Expired`. An approval has the outputs
    /// approved, rejected, expired; a condition then, else; execute and notify done; an action done, failed, timedOut. Left out: approved,
    /// then and done lead to the next node of the list or, after the last, end Approved; rejected ends Rejected, expired ends
    /// Expired; failed and timedOut end Failed; else must be written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "next_schema")]
    pub next: BTreeMap<String, String>,
}

/// A step that people decide: partitions in parallel, or the short form of one partition named `default`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.partitions) != has(self.approvers)")
    .message("an approval has either partitions, or approvers (the short form of one partition)"))]
#[x_kube(validation = Rule::new("!has(self.partitions) || (!has(self.required) && !has(self.rejections) && !has(self.viewers) && !has(self.fields) && !has(self.notify) && !has(self.notifyUser) && !has(self.notifications))")
    .message("with partitions, required, rejections, viewers, fields, notify, notifyUser and notifications belong inside each partition"))]
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
    /// Short form: who may see what is recorded here, besides those who may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub viewers: Vec<ApproverSource>,
    /// Short form: what an approval records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub fields: Vec<Field>,
    /// Short form: tells whoever may decide, when they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<TopicRef>,
    /// Short form: tells whom the request is about when the state of this changes: opened, approved, rejected, expired, superseded. Where
    /// it is about nobody, whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_user: Option<TopicRef>,
    /// Short form: who else is told what, about this partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notifications: Vec<Notification>,
    /// Whether who asked, and whom it is about, may decide. Default `Forbid`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub self_approval: SelfApproval,
    /// When a decision needs a comment. Default `Never`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub require_comment: RequireComment,
    /// What happens when nobody may decide: the administrators are asked (`Fallback`, the default), or the step is rejected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outcome_if_no_approvers: NoApprovers,
    /// Names of steps whose deciders may not decide here, whichever visit they decided in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub separate_from: Vec<String>,
    /// How long people have. A signal that was created by the deadline counts, however late it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Who else is asked when it takes long: once per visit and level. `required` stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub escalations: Vec<Escalation>,
}

/// How long people have: exactly one of `after` and `businessDays`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.after) != has(self.businessDays) && has(self.businessDays) == has(self.calendar)")
    .message("a timeout is either after, such as 72h, or businessDays of a calendar"))]
pub struct Timeout {
    /// A duration such as `72h` or `1h30m`, from the moment that the step is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub after: Option<String>,
    /// So many business days of `calendar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub business_days: Option<u32>,
    /// The `BusinessCalendar` that tells what a business day is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub calendar: Option<String>,
    /// The output by which the step is left then. Default `expired`. `approved` is approval by silence, and warned about.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: TimeoutOutput,
}

/// The output by which a step is left when its time is over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeoutOutput {
    /// Its own output.
    #[default]
    Expired,
    /// As if people had rejected.
    Rejected,
    /// As if people had approved.
    Approved,
}

/// Who else is asked after some time: exactly one of `after` and `businessDays`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.after) != has(self.businessDays) && has(self.businessDays) == has(self.calendar)")
    .message("an escalation comes either after a duration, such as 48h, or after businessDays of a calendar"))]
pub struct Escalation {
    /// A duration such as `48h`, from the moment that the step is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub after: Option<String>,
    /// So many business days of `calendar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub business_days: Option<u32>,
    /// The `BusinessCalendar` that tells what a business day is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub calendar: Option<String>,
    /// Who is asked besides; `supervisorOf: Approvers` means the managers of whoever is asked.
    #[schemars(length(min = 1, max = 16))]
    pub approvers: Vec<ApproverSource>,
    /// The topic by which they are told. Default escalated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: Option<String>,
}

/// What the facts decide. The operands by type:
///
/// | type | left | operator | right |
/// |---|---|---|---|
/// | `RoleAttribute` | an attribute of the role, or displayName, criticality | any | what it is compared with |
/// | `GuarantorExists` | – (`guarantorType`: of that type) | Exists, `DoesNotExist` | – |
/// | `RoleCriticality` | – | compares | a number |
/// | `IdentityAttribute` | an attribute of every subject, or username, displayName, email, type | any | what it is compared with |
/// | `Expression` | CEL | any | what it is compared with |
/// | `Expression` | – (`expression`: CEL that yields true or false) | – | – |
///
/// What is missing satisfies no operator but `DoesNotExist`: the instance goes on by `else`. What cannot be compared ends Failed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// What is looked at.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// The left operand: an attribute by name, or a CEL expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub left: Option<String>,
    /// How the operands are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// The right operand: text, a number, true or false; for In and `NotIn` a list of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "operand_schema")]
    pub right: Option<Value>,
    /// With `GuarantorExists`: only guarantors of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub guarantor_type: Option<String>,
    /// With `Expression`: CEL that yields true or false, instead of left, operator and right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionType {
    /// An attribute of the role that the request is about.
    RoleAttribute,
    /// Whether that role has a guarantor.
    GuarantorExists,
    /// How critical that role is.
    RoleCriticality,
    /// An attribute of the people whom the request is about: it must hold for all of them.
    IdentityAttribute,
    /// A CEL expression.
    #[default]
    Expression,
}

/// How operands are compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Operator {
    /// They are the same; a number equals the text that spells it.
    Equals,
    /// They are not.
    NotEquals,
    /// left > right, as numbers.
    GreaterThan,
    /// left ≥ right, as numbers.
    GreaterOrEqual,
    /// left < right, as numbers.
    LessThan,
    /// left ≤ right, as numbers.
    LessOrEqual,
    /// left equals one of right.
    In,
    /// left equals none of right.
    NotIn,
    /// The list left has right among its items, or the text left has right as a part.
    Contains,
    /// The text left matches the regular expression right somewhere.
    Matches,
    /// There is a left.
    Exists,
    /// There is none.
    DoesNotExist,
}

/// Carries the operation out.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execute {}

/// What an approval records, as a value of `fields` in the signal.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// The name that signals use.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// What it may hold.
    #[serde(rename = "type")]
    pub type_: FieldType,
    /// With `RadioButton`: the values, of which one is chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub options: Vec<String>,
    /// Whether an approval must give a value. A rejection never must.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// With `CheckBox`: what an approval must answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_be: Option<bool>,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FieldType {
    /// `"true"` or `"false"`.
    CheckBox,
    /// A whole number of at most 6 digits.
    NumberShort,
    /// A whole number of 64 bits.
    NumberLong,
    /// Exactly one of `options`.
    RadioButton,
    /// Up to 4 KiB.
    #[default]
    Text,
    /// A link, http or https.
    URL,
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
    /// The name in other languages, by BCP 47 tag, for those who are told of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "display_names_schema")]
    pub display_names: BTreeMap<String, String>,
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
    /// Who may see what is recorded here, besides those who may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub viewers: Vec<ApproverSource>,
    /// What an approval records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub fields: Vec<Field>,
    /// Tells whoever may decide, when they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<TopicRef>,
    /// Tells whom the request is about when the state of this changes: opened, approved, rejected, expired, superseded. Where
    /// it is about nobody, whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_user: Option<TopicRef>,
    /// Who else is told what, about this partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notifications: Vec<Notification>,
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
    /// How many unfinished instances name this definition; counted every few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// What works but may not be meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The graph as Mermaid text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagram: Option<String>,
}

impl From<ReadyStatus> for WorkflowDefinitionStatus {
    fn from(status: ReadyStatus) -> Self {
        Self { conditions: status.conditions, ..Self::default() }
    }
}

fn operand_schema(_: &mut SchemaGenerator) -> Schema {
    let mut schema = super::common::flat_value();
    schema["maxItems"] = json!(1024);
    schema["description"] =
        json!("The right operand: text, a number, true or false; for In and NotIn a list of those.");
    Schema::try_from(schema).unwrap_or_default()
}

fn next_schema(_: &mut SchemaGenerator) -> Schema {
    let target = json_schema!({"type": "string", "minLength": 1, "maxLength": 63});
    json_schema!({
        "type": "object",
        "description": "Where each output leads: to a node, or to one of the ends Approved, Rejected, Expired. An approval has the outputs approved, rejected, expired; a condition then, else; execute and notify done; an action done, failed, timedOut. Left out: approved, then and done lead to the next node of the list or, after the last, end Approved; rejected ends Rejected, expired ends Expired; failed and timedOut end Failed; else must be written.",
        "properties": {"approved": target, "rejected": target, "expired": target, "then": target, "else": target, "done": target, "failed": target, "timedOut": target}
    })
}
