//! The one control plane of a checkout that people use: `make cluster`, `make up`.
//!
//! It lives in `target/cluster/run`. The folder is the lock: who could make it starts the control plane in it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::control_plane::{ControlPlane, Options, StartError};
use super::{generated, supervisor};

/// Where it runs.
pub fn folder() -> PathBuf {
    generated().join("run")
}

/// The kubeconfigs of people.
pub fn people() -> PathBuf {
    generated().join("users")
}

/// The kubeconfig of the one who may do everything.
pub fn admin_kubeconfig() -> PathBuf {
    generated().join("kubeconfig")
}

/// The control plane, if it runs.
pub fn running() -> Result<Option<ControlPlane>> {
    if !supervisor::is_alive(&folder()) {
        return Ok(None);
    }
    ControlPlane::attach(&folder(), &people())
}

/// The control plane: the one that runs, or one started now. It ends when dropped if it was started here, which the
/// second value says.
pub async fn running_or_start(options: &Options) -> Result<(ControlPlane, bool)> {
    std::fs::create_dir_all(generated())?;
    let deadline = Instant::now() + options.deadline;
    loop {
        if let Some(cluster) = running()? {
            return Ok((cluster, false));
        }
        // The keys in it are nobody else's business.
        match std::fs::DirBuilder::new().mode(0o700).create(folder()) {
            Ok(()) => match ControlPlane::start_in(folder(), people(), options).await {
                Ok(cluster) => {
                    std::fs::copy(cluster.admin_kubeconfig()?, admin_kubeconfig())?;
                    return Ok((cluster, true));
                }
                Err(StartError::PortTaken) => {}
                Err(StartError::Failed(why)) => return Err(why),
            },
            Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {
                if supervisor::is_alive(&folder()) {
                    tokio::time::sleep(Duration::from_millis(100)).await; // another process starts or ends it
                } else {
                    supervisor::stop(&folder()).await?; // left over
                }
            }
            Err(why) => {
                return Err(why).with_context(|| format!("cannot make {}", folder().display()));
            }
        }
        if Instant::now() > deadline {
            bail!("the control plane in {} does not get ready: try `make cluster-down`", folder().display());
        }
    }
}

/// Ends the control plane, if there is one, whoever started it, and removes what was written for it.
pub async fn stop() -> Result<()> {
    supervisor::stop(&folder()).await?;
    forget();
    Ok(())
}

/// Removes the credentials that only the control plane that is gone accepted.
pub fn forget() {
    let _ = std::fs::remove_dir_all(people());
    let _ = std::fs::remove_file(admin_kubeconfig());
}
