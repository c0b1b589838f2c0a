//! Installing the chart of this checkout.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};

use super::control_plane::ControlPlane;
use super::root;

/// The namespace that the chart goes to, and the release's and the operator's ServiceAccount's name.
pub const NAMESPACE: &str = "quorate-system";
/// The release's and the operator's ServiceAccount's name.
pub const RELEASE: &str = "quorate";

impl ControlPlane {
    /// Installs the chart or upgrades to it, and waits until its kinds are served. Each value is a `path=value` as
    /// `helm --set` takes it; `deployment.enabled=false` leaves out the Deployment.
    pub async fn install_chart(&self, values: &[&str]) -> Result<()> {
        let chart = root().join("charts/quorate");
        let chart = chart.to_string_lossy();
        let mut arguments = vec!["upgrade", "--install", RELEASE, &chart, "-n", NAMESPACE, "--create-namespace"];
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        self.helm(&arguments).await?.ok().context("the chart cannot be installed")?;
        self.wait_kinds().await
    }

    /// Waits until every CustomResourceDefinition is served.
    pub async fn wait_kinds(&self) -> Result<()> {
        let kinds: Api<CustomResourceDefinition> = Api::all(self.admin().await?);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let all = kinds.list(&ListParams::default()).await?;
            let waiting: Vec<_> = all.iter().filter(|kind| !is_established(kind)).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            let names: Vec<_> = waiting.iter().filter_map(|kind| kind.metadata.name.as_deref()).collect();
            ensure!(Instant::now() < deadline, "not established in 30 seconds: {}", names.join(", "));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn is_established(kind: &CustomResourceDefinition) -> bool {
    let conditions = kind.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}
