//! Installing the chart of this checkout.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use serde_json::Value;

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
        self.install_chart_with(&[], values).await
    }

    /// The same, with files of values before them.
    pub async fn install_chart_with(&self, files: &[PathBuf], values: &[&str]) -> Result<()> {
        let chart = root().join("charts/quorate");
        let chart = chart.to_string_lossy();
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let mut arguments = vec!["upgrade", "--install", RELEASE, &chart, "-n", NAMESPACE, "--create-namespace"];
        arguments.extend(files.iter().flat_map(|file| ["--values", file]));
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        self.helm(&arguments).await?.ok().context("the chart cannot be installed")?;
        self.wait_kinds().await
    }

    /// The environment that the installed chart would give an operator in the cluster, for one that runs beside it.
    pub async fn operator_environment(&self) -> Result<Vec<(String, String)>> {
        let values = self.helm(&["get", "values", RELEASE, "-n", NAMESPACE, "--all", "-o", "json"]).await?.ok()?;
        let values: Value = serde_json::from_str(&values).context("helm gave no JSON")?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let variables = [
            ("QUORATE_ADMINISTRATORS", values["administrators"].to_string()),
            ("QUORATE_MAX_SIGNAL_AGE", text(&values["maxSignalAge"])),
            ("QUORATE_COLLECTION_LIMIT", text(&values["collections"]["limit"])),
            ("QUORATE_EXECUTION_AUTOMATIC", text(&values["execution"]["automatic"]["enabled"])),
            ("QUORATE_GATE_CERTIFICATE_LIFETIME", text(&values["gate"]["certificateLifetime"])),
        ];
        let mut environment: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let notifications = &values["notifications"];
        let (smtp, limits) = (&notifications["smtp"], &notifications["limits"]);
        environment.extend(
            [
                ("QUORATE_SMTP_URL", &smtp["url"]),
                ("QUORATE_SMTP_TIMEOUT", &smtp["timeout"]),
                ("QUORATE_SMTP_CONNECTIONS", &smtp["connections"]),
                ("QUORATE_MAIL_FROM", &smtp["from"]),
                ("QUORATE_MAILS_PER_SECOND", &limits["perSecond"]),
                ("QUORATE_MAILS_PER_RECIPIENT_AND_HOUR", &limits["perRecipientAndHour"]),
                ("QUORATE_LOCALE", &notifications["locale"]),
                ("QUORATE_LINK", &notifications["link"]),
            ]
            .map(|(name, value)| (name.to_owned(), text(value)))
            .into_iter()
            .filter(|(name, value)| name != "QUORATE_LINK" || !value.is_empty()),
        );
        let store = values["store"]["url"]
            .as_str()
            .filter(|url| !url.is_empty())
            .map_or_else(|| format!("sqlite:{}", self.folder().join("quorate.db").display()), str::to_owned);
        environment.push(("QUORATE_STORE_URL".to_owned(), store));
        for (list, file, variable) in [
            (&values["activities"]["endpoints"], "endpoints.yaml", "QUORATE_ENDPOINTS_FILE"),
            (&notifications["channels"], "channels.yaml", "QUORATE_CHANNELS_FILE"),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                let file = self.folder().join(file);
                std::fs::write(&file, list.to_string())?;
                environment.push((variable.to_owned(), file.to_string_lossy().into_owned()));
            }
        }
        Ok(environment)
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
