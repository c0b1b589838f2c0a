//! Free ports on 127.0.0.1.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Context;

/// Below the range from which systems take ports for outgoing connections, so that none of those takes a port between
/// the moment it was found free and the moment the server binds it.
const RANGE: std::ops::Range<u64> = 12_000..30_000;

/// What this process has handed out: never the same port twice.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// An address nobody listens on. Another process can still be faster: who must not fail then tries again.
///
/// # Errors
/// When a hundred ports in a row are in use.
pub fn free() -> anyhow::Result<SocketAddr> {
    (0..100).find_map(|_| candidate()).context("no free port found on 127.0.0.1")
}

fn candidate() -> Option<SocketAddr> {
    // The standard library's source of randomness: each RandomState has a new key.
    let random = RandomState::new().build_hasher().finish();
    let port = u16::try_from(RANGE.start + random % (RANGE.end - RANGE.start)).ok()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let new = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
    (new && TcpListener::bind(address).is_ok()).then_some(address)
}
