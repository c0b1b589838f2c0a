//! Certificates: the cluster's authority, its servers, and people (CN = user, O = each group).

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SigningKey as _,
};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_UTCTIME;
use yasna::{DERWriter, Tag};

/// A certificate and its private key, PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// The certificate authority of one cluster: signs its servers, its people, and with kube-controller-manager its
/// CertificateSigningRequests.
pub struct Authority {
    key: KeyPair,
    /// The authority's certificate, PEM.
    pub certificate: String,
}

/// The authority's name, which every certificate that it signs repeats.
const NAME: &str = "quorate-testbed";

impl Authority {
    /// A new authority with a new key.
    pub fn create() -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = Self::params().self_signed(&key)?.pem();
        Ok(Self { key, certificate })
    }

    /// The authority that [`Self::save`] wrote.
    pub fn load(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let key = KeyPair::from_pem(&read("ca.key")?)?;
        Ok(Self { key, certificate: read("ca.crt")? })
    }

    /// Writes `ca.crt` and `ca.key`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        Identity { certificate: self.certificate.clone(), key: self.key.serialize_pem() }.save(folder, "ca")
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    /// A certificate for a server on 127.0.0.1 and localhost.
    pub fn server(&self, name: &str) -> Result<Identity> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let authority = Self::params();
        let issuer = Issuer::from_params(&authority, &self.key);
        Ok(Identity { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }

    /// A certificate that makes its bearer `user`, member of `groups`.
    pub fn person(&self, user: &str, groups: &[&str], valid: Duration) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let body = person_body(&key, user, groups, valid);
        let signature = self.key.sign(&body)?;
        let certificate = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                write_algorithm(writer.next());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(Identity { certificate: pem("CERTIFICATE", &certificate), key: key.serialize_pem() })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate)?;
        std::fs::write(folder.join(format!("{name}.key")), &self.key)?;
        Ok(())
    }
}

/// Writes a key pair without certificate, what ServiceAccount tokens are signed with: `NAME.key` and `NAME.pub`.
pub fn save_key_pair(folder: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    std::fs::write(folder.join(format!("{name}.pub")), key.public_key_pem())?;
    Ok(())
}

/// The part of a person's certificate that is signed (RFC 5280, section 4.1), written by hand because a name in rcgen
/// holds one organization at most and a person is in many groups.
fn person_body(key: &KeyPair, user: &str, groups: &[&str], valid: Duration) -> Vec<u8> {
    // Clocks of containers and hosts differ a little.
    let from = Timestamp::now() - Duration::from_hours(1);
    let until = Timestamp::now() + valid;
    // Random, unique and positive: a part of the public key, behind its first byte which says how it is encoded.
    let serial: Vec<u8> = std::iter::once(1).chain(key.der_bytes().iter().copied().skip(1).take(15)).collect();

    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2)); // X.509 version 3
            writer.next().write_bigint_bytes(&serial, true);
            write_algorithm(writer.next());
            write_name(writer.next(), &[(COMMON_NAME, NAME)]);
            writer.next().write_sequence(|writer| {
                for moment in [from, until] {
                    let text = moment.strftime("%y%m%d%H%M%SZ").to_string();
                    writer.next().write_tagged_implicit(TAG_UTCTIME, |writer| {
                        writer.write_bytes(text.as_bytes());
                    });
                }
            });
            let organizations = groups.iter().map(|group| (ORGANIZATION, *group));
            let subject: Vec<_> = organizations.chain([(COMMON_NAME, user)]).collect();
            write_name(writer.next(), &subject);
            writer.next().write_der(&key.subject_public_key_info());
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| {
                    write_extension(writer.next(), KEY_USAGE, |writer| {
                        writer.write_bitvec_bytes(&[0x80], 1);
                    });
                    write_extension(writer.next(), EXTENDED_KEY_USAGE, |writer| {
                        writer.write_sequence_of(|writer| {
                            writer.next().write_oid(&oid(CLIENT_AUTHENTICATION));
                        });
                    });
                });
            });
        });
    })
}

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const CLIENT_AUTHENTICATION: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
/// What rcgen's default key signs with.
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

fn write_algorithm(writer: DERWriter) {
    writer.write_sequence(|writer| writer.next().write_oid(&oid(ECDSA_WITH_SHA256)));
}

fn write_name(writer: DERWriter, attributes: &[(&[u64], &str)]) {
    writer.write_sequence(|writer| {
        for (kind, value) in attributes {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(kind));
                    writer.next().write_utf8_string(value);
                });
            });
        }
    });
}

fn write_extension(writer: DERWriter, kind: &[u64], value: impl FnOnce(DERWriter)) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_bool(true); // critical
        writer.next().write_bytes(&yasna::construct_der(value));
    });
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
