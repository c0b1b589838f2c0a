//! `BusinessRole`: who holds a role of the organization.

use super::{ReadyStatus, attributes_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A role of the organization: its members, and the roles that come with it.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "BusinessRole",
    plural = "businessroles",
    shortname = "brole",
    category = "approvals",
    status = "ReadyStatus",
    doc = "Who holds a role of the organization. Whoever holds a superior role holds its subroles too.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Groups", type_ = "string", json_path = ".spec.groups", priority = "1"),
    printcolumn(name = "Subroles", type_ = "string", json_path = ".spec.subroles", priority = "1"),
    printcolumn(name = "Criticality", type_ = "integer", json_path = ".spec.criticality", priority = "1"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BusinessRoleSpec {
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// Kubernetes groups whose members hold the role too, proven when they sign. Kubernetes cannot list them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub groups: Vec<String>,
    /// The members, by Identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub members: Vec<Member>,
    /// Roles that whoever holds this one holds too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub subroles: Vec<String>,
    /// How critical the role is: the higher, the more. For conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criticality: Option<i64>,
    /// Who vouches for the role and decides who gets it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub guarantors: Vec<Guarantor>,
    /// Whatever else conditions and expressions ask for: text, numbers, true or false, or lists of those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "attributes_schema")]
    pub attributes: BTreeMap<String, Value>,
}

/// A guarantor of a role: one Identity, or the holders of a role.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.identity) != has(self.role)")
    .message("a guarantor is exactly one of identity, role"))]
pub struct Guarantor {
    /// metadata.name of the Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub identity: Option<String>,
    /// The holders of this `BusinessRole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
    /// What they vouch for, e.g. security.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: Option<String>,
}

/// A member of a role.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// metadata.name of the Identity.
    #[schemars(length(min = 1, max = 253))]
    pub identity: String,
    /// A member from this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Time>,
    /// A member until this moment, which is not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// Attributes of this membership, for expressions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "attributes_schema")]
    pub attributes: BTreeMap<String, Value>,
}
