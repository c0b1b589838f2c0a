//! What these tests share with those on a control plane: programs that end with this process, free ports, certificates.
#![allow(dead_code, reason = "a part of the harness is used")]
#![allow(clippy::doc_markdown, reason = "names of Kubernetes kinds are words here")]

use std::path::PathBuf;

#[path = "../cluster/pki.rs"]
pub mod pki;
#[path = "../cluster/ports.rs"]
pub mod ports;
#[path = "../cluster/supervisor.rs"]
pub mod supervisor;

/// The checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where everything generated for tests lies.
pub fn generated() -> PathBuf {
    root().join("target/cluster")
}
