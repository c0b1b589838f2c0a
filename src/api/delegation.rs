//! `Delegation`: who decides for somebody who is away.

use super::{Actor, ReadyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A person names their own substitute for a period. Immutable; delete it to end it.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Delegation",
    plural = "delegations",
    shortname = "deleg",
    category = "approvals",
    status = "ReadyStatus",
    doc = "Somebody decides for me, from when until when. Covers what the directory lists me for: roles, guarantors, supervisors, user; never groups. Both have one vote together.",
    validation = Rule::new("self.spec == oldSelf.spec").message("a delegation is immutable: delete it and create another one"),
    selectable = ".spec.to",
    selectable = ".spec.principal.username",
    printcolumn(name = "Principal", type_ = "string", json_path = ".spec.principal.username"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".spec.roles", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.from) || !has(self.until) || self.from < self.until")
    .message("until must be after from"))]
pub struct DelegationSpec {
    /// Who decides for me: an Identity by name, or a username.
    #[schemars(length(min = 1, max = 1024))]
    pub to: String,
    /// From this moment. Default: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Until this moment, which is not included. Default: until this is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Only what I may decide as a holder of these `BusinessRoles`. Default: everything that the directory lists me for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub roles: Vec<String>,
    /// Who delegates: filled in by the API server (or by the client where the server cannot), and always checked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Actor>,
}
