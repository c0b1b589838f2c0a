//! Certificate signing requests of Kubernetes: what they ask for, whose names they may carry, how they are approved and denied.

use crate::api::{Actor, Outcome, RequestedIdentity, WorkflowInstance};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// The API group of certificate signing requests.
pub const GROUP: &str = "certificates.k8s.io";
/// Their resource.
pub const RESOURCE: &str = "certificatesigningrequests";

/// The reasons that conditions written by Quorate carry.
const APPROVED: &str = "QuorateApproved";
const DENIED: &str = "QuorateDenied";

/// The attribute by which a client certificate names the uid of its user.
const USER_UID: &str = "1.3.6.1.4.1.57683.2";

/// What a certificate request asks for, as conditions see it under `request`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// Common names; a sane request has one.
    pub common_names: Vec<String>,
    /// Organizations: the groups of a client certificate.
    pub organizations: Vec<String>,
    /// Every other attribute of the subject, as `oid=value`.
    pub other_attributes: Vec<String>,
    /// The uid that a client certificate would carry.
    pub uids: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Mail addresses.
    pub email_addresses: Vec<String>,
    /// IP addresses, as written in the request.
    pub ip_addresses: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Alternative names of other kinds.
    pub other_names: Vec<String>,
}

/// Decodes the PKCS#10 request that a CSR carries.
///
/// # Errors
/// Why it cannot be decoded, for people.
pub fn requested(csr: &CertificateSigningRequest) -> Result<Requested, String> {
    let (_, pem) =
        parse_x509_pem(&csr.spec.request.0).map_err(|error| format!("spec.request is no PEM block: {error}"))?;
    let (rest, request) = X509CertificationRequest::from_der(&pem.contents)
        .map_err(|error| format!("spec.request is no PKCS#10 request: {error}"))?;
    if !rest.is_empty() {
        return Err("spec.request has bytes after the PKCS#10 request".to_owned());
    }
    let mut requested = Requested::default();
    for attribute in request.certification_request_info.subject.iter_attributes() {
        let oid = attribute.attr_type();
        let value = attribute
            .as_str()
            .map_err(|_| format!("spec.request: the value of subject attribute {oid} is not text"))?
            .to_owned();
        if *oid == OID_X509_COMMON_NAME {
            requested.common_names.push(value);
        } else if *oid == OID_X509_ORGANIZATION_NAME {
            requested.organizations.push(value);
        } else if oid.to_id_string() == USER_UID {
            requested.uids.push(value);
        } else {
            requested.other_attributes.push(format!("{oid}={value}"));
        }
    }
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => requested.dns_names.push((*name).to_owned()),
                    GeneralName::RFC822Name(name) => requested.email_addresses.push((*name).to_owned()),
                    GeneralName::URI(name) => requested.uris.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => requested.ip_addresses.push(address(bytes)),
                    other => requested.other_names.push(other.to_string()),
                }
            }
        }
    }
    Ok(requested)
}

/// Why a request may not carry the name that it asks for, empty when it may: by default a person asks for their own name and
/// groups only. Several common names, or a uid of somebody else, would let the signed certificate speak for another person.
#[must_use]
pub fn foreign_identity(
    csr: &CertificateSigningRequest,
    requested: &Requested,
    allowed: RequestedIdentity,
) -> Vec<String> {
    if allowed == RequestedIdentity::Any {
        return Vec::new();
    }
    let username = csr.spec.username.as_deref().unwrap_or_default();
    let uid = csr.spec.uid.as_deref().unwrap_or_default();
    let groups = csr.spec.groups.as_deref().unwrap_or_default();
    let mut faults = Vec::new();
    match requested.common_names.as_slice() {
        [name] if name == username && !username.is_empty() => {}
        [] => faults.push(format!("it has no common name; {username} may ask for CN={username}")),
        names => faults
            .push(format!("it asks for CN={}, and {username} may ask for CN={username} only", names.join(", CN="))),
    }
    let foreign: Vec<_> =
        requested.organizations.iter().filter(|organization| !groups.contains(organization)).collect();
    for organization in foreign {
        faults.push(format!("it asks for O={organization}, a group that {username} is not in"));
    }
    for asked in requested.uids.iter().filter(|asked| *asked != uid) {
        faults.push(format!("it asks for the uid {asked}, which is not that of {username}"));
    }
    faults
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
    let subject = requested.common_names.iter().map(|name| format!("CN={name}"));
    let subject: Vec<_> = subject.chain(requested.organizations.iter().map(|name| format!("O={name}"))).collect();
    let names = requested
        .dns_names
        .iter()
        .chain(&requested.ip_addresses)
        .chain(&requested.email_addresses)
        .chain(&requested.uris);
    let names: Vec<_> = names.map(String::as_str).collect();
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
    let usages = csr.spec.usages.as_deref().unwrap_or_default().join(", ");
    let title = format!("Certificate {}{names} by {} ({usages})", subject.join(", "), csr.spec.signer_name);
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
    let digest = Sha256::digest(format!("{uid}/{attempt}").as_bytes());
    let hash = digest.iter().take(4).fold(0_u32, |hash, byte| (hash << 8) | u32::from(*byte));
    let readable: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect();
    let readable: String = readable.to_lowercase().chars().take(200).collect();
    format!("{}-{hash:08x}", readable.trim_matches(['-', '.']))
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

/// How a condition says which instance it is the outcome of.
fn mark(instance: &WorkflowInstance) -> String {
    let metadata = &instance.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("workflowinstance {}/{}, uid {}", text(&metadata.namespace), text(&metadata.name), text(&metadata.uid))
}

fn address(bytes: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr};
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(bytes).to_string()
    } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(bytes).to_string()
    } else {
        format!("{bytes:?}")
    }
}
