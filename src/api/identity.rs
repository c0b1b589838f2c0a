//! `Identity`: a person of the directory.

use super::{ReadyStatus, attributes_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A person: ties names of the API server together, and says from when until when they count.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Identity",
    plural = "identities",
    shortname = "ident",
    category = "approvals",
    status = "ReadyStatus",
    doc = "A person of the directory. username and aliases are one person; two Identities that claim one name are both not Ready and neither counts.",
    selectable = ".spec.username",
    printcolumn(name = "Username", type_ = "string", json_path = ".spec.username"),
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Active", type_ = "boolean", json_path = ".spec.active"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Managers", type_ = "string", json_path = ".spec.managers", priority = "1"),
    printcolumn(name = "Mail", type_ = "string", json_path = ".spec.email", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IdentitySpec {
    /// The username, as the API server knows it. Compared letter by letter.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// The mail address, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub email: Option<String>,
    /// Other usernames of the same person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub aliases: Vec<String>,
    /// An inactive person decides nothing, through whatever source. Default true.
    #[serde(default = "default_active")]
    pub active: bool,
    /// Counts from this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Time>,
    /// Counts until this moment, which is not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The language that the person reads, e.g. cs: for conditions and expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 35))]
    pub locale: Option<String>,
    /// What kind of person, e.g. employee: for conditions and expressions.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: Option<String>,
    /// The managers, by Identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub managers: Vec<String>,
    /// Who vouches for this person, by Identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub guarantors: Vec<String>,
    /// Whatever else conditions and expressions ask for: text, numbers, true or false, or lists of those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "attributes_schema")]
    pub attributes: BTreeMap<String, Value>,
}

fn default_active() -> bool {
    true
}
