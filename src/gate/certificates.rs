//! The gate's own certificates: a self-signed authority and one server certificate for each generation.
//!
//! Renewal loses no request: the new authority goes into the configuration that the API server has, beside the old one; the new
//! certificate is served when the API server has provably taken that in, and `SETTLING` has passed for other API servers; the
//! old authority leaves a generation later. [`plan`], which says what is due, is pure. All replicas share what is stored.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How long other API servers may take to read a new configuration after one is known to have it; shorter where certificates
/// live for less than two hours.
const SETTLING: SignedDuration = SignedDuration::from_secs(60);

/// Clocks of machines differ a little.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// An authority and the certificate that it signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// The certificate of the authority, PEM. Its key was thrown away.
    pub authority: String,
    /// The certificate that is served, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The name or address that it is for.
    pub host: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// When the API server was first known to trust the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_at: Option<Timestamp>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be made.
    #[error("a certificate for the gate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    /// A moment is out of range.
    #[error("a certificate for the gate cannot be made: {0}")]
    Time(#[from] time::error::ComponentRange),
    /// What is stored cannot be used.
    #[error("the stored certificate of the gate cannot be used: {0}; delete the Secret that holds it")]
    Stored(String),
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Which generation is served; none where there is none yet.
    pub serve: Option<usize>,
    /// Whether a new generation is to be made, now.
    pub renew: bool,
    /// When something is due next without anything else happening.
    pub next: Timestamp,
}

/// What is due for these generations, the oldest first, for this host.
#[must_use]
pub fn plan(stored: &[Generation], host: &str, lifetime: SignedDuration, now: Timestamp) -> Plan {
    let settling = SETTLING.min(lifetime / 120);
    let usable = |generation: &Generation| generation.host == host && generation.expires > now;
    let settled = |generation: &Generation| generation.trusted_at.map(|trusted| trusted + settling);
    let served = stored
        .iter()
        .rposition(|generation| usable(generation) && settled(generation).is_some_and(|settled| settled <= now));
    // Nothing has settled: whatever there is serves, and the first to be made is the first to be trusted.
    let serve = served.or_else(|| stored.iter().position(usable)).or(stored.len().checked_sub(1));
    let newest = stored.iter().rfind(|generation| generation.host == host);
    let due = newest.map(|newest| (newest.made_at + lifetime / 3 * 2).min(newest.expires));
    let renew = due.is_none_or(|due| due <= now);
    let next = [due, newest.and_then(settled)].into_iter().flatten().filter(|moment| *moment > now).min();
    Plan { serve, renew, next: next.unwrap_or(now + lifetime / 3) }
}

/// Adds a generation, and lets go of those that nobody serves any more: the newest two stay, which is the one that is served and
/// the new one.
pub fn add(stored: &mut Vec<Generation>, serve: Option<usize>, new: Generation) {
    let serving = serve.and_then(|serve| stored.get(serve).cloned());
    stored.clear();
    stored.extend(serving);
    stored.push(new);
}

/// Every authority that the API server is to trust, PEM.
#[must_use]
pub fn bundle(stored: &[Generation]) -> String {
    stored.iter().map(|generation| generation.authority.as_str()).collect()
}

/// Makes a generation.
///
/// # Errors
/// When a certificate cannot be made.
pub fn generate(host: &str, lifetime: SignedDuration, now: Timestamp) -> Result<Generation, Error> {
    let (from, until) = (now - SKEW, now + lifetime);
    let moment = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.as_second());
    let named = |name: String| {
        let mut named = DistinguishedName::new();
        named.push(DnType::CommonName, name);
        named
    };
    let mut authority = CertificateParams::default();
    // Authorities of two generations stand side by side: each has a name of its own.
    authority.distinguished_name = named(format!("quorate-gate-{}", now.as_millisecond()));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (authority.not_before, authority.not_after) = (moment(from)?, moment(until)?);
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?.pem();

    // An address becomes an IP address, anything else a DNS name.
    let mut server = CertificateParams::new(vec![host.to_owned()])?;
    server.distinguished_name = named("quorate-gate".to_owned());
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (moment(from)?, moment(until)?);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &Issuer::from_params(&authority, &authority_key))?.pem();
    Ok(Generation {
        authority: authority_certificate,
        certificate,
        key: key.serialize_pem(),
        host: host.to_owned(),
        made_at: now,
        expires: until,
        trusted_at: None,
    })
}

/// A generation as it is served.
///
/// # Errors
/// When it cannot be read.
pub fn certified(generation: &Generation) -> Result<CertifiedKey, Error> {
    let stored = |error: &dyn std::fmt::Display| Error::Stored(error.to_string());
    let chain = CertificateDer::pem_slice_iter(generation.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(generation.key.as_bytes()).map_err(|error| stored(&error))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| stored(&error))?;
    Ok(CertifiedKey::new(chain.map_err(|error| stored(&error))?, key))
}

#[cfg(test)]
mod tests {
    use super::{Generation, SETTLING, add, bundle, certified, generate, plan};
    use jiff::{SignedDuration, Timestamp};

    const DAYS: SignedDuration = SignedDuration::from_hours(90 * 24);

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn made(hours: i64, trusted: Option<i64>) -> Generation {
        Generation {
            authority: format!("authority {hours}\n"),
            certificate: String::new(),
            key: String::new(),
            host: "gate".to_owned(),
            made_at: at(hours),
            expires: at(hours) + DAYS,
            trusted_at: trusted.map(at),
        }
    }

    /// Which generation is served, and whether a new one is made.
    fn due(stored: &[Generation], hours: i64) -> (Option<usize>, bool) {
        let plan = plan(stored, "gate", DAYS, at(hours));
        assert!(plan.next > at(hours), "nothing is due in the past");
        (plan.serve, plan.renew)
    }

    #[test]
    fn r25_a_new_authority_is_trusted_before_it_is_served() {
        assert_eq!(due(&[], 0), (None, true));
        assert_eq!(due(&[made(0, None)], 1), (Some(0), false), "the first one is served at once");
        assert_eq!(due(&[made(0, Some(0))], 60 * 24 - 1), (Some(0), false));
        assert_eq!(due(&[made(0, Some(0))], 60 * 24), (Some(0), true), "two thirds of its life are over");
        let old = || made(0, Some(0));
        assert_eq!(due(&[old(), made(1440, None)], 1441), (Some(0), false), "nobody trusts it yet");
        assert_eq!(due(&[old(), made(1440, Some(1440))], 1440), (Some(0), false), "others may not trust it yet");
        assert_eq!(due(&[old(), made(1440, Some(1440))], 1441), (Some(1), false));
        assert_eq!(due(&[old(), made(1440, None)], 90 * 24 + 1), (Some(1), false), "the old one has expired");
        assert!(SETTLING < SignedDuration::from_hours(1));
    }

    #[test]
    fn another_address_needs_another_certificate() {
        let plan = plan(&[made(0, Some(0))], "elsewhere", DAYS, at(1));
        assert_eq!((plan.serve, plan.renew), (Some(0), true));
    }

    #[test]
    fn the_old_authority_leaves_a_generation_later() {
        let mut stored = vec![made(0, Some(0))];
        add(&mut stored, Some(0), made(1, None));
        assert_eq!(bundle(&stored), "authority 0\nauthority 1\n");
        add(&mut stored, Some(1), made(2, None));
        assert_eq!(bundle(&stored), "authority 1\nauthority 2\n");
    }

    #[test]
    fn what_is_made_can_be_served() {
        for host in ["127.0.0.1", "quorate.quorate-system.svc"] {
            let made = generate(host, DAYS, Timestamp::now()).unwrap();
            assert_eq!(certified(&made).unwrap().cert.len(), 1);
        }
        assert!(certified(&made(0, None)).is_err());
    }
}
