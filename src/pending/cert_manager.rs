//! `CertificateRequests` of cert-manager: what they ask for, whether they wait, how they are approved and denied.
//!
//! As cert-manager has it: an approver adds a condition `Approved` or `Denied` to the status, which nobody takes back; the issuer
//! then sets `Ready`. Who asks was written into the spec by cert-manager's own webhook.

use super::csr::{APPROVED, DENIED};
use super::pkcs10::{Requested, decode, words};
use super::write_back::Written;
use crate::api::{Actor, Outcome};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The API group of cert-manager.
pub const GROUP: &str = "cert-manager.io";
/// The resource of its requests.
pub const RESOURCE: &str = "certificaterequests";
/// Their kind.
pub const KIND: &str = "CertificateRequest";
/// The subresource that they are decided through.
pub const SUBRESOURCE: &str = "status";

/// Decodes the PKCS#10 request that it carries.
///
/// # Errors
/// Why it cannot be decoded, for people.
pub fn requested(object: &Value) -> Result<Requested, String> {
    let encoded = object["spec"]["request"].as_str().unwrap_or_default();
    let pem = STANDARD.decode(encoded).map_err(|error| format!("spec.request is not base64: {error}"))?;
    decode(&pem)
}

/// Who asked, as cert-manager wrote it into the spec (rule 17).
#[must_use]
pub fn initiator(object: &Value) -> Actor {
    let text = |field: &str| object["spec"][field].as_str().unwrap_or_default().to_owned();
    let groups = object["spec"]["groups"].as_array().into_iter().flatten();
    Actor {
        username: text("username"),
        uid: text("uid"),
        groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
    }
}

/// A title for people.
#[must_use]
pub fn title(object: &Value, requested: &Requested) -> String {
    let authority = if object["spec"]["isCA"] == json!(true) { "Certificate of an authority" } else { "Certificate" };
    let issuer = &object["spec"]["issuerRef"];
    let (kind, name) = (issuer["kind"].as_str().unwrap_or("Issuer"), issuer["name"].as_str().unwrap_or_default());
    let usages = object["spec"]["usages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let usages: Vec<_> = usages.collect();
    let usages = if usages.is_empty() { String::new() } else { format!(" ({})", usages.join(", ")) };
    format!("{authority} {} by {kind} {name}{usages}", words(requested).trim())
}

/// Whether it was approved or denied, with the message that says by whom.
#[must_use]
pub fn decision(object: &Value) -> Option<(bool, String)> {
    let decided = conditions(object).find_map(|condition| match (told(condition, "type"), told(condition, "status")) {
        ("Approved", "True") => Some((true, condition)),
        ("Denied", "True") => Some((false, condition)),
        _ => None,
    });
    decided.map(|(approved, condition)| {
        let ours = [APPROVED, DENIED].contains(&told(condition, "reason"));
        (approved, if ours { told(condition, "message").to_owned() } else { String::new() })
    })
}

/// What happened to it without a decision; none while it may still be decided.
#[must_use]
pub fn over(object: &Value) -> Option<String> {
    conditions(object).find_map(|condition| {
        let (type_, status, reason) = (told(condition, "type"), told(condition, "status"), told(condition, "reason"));
        let over = match type_ {
            "Ready" => status == "True" || ["Issued", "Failed", "Denied"].contains(&reason),
            "InvalidRequest" => status == "True",
            _ => false,
        };
        over.then(|| format!("it is over: condition {type_} is {status}, {reason}"))
    })
}

/// The condition that says how it was decided, beside those that it has.
#[must_use]
pub fn written(object: &Value, outcome: Outcome, message: &str, now: Timestamp) -> Written {
    let (type_, reason) = if outcome == Outcome::Approved { ("Approved", APPROVED) } else { ("Denied", DENIED) };
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition =
        json!({"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let all: Vec<_> = conditions(object).cloned().chain([condition]).collect();
    Written { subresource: Some(SUBRESOURCE.to_owned()), patch: json!({"status": {"conditions": all}}) }
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

fn told<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decision, initiator, over, written};
    use crate::api::Outcome;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn with(conditions: &Value) -> Value {
        json!({"spec": {"username": "alice", "groups": ["staff"]}, "status": {"conditions": conditions}})
    }

    #[test]
    fn r29_a_certificate_request_waits_until_it_is_decided_or_over() {
        let pending = json!([{"type": "Ready", "status": "False", "reason": "Pending"}]);
        for (conditions, decided, is_over) in [
            (json!([]), None, false),
            (pending, None, false),
            (json!([{"type": "Approved", "status": "True", "reason": "cert-manager.io"}]), Some(true), false),
            (json!([{"type": "Denied", "status": "True", "reason": "policy"}]), Some(false), false),
            (json!([{"type": "Approved", "status": "False"}]), None, false),
            (json!([{"type": "Ready", "status": "False", "reason": "Failed"}]), None, true),
            (json!([{"type": "InvalidRequest", "status": "True", "reason": "x"}]), None, true),
        ] {
            let object = with(&conditions);
            let seen = (decision(&object).map(|(approved, _)| approved), over(&object).is_some());
            assert_eq!(seen, (decided, is_over), "{object}");
        }
    }

    #[test]
    fn the_decision_is_added_to_what_is_there() {
        let object = with(&json!([{"type": "Ready", "status": "False", "reason": "Pending"}]));
        let patch = written(&object, Outcome::Expired, "nobody answered", Timestamp::UNIX_EPOCH).patch;
        let conditions = patch["status"]["conditions"].as_array().expect("a list");
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[1]["type"], "Denied");
        assert_eq!(decision(&patch), Some((false, "nobody answered".to_owned())));
        assert_eq!(initiator(&object).username, "alice");
    }
}
