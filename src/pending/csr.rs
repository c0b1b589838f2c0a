//! Certificate signing requests of Kubernetes: what they ask for, how they are approved and denied.

use super::pkcs10::words;
pub use super::pkcs10::{Requested, decode};
use super::{instance_name_of, mark};
use crate::api::{Actor, Outcome, WorkflowInstance};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// The API group of certificate signing requests.
pub const GROUP: &str = "certificates.k8s.io";
/// Their resource.
pub const RESOURCE: &str = "certificatesigningrequests";

/// The reasons that conditions written by Quorate carry.
pub(super) const APPROVED: &str = "QuorateApproved";
pub(super) const DENIED: &str = "QuorateDenied";

/// Decodes the PKCS#10 request that a CSR carries.
///
/// # Errors
/// Why it cannot be decoded, for people.
pub fn requested(csr: &CertificateSigningRequest) -> Result<Requested, String> {
    decode(&csr.spec.request.0)
}

/// The input of conditions: the object, and what it asks for.
#[must_use]
pub fn input(csr: &CertificateSigningRequest, requested: &Requested) -> Value {
    json!({"object": csr, "request": requested, "initiator": initiator(csr)})
}

/// What a remembered object asks for, as expressions of a workflow see it under `request`; null where it is no certificate
/// request, or cannot be decoded.
#[must_use]
pub fn decoded(object: &Value) -> Value {
    let csr = serde_json::from_value::<CertificateSigningRequest>(object.clone()).ok();
    let requested = csr.and_then(|csr| requested(&csr).ok());
    requested.and_then(|requested| serde_json::to_value(requested).ok()).unwrap_or_default()
}

/// Who asked, as the API server wrote it into the spec (rule 17).
#[must_use]
pub fn initiator(csr: &CertificateSigningRequest) -> Actor {
    Actor {
        username: csr.spec.username.clone().unwrap_or_default(),
        uid: csr.spec.uid.clone().unwrap_or_default(),
        groups: csr.spec.groups.clone().unwrap_or_default(),
    }
}

/// A title for people.
#[must_use]
pub fn title(csr: &CertificateSigningRequest, requested: &Requested) -> String {
    let usages = csr.spec.usages.as_deref().unwrap_or_default().join(", ");
    let title = format!("Certificate {} by {} ({usages})", words(requested), csr.spec.signer_name);
    title.chars().take(512).collect()
}

/// The object as an instance remembers it: what is to be approved, without what the server keeps about it.
#[must_use]
pub fn remembered(csr: &CertificateSigningRequest) -> Value {
    let metadata = json!({"name": csr.metadata.name, "uid": csr.metadata.uid});
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "CertificateSigningRequest", "metadata": metadata, "spec": csr.spec})
}

/// The name of the instance for a request: readable, and bound to the uid, so that it is the same however often it is made.
#[must_use]
pub fn instance_name(csr: &CertificateSigningRequest, attempt: u32) -> String {
    let name = csr.metadata.name.as_deref().unwrap_or_default();
    let uid = csr.metadata.uid.as_deref().unwrap_or_default();
    instance_name_of(name, &format!("{uid}/{attempt}"))
}

/// What an instance sees of its object.
#[must_use]
pub fn observe(instance: &WorkflowInstance, csr: Option<&CertificateSigningRequest>) -> crate::engine::Object {
    use crate::engine::Object;
    let Some(object) = &instance.spec.object else {
        return Object::None;
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let Some(csr) = csr else {
        return Object::Gone(format!("CertificateSigningRequest {name} is gone"));
    };
    if csr.metadata.uid.as_deref() != object["metadata"]["uid"].as_str() {
        return Object::Gone(format!("CertificateSigningRequest {name} was deleted and made again"));
    }
    if serde_json::to_value(&csr.spec).ok().as_ref() != Some(&object["spec"]) {
        return Object::Gone(format!("CertificateSigningRequest {name} is not what was to be approved"));
    }
    let conditions = csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let decision = conditions.iter().find(|condition| ["Approved", "Denied"].contains(&condition.type_.as_str()));
    match decision {
        None => Object::Waiting,
        Some(condition) => {
            let approved = condition.type_ == "Approved";
            let ours = condition.message.as_deref().is_some_and(|message| message.contains(&mark(instance)))
                && [APPROVED, DENIED].contains(&condition.reason.as_deref().unwrap_or_default());
            if ours {
                Object::Decided(approved)
            } else {
                let verb = if approved { "approved" } else { "denied" };
                Object::Gone(format!("CertificateSigningRequest {name} was {verb} by somebody else"))
            }
        }
    }
}

/// Whether a request still waits for a decision.
#[must_use]
pub fn waits(csr: &CertificateSigningRequest) -> bool {
    let conditions = csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    csr.metadata.deletion_timestamp.is_none()
        && !conditions.iter().any(|condition| ["Approved", "Denied", "Failed"].contains(&condition.type_.as_str()))
}

/// Writes the outcome of an instance into its request: who decided, and the comments of rejections, which the requester sees.
pub fn decide(
    csr: &mut CertificateSigningRequest,
    instance: &WorkflowInstance,
    outcome: Outcome,
    told: &str,
    now: Time,
) {
    let message = format!("{told} ({})", mark(instance));
    if outcome == Outcome::Approved {
        add_condition(csr, "Approved", APPROVED, message, now);
    } else {
        add_condition(csr, "Denied", DENIED, message, now);
    }
}

/// Denies a request that nobody needs to be asked about.
pub fn deny(csr: &mut CertificateSigningRequest, why: &str, now: Time) {
    add_condition(csr, "Denied", DENIED, why.to_owned(), now);
}

fn add_condition(csr: &mut CertificateSigningRequest, type_: &str, reason: &str, message: String, now: Time) {
    let conditions = csr.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(now),
        last_transition_time: None,
    });
}
