//! The operator as a program: its arguments, its parts started and stopped together.

use super::telemetry::{self, LogFormat, Metrics, Readiness};
use crate::activities::endpoints::{self, Endpoints};
use crate::api::NamedApprovers;
use crate::controllers::{self, Options};
use crate::engine::Settings;
use crate::engine::source::Source;
use crate::gate;
use crate::runtime::client::connect;
use clap::Args;
use jiff::SignedDuration;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long what is under way may take to finish after a SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Certificates that live for less are renewed faster than API servers read about it.
const SHORTEST: SignedDuration = SignedDuration::from_secs(10);

/// The arguments of the operator. Each can be set by its environment variable too.
#[derive(Args, Clone, Debug)]
#[group(id = "operator")]
pub struct Arguments {
    /// The namespace for what belongs to cluster-scoped objects.
    #[arg(long, env = "QUORATE_NAMESPACE", default_value = "quorate-system")]
    namespace: String,
    /// The username of the operator, as the admission policies name it. Default: the `ServiceAccount` quorate of the namespace.
    #[arg(long, env = "QUORATE_OPERATOR_USERNAME")]
    operator_username: Option<String>,
    /// Who is asked when too few others may decide: a list of approver sources, as JSON.
    #[arg(
        long,
        env = "QUORATE_ADMINISTRATORS",
        default_value = r#"[{"group":"quorate-administrators"},{"group":"system:masters"}]"#
    )]
    administrators: String,
    /// Signals older than this when they are counted are refused.
    #[arg(long, env = "QUORATE_MAX_SIGNAL_AGE", default_value = "168h")]
    max_signal_age: SignedDuration,
    /// How often the signals of deleted instances are swept.
    #[arg(long, env = "QUORATE_SWEEP_INTERVAL", default_value = "1h")]
    sweep_interval: SignedDuration,
    /// The most objects that one collection may have.
    #[arg(long, env = "QUORATE_COLLECTION_LIMIT", default_value_t = 5000)]
    collection_limit: usize,
    /// Where the gate listens, which holds live operations back until they are approved. Default: there is no gate.
    #[arg(long, env = "QUORATE_GATE_ADDRESS")]
    gate_address: Option<String>,
    /// Where the API server reaches the gate, such as `https://10.0.0.1:8443`. Default: through the Service quorate of the namespace.
    #[arg(long, env = "QUORATE_GATE_URL")]
    gate_url: Option<String>,
    /// A file with the certificates of those who sign the client certificates that the gate demands. Default: it demands none.
    #[arg(long, env = "QUORATE_GATE_CLIENT_CA_FILE")]
    gate_client_ca_file: Option<PathBuf>,
    /// How long the gate's own certificates are valid; they are renewed after two thirds of that.
    #[arg(long, env = "QUORATE_GATE_CERTIFICATE_LIFETIME", default_value = "2160h")]
    gate_certificate_lifetime: SignedDuration,
    /// Whether approved changes are carried out in the name of their requesters.
    #[arg(long, env = "QUORATE_EXECUTION_AUTOMATIC", default_value_t = false, action = clap::ArgAction::Set)]
    execution_automatic: bool,
    /// A file with the endpoints that activities may call, YAML or JSON: a list of {name, url, secret or secretFile, timeout,
    /// headers, ca or caFile}.
    #[arg(long, env = "QUORATE_ENDPOINTS_FILE")]
    endpoints_file: Option<PathBuf>,
    #[command(flatten)]
    notifications: super::notifications::Arguments,
    /// Where /metrics, /healthz, /readyz and the pages that links in mails lead to are served.
    #[arg(long, env = "QUORATE_HTTP_ADDRESS", default_value = "127.0.0.1:8080")]
    http_address: SocketAddr,
    /// What is logged: error, warn, info, debug, or a filter such as quorate=debug.
    #[arg(long, env = "QUORATE_LOG", default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, env = "QUORATE_LOG_FORMAT", default_value = "human")]
    log_format: LogFormat,
}

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument cannot be used.
    #[error("{0}")]
    Argument(String),
    /// The endpoints cannot be used.
    #[error("--endpoints-file: {0}")]
    Endpoints(#[from] endpoints::Error),
    /// There is no connection.
    #[error(transparent)]
    Client(#[from] super::client::Error),
    /// The address cannot be listened on, or signals not be waited for.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The controllers ended.
    #[error(transparent)]
    Controllers(#[from] controllers::Error),
    /// Logging could not be started.
    #[error("logging could not be started: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
}

impl Arguments {
    /// What the controllers are started with.
    ///
    /// # Errors
    /// The argument that cannot be used.
    fn options(&self) -> Result<Options, Error> {
        let administrators: Vec<NamedApprovers> = serde_json::from_str(&self.administrators).map_err(|error| {
            Error::Argument(format!(
                "--administrators is no list of approver sources, such as [{{\"group\":\"admins\"}}]: {error}"
            ))
        })?;
        let administrators = administrators.iter().map(Source::named).collect::<Option<Vec<_>>>().ok_or_else(|| {
            Error::Argument("--administrators: every approver source is exactly one of user, group, role".to_owned())
        })?;
        let sweep_interval = Duration::try_from(self.sweep_interval).ok().filter(|interval| !interval.is_zero());
        let sweep_interval = sweep_interval
            .ok_or_else(|| Error::Argument("--sweep-interval must be longer than nothing, such as 1h".to_owned()))?;
        let operator_username = self.operator_username.clone().filter(|name| !name.is_empty());
        Ok(Options {
            operator_username: operator_username
                .unwrap_or_else(|| format!("system:serviceaccount:{}:quorate", self.namespace)),
            namespace: self.namespace.clone(),
            settings: Settings { administrators, max_signal_age: self.max_signal_age.as_secs() },
            sweep_interval,
            gate: self.gate()?,
            automatic: self.execution_automatic,
            endpoints: self.endpoints_file.as_deref().map(Endpoints::read).transpose()?.unwrap_or_default(),
            collection_limit: self.collection_limit,
            notifications: self.notifications.settings()?,
        })
    }

    /// How the gate is run, if it is.
    fn gate(&self) -> Result<Option<gate::Settings>, Error> {
        let given = |argument: &Option<String>| argument.clone().filter(|argument| !argument.is_empty());
        let Some(address) = given(&self.gate_address) else { return Ok(None) };
        let address = address.parse().map_err(|error| {
            Error::Argument(format!("--gate-address {address} is no address, such as 0.0.0.0:8443: {error}"))
        })?;
        let url = given(&self.gate_url).map(|text| match text.parse::<url::Url>() {
            Ok(url) if url.scheme() == "https" && url.host_str().is_some() && url.path() == "/" => Ok(url),
            _ => Err(Error::Argument(format!(
                "--gate-url {text} is no URL such as https://10.0.0.1:8443, without a path"
            ))),
        });
        if self.gate_certificate_lifetime < SHORTEST {
            return Err(Error::Argument("--gate-certificate-lifetime must be 10s or longer, such as 2160h".to_owned()));
        }
        Ok(Some(gate::Settings {
            address,
            url: url.transpose()?,
            client_authorities: self.gate_client_ca_file.clone().filter(|file| !file.as_os_str().is_empty()),
            certificate_lifetime: self.gate_certificate_lifetime,
        }))
    }
}

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// Why it could not start, or why it stopped by itself.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    telemetry::log(&arguments.log, arguments.log_format)?;
    let options = arguments.options()?;
    let client = connect().await?;
    let listener = TcpListener::bind(arguments.http_address).await?;
    tracing::info!(address = %listener.local_addr()?, namespace = options.namespace, "starting");
    let (metrics, readiness) = (Arc::new(Metrics::default()), Arc::new(Readiness::default()));
    let stop = CancellationToken::new();
    let health =
        tokio::spawn(telemetry::serve(listener, metrics.clone(), readiness.clone(), stop.clone().cancelled_owned()));
    let stopping = stop.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is under way is finished");
        stopping.cancel();
    });
    let controllers = controllers::run(client, options, metrics, readiness, stop.clone());
    let grace = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let ended = tokio::select! {
        ended = controllers => ended,
        () = grace => {
            tracing::warn!("not everything finished in time; it is taken up at the next start");
            Ok(())
        }
    };
    stop.cancel();
    if let Ok(served) = health.await {
        served?;
    }
    tracing::info!("stopped");
    Ok(ended?)
}
