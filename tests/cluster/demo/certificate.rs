//! A certificate as its owner sees it: asking for one, and reading what came back.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::X509Certificate;

/// Who signs client certificates for the API server.
const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// How long the certificates live: the shortest time that Kubernetes allows.
const SECONDS: u32 = 600;

/// A new key, and what its owner asks for.
pub struct Request {
    key: KeyPair,
    /// The CertificateSigningRequest.
    pub object: Value,
}

impl Request {
    /// Asks for a client certificate for that user, member of that group.
    pub fn new(name: &str, user: &str, group: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, user);
        let request = params.serialize_request(&key)?.pem()?;
        let object = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": name },
            "spec": {
                "request": STANDARD.encode(request),
                "signerName": SIGNER,
                "expirationSeconds": SECONDS,
                "usages": ["client auth"],
            },
        });
        Ok(Self { key, object })
    }

    /// The private key, PEM.
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Reads the certificate that came back, PEM.
    pub fn read(&self, certificate: &str, authorities: &str) -> Result<Certificate> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).context("the certificate is no PEM")?;
        let certificate = pem.parse_x509().context("the certificate is no X.509")?;
        let usage = certificate.extended_key_usage()?.map(|extension| extension.value);
        let validity = certificate.validity();
        Ok(Certificate {
            subject: subject(&certificate),
            valid_until: validity.is_valid().then(|| validity.not_after.to_string()),
            client: usage.is_some_and(|usage| usage.client_auth && !usage.any && !usage.server_auth),
            signed: signed_by_one_of(&certificate, authorities),
            own_key: certificate.public_key().raw == self.key.subject_public_key_info(),
        })
    }
}

/// What a certificate says.
pub struct Certificate {
    /// Its subject, e.g. `CN=martha, O=staff`.
    pub subject: String,
    /// Until when it is valid; none when it is not valid now.
    pub valid_until: Option<String>,
    /// Whether it is for clients, and for nothing else.
    pub client: bool,
    /// Whether one of the authorities signed it.
    pub signed: bool,
    /// Whether it is for the key of who asked.
    pub own_key: bool,
}

/// The content of base64, as a text.
pub fn decode(base64: &str) -> Result<String> {
    Ok(String::from_utf8(STANDARD.decode(base64)?)?)
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject().iter_common_name().map(|name| ("CN", name));
    let groups = certificate.subject().iter_organization().map(|name| ("O", name));
    let parts: Vec<_> = names
        .chain(groups)
        .map(|(kind, attribute)| format!("{kind}={}", attribute.as_str().unwrap_or("(not a text)")))
        .collect();
    parts.join(", ")
}

fn signed_by_one_of(certificate: &X509Certificate<'_>, authorities: &str) -> bool {
    Pem::iter_from_buffer(authorities.as_bytes()).flatten().any(|pem| {
        pem.parse_x509().is_ok_and(|authority| {
            authority.subject() == certificate.issuer()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    })
}
