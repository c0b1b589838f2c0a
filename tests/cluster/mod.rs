//! The real control plane for tests, demo and bench: etcd, kube-apiserver, kube-controller-manager, the operator.
//!
//! ```no_run
//! let cluster = ControlPlane::start(Options::default()).await?;
//! cluster.install_chart(&["deployment.enabled=false"]).await?;
//! let operator = Operator::spawn(&cluster, OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"))).await?;
//! operator.wait_ready().await?;
//! let mary: kube::Client = cluster.as_user("mary", &["enrollment-approvers"]).await?;
//! ```
//!
//! Every process started here ends with the process that started it, also when that one panics or is killed: see
//! [`supervisor`]. Everything listens on 127.0.0.1, on ports that are free, in a folder of its own, so that any number
//! of control planes and checkouts run side by side. The programs come from `tests/cluster/build.sh`.
//!
//! Tests that can share a control plane keep it in a `static` [`tokio::sync::OnceCell`]. A static is never dropped; it
//! ends with the process all the same. Clients belong to the runtime of one test: make them where they are used.
//!
//! Used by the integration tests (`tests/suite`) and by the example `testbed`, which the Makefile calls. It knows
//! nothing of what the operator does.
#![allow(dead_code, reason = "the tests and the testbed each use a part of the harness")]
#![allow(unused_imports, reason = "likewise")]
#![allow(clippy::doc_markdown, reason = "names of Kubernetes kinds are words here")]

pub mod audit;
pub mod chart;
pub mod control_plane;
pub mod kept;
pub mod kubeconfig;
pub mod kubectl;
pub mod operator;
pub mod pki;
pub mod ports;
pub mod supervisor;

#[cfg(test)]
mod selftest;

use std::path::PathBuf;

pub use audit::{AuditLog, Entry};
pub use control_plane::{ControlPlane, Options};
pub use kubectl::Output;
pub use operator::{Operator, OperatorOptions};

/// The checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where everything generated for and by control planes lies.
pub fn generated() -> PathBuf {
    root().join("target/cluster")
}

/// A program that `build.sh` has built: kube-apiserver, kube-controller-manager, kubectl, etcd or helm.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = generated().join("bin").join(name);
    anyhow::ensure!(path.exists(), "{} is missing: run `make tools`", path.display());
    Ok(path)
}
