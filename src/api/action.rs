//! The `action` node of a workflow: what the operator does by itself (requirement R51).

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What the operator does: exactly one of `apply`, `patch`, `delete`, `http` and `job`. Outputs: done, failed, timedOut.
///
/// It is done as the operator, with the rights that the chart value `activities.rules` gives it, at least once: what fails for
/// the moment is tried again until `timeout`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.apply) ? 1 : 0) + (has(self.patch) ? 1 : 0) + (has(self.delete) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.job) ? 1 : 0) == 1")
    .message("an action is exactly one of apply, patch, delete, http, job"))]
pub struct Action {
    /// Applies an object (server-side apply, field manager `quorate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<ApplyAction>,
    /// Changes an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchAction>,
    /// Deletes an object; one that is gone already is as good as deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<DeleteAction>,
    /// Calls an endpoint that the installation configures; the call is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAction>,
    /// Runs a Job and waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobAction>,
    /// How long it may take, tries included: a duration such as `30s` or `1h`. Default `5m`. Then the output is timedOut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"))]
    pub timeout: Option<String>,
}

/// Applies an object.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyAction {
    /// The object, or those of its fields that Quorate is to own. Strings may hold `${CEL}`; a string that is nothing else
    /// becomes the value with its type.
    #[schemars(schema_with = "object_schema")]
    pub object: Value,
    /// Whether fields are taken over that another field manager owns. Default: such a conflict fails the action.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Changes an object.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchAction {
    /// The object.
    pub target: TargetObject,
    /// A merge patch (an object) or a JSON patch (a list). Strings may hold `${CEL}`. Since a try may be repeated after a crash,
    /// a JSON patch that adds to a list should begin with a `test`.
    #[schemars(schema_with = "patch_schema")]
    pub patch: Value,
}

/// Deletes an object.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAction {
    /// The object.
    pub target: TargetObject,
}

/// An object by name. Every field may hold `${CEL}`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetObject {
    /// Such as `v1` or `apps/v1`.
    #[schemars(length(min = 1, max = 4096))]
    pub api_version: String,
    /// Such as `ConfigMap`.
    #[schemars(length(min = 1, max = 4096))]
    pub kind: String,
    /// Where it is; left out for kinds without a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub namespace: Option<String>,
    /// metadata.name.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
}

/// Calls an endpoint.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAction {
    /// The endpoint, by its name in the chart value `activities.endpoints`. A definition never has a URL.
    #[schemars(length(min = 1, max = 63))]
    pub endpoint: String,
    /// What is appended to the path of the endpoint, such as `/revoke`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
    /// Default `POST`.
    #[serde(default, skip_serializing_if = "super::common::is_default")]
    pub method: HttpMethod,
    /// CEL whose value is sent as JSON. Left out: nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,
}

/// How an endpoint is called.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        })
    }
}

/// Runs a Job.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobAction {
    /// Where it runs: any namespace but the operator's. May hold `${CEL}`.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// The spec of a `batch/v1` Job. Strings may hold `${CEL}`.
    #[schemars(schema_with = "object_schema")]
    pub spec: Value,
}

fn object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Strings may hold ${CEL}; a string that is nothing else becomes the value with its type.",
        "x-kubernetes-preserve-unknown-fields": true
    })
}

fn patch_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "A merge patch (an object) or a JSON patch (a list). Strings may hold ${CEL}.",
        "x-kubernetes-preserve-unknown-fields": true
    })
}
