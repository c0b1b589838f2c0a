//! The kinds of `quorate.dev/v1alpha1`, one file each, and [`crds`], the only list of them.
//!
//! These are plain data: what a field *means* is decided in [`crate::engine`]. A field that nothing honours yet is not here,
//! so that nothing is accepted and then ignored. Called by everything; calls nothing.

mod action;
mod approval_process;
mod approval_signal;
mod business_calendar;
mod business_role;
mod change_request;
mod common;
mod delegation;
mod identity;
mod notification;
mod notification_topic;
mod scheduled;
mod workflow_definition;
mod workflow_instance;

pub use action::*;
pub use approval_process::*;
pub use approval_signal::*;
pub use business_calendar::*;
pub use business_role::*;
pub use change_request::*;
pub use common::*;
pub use delegation::*;
pub use identity::*;
pub use notification::*;
pub use notification_topic::*;
pub use scheduled::*;
pub use workflow_definition::*;
pub use workflow_instance::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// Every kind that Quorate serves, as the manifests that are installed: `crds/` and the chart are written from this list.
///
/// # Errors
/// When the generated schema is not the shape that Kubernetes expects: a programming error, found by the drift test.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [
        (WorkflowDefinition::crd(), Value::Null),
        (ApprovalProcess::crd(), Value::Null),
        (WorkflowInstance::crd(), workflow_instance::status_default()),
        (ApprovalSignal::crd(), Value::Null),
        (ChangeRequest::crd(), change_request::status_default()),
        (Identity::crd(), Value::Null),
        (BusinessRole::crd(), Value::Null),
        (Delegation::crd(), Value::Null),
        (BusinessCalendar::crd(), Value::Null),
        (NotificationTopic::crd(), Value::Null),
        (Digest::crd(), Value::Null),
        (Reminder::crd(), Value::Null),
    ]
    .into_iter()
    .map(|(crd, status)| finish(&crd, &status))
    .collect()
}

/// What the derive macro cannot say: `spec` is required (a rule inside spec is skipped when spec is removed), the label that
/// the actor proof and the chart find the kinds by, and the status that an object has before its controller has seen it.
fn finish(crd: &CustomResourceDefinition, status: &Value) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    crd["metadata"]["labels"] = json!({"app.kubernetes.io/name": "quorate", "app.kubernetes.io/component": "api"});
    crd["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        schema["required"] = json!(["spec"]);
        if !status.is_null() {
            schema["properties"]["status"]["default"] = status.clone();
        }
    }
    serde_json::from_value(crd)
}

/// An optional field is left out, never null, so that `has()` in a rule means that there is a value; and number formats that
/// Kubernetes does not know are dropped (the bounds say the same).
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            if fields.get("format").and_then(Value::as_str) == Some("uint32") {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
