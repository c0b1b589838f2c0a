//! PKCS#10: what a certificate request asks for, and whose names it may carry.

use crate::api::{Actor, RequestedIdentity};
use serde::Serialize;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

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

/// Decodes a PKCS#10 request in PEM, the `spec.request` of an object.
///
/// # Errors
/// Why it cannot be decoded, for people.
pub fn decode(pem: &[u8]) -> Result<Requested, String> {
    let (_, pem) = parse_x509_pem(pem).map_err(|error| format!("spec.request is no PEM block: {error}"))?;
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
pub fn foreign_identity(initiator: &Actor, requested: &Requested, allowed: RequestedIdentity) -> Vec<String> {
    if allowed == RequestedIdentity::Any {
        return Vec::new();
    }
    let Actor { username, uid, groups } = initiator;
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

/// The certificate that is asked for, in words: `CN=www for www.example.com`.
#[must_use]
pub fn words(requested: &Requested) -> String {
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
    format!("{}{names}", subject.join(", "))
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
