//! `BusinessRole`: who holds a role of the organization.

use super::ReadyStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

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
    printcolumn(name = "Members", type_ = "string", json_path = ".spec.members[*].identity"),
    printcolumn(name = "Groups", type_ = "string", json_path = ".spec.groups[*]", priority = "1"),
    printcolumn(name = "Subroles", type_ = "string", json_path = ".spec.subroles[*]", priority = "1"),
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
}
