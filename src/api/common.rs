//! What several kinds share: the proven actor, approver sources, references, condition helpers.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Who sent an object, as the API server authenticated them. Stamped, never trusted from the client: an admission policy
/// demands that it equals the sender.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The username, as the API server knows it.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The uid of the user, empty where the authenticator gives none (client certificates).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub uid: String,
    /// The groups of the user at the time of sending, in the order that the API server gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 1024)))]
    pub groups: Vec<String>,
}

impl Actor {
    /// Whether both are the same sender. Of a `ServiceAccount` that somebody is impersonating the API server tells no uid: none
    /// there is as good as the one that its token has.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let untold = self.is_service_account() && (self.uid.is_empty() || other.uid.is_empty());
        self.username == other.username && (self.uid == other.uid || untold)
    }

    /// The uid as far as it is told each time: none of a `ServiceAccount`. For names that both ways of acting share.
    #[must_use]
    pub fn lasting_uid(&self) -> &str {
        if self.is_service_account() { "" } else { &self.uid }
    }

    fn is_service_account(&self) -> bool {
        self.username.starts_with("system:serviceaccount:")
    }
}

/// One source of approvers: exactly one of its fields is set (`level` goes with `supervisorOf`).
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.user) ? 1 : 0) + (has(self.group) ? 1 : 0) + (has(self.role) ? 1 : 0) + (has(self.roleGuarantor) ? 1 : 0) + (has(self.superiorRoleGuarantor) ? 1 : 0) + (has(self.subRoleGuarantor) ? 1 : 0) + (has(self.supervisorOf) ? 1 : 0) + (has(self.guarantorOf) ? 1 : 0) + (has(self.expression) ? 1 : 0) + (has(self.permission) ? 1 : 0) == 1")
    .message("an approver source is exactly one of user, group, role, roleGuarantor, superiorRoleGuarantor, subRoleGuarantor, supervisorOf, guarantorOf, expression, permission"))]
pub struct ApproverSource {
    /// One person, by the username that the API server knows. The only source that also takes a `ServiceAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub user: Option<String>,
    /// Whoever holds this Kubernetes group when they sign. Kubernetes cannot list its members: an open source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub group: Option<String>,
    /// With `group`: the address that reaches its members, since Kubernetes cannot list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254), regex(pattern = r"^[^@\s<>,;]+@[^@\s<>,;]+$"))]
    pub mail: Option<String>,
    /// The holders of this `BusinessRole`, and of every role that has it among its subroles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
    /// The guarantors of the role that the request is about; all of them, or those of one type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_guarantor: Option<GuarantorType>,
    /// The guarantors of the superior role, where the composition of a role changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superior_role_guarantor: Option<GuarantorType>,
    /// The guarantors of the subrole, where the composition of a role changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_role_guarantor: Option<GuarantorType>,
    /// The managers of somebody: of whom the request is about, of who asked, or of the approvers (in an escalation: of whoever is
    /// asked; in a step: of whoever approved before).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_of: Option<SupervisorOf>,
    /// With `supervisorOf`: 1 (the default) their managers, 2 the managers of those, up to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub level: Option<u32>,
    /// The guarantors of the people whom the request is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantor_of: Option<GuarantorOf>,
    /// A CEL expression that yields a list of strings: Identities by name, or usernames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
    /// Whoever a `SubjectAccessReview` allows this verb on the `ApprovalProcess` that opened the instance: an open source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
}

/// Which guarantors are meant.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuarantorType {
    /// Only guarantors of this type. Default: all.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: Option<String>,
}

/// Whose managers are meant.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum SupervisorOf {
    /// The people whom the request is about.
    #[default]
    Subject,
    /// Who asked.
    Initiator,
    /// In an escalation: whoever is asked. In a step: whoever approved in a step before it.
    Approvers,
}

/// Whose guarantors are meant.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum GuarantorOf {
    /// The people whom the request is about.
    #[default]
    Subject,
}

/// A right on the `ApprovalProcess`, as RBAC grants it.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// The verb, e.g. `approve`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub verb: String,
}

/// A reference to a cluster-scoped object of Quorate by name.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// metadata.name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Status of kinds whose controller says no more than whether they are usable.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyStatus {
    /// `Ready`, with the exact place of each fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Any JSON, kept as it is.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Free attributes, for conditions and expressions.
pub(super) fn attributes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": flat_value(),
        "description": "For conditions and expressions: text, numbers, true or false, or lists of those."
    })
}

/// Text, a number, true or false, or a list of those. Nothing deeper is let in: whoever reads JSON gives up at some depth, and a
/// watch that cannot read one object shows none.
pub(super) fn flat_value() -> serde_json::Value {
    let flat = serde_json::json!({"x-kubernetes-preserve-unknown-fields": true, "maxProperties": 0, "maxItems": 0});
    serde_json::json!({"x-kubernetes-preserve-unknown-fields": true, "maxProperties": 0, "maxItems": 65536, "items": flat})
}

/// Seconds since the epoch: what creationTimestamp can tell, and so what times are compared in.
#[must_use]
pub fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}

/// The condition of that type, if it has been written.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of that type is `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// What a condition says, without its bookkeeping.
#[derive(Clone, Copy, Debug)]
pub struct Says<'a> {
    /// The type, e.g. `Ready`.
    pub type_: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// A CamelCase word.
    pub reason: &'a str,
    /// For people; cut at the 32 KiB that Kubernetes allows.
    pub message: &'a str,
}

/// Writes a condition. `lastTransitionTime` moves only when the status does, so that saying the same thing again changes
/// nothing and costs no write.
pub fn set_condition(conditions: &mut Vec<Condition>, says: Says<'_>, generation: Option<i64>, now: Timestamp) {
    let message: String = says.message.chars().take(8 * 1024).collect();
    let fresh = Condition {
        type_: says.type_.to_owned(),
        status: says.status.to_owned(),
        reason: says.reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == says.type_) {
        Some(old) if old.status == fresh.status => {
            *old = Condition { last_transition_time: old.last_transition_time.clone(), ..fresh };
        }
        Some(old) => *old = fresh,
        None => conditions.push(fresh),
    }
}

/// Names in other languages.
pub(super) fn display_names_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256},
        "description": "The name in other languages, by BCP 47 tag, e.g. cs: the recipient's language decides."
    })
}
