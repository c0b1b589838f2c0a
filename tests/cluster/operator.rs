//! The operator as a process, with the rights that the chart gives it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::control_plane::ControlPlane;
use super::kubeconfig::{self, Credentials};
use super::supervisor::Supervisor;
use super::{chart, ports};

/// How the operator is to run.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The program.
    pub binary: PathBuf,
    /// The namespace that it lives in.
    pub namespace: String,
    /// The ServiceAccount that it acts as; the chart makes it.
    pub service_account: String,
    /// Arguments behind `--http-address`.
    pub arguments: Vec<String>,
    /// Environment variables beside those that the chart sets.
    pub environment: Vec<(String, String)>,
    /// Whether it has a gate, on a free port of this machine.
    pub gate: bool,
    /// How long getting ready may take.
    pub deadline: Duration,
}

impl OperatorOptions {
    /// The program at this path, otherwise as the chart would run it. Tests give `env!("CARGO_BIN_EXE_quorate")`.
    pub fn of(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            namespace: chart::NAMESPACE.into(),
            service_account: chart::RELEASE.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            gate: true,
            deadline: Duration::from_mins(1),
        }
    }

    /// The program that was built together with the one that runs: `target/PROFILE/quorate`.
    pub fn beside_this_program() -> Result<Self> {
        let this = std::env::current_exe()?;
        let profile =
            this.parent().and_then(std::path::Path::parent).context("this program lies in no target folder")?;
        let binary = profile.join("quorate");
        anyhow::ensure!(binary.exists(), "{} is missing: run `cargo build --bin quorate`", binary.display());
        Ok(Self::of(binary))
    }
}

/// A running operator. Dropping it kills it.
pub struct Operator {
    supervisor: Supervisor,
    address: SocketAddr,
    deadline: Duration,
}

/// The operator's name for its supervisor.
const NAME: &str = "operator";

impl Operator {
    /// Starts the operator. The chart must be installed.
    pub async fn spawn(cluster: &ControlPlane, options: OperatorOptions) -> Result<Self> {
        let token = cluster.service_account_token(&options.namespace, &options.service_account).await?;
        let credentials = Credentials::Token(token);
        let content = kubeconfig::compose(cluster.url(), cluster.authority(), &options.service_account, &credentials);
        Self::spawn_with(&content, options).await
    }

    /// Starts the operator with a kubeconfig for whatever cluster.
    pub async fn spawn_with(content: &Value, options: OperatorOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("quorate-operator-").tempdir()?.keep();
        let mut supervisor = Supervisor::new(folder.clone())?;
        let kubeconfig = folder.join("kubeconfig");
        kubeconfig::save(content, &kubeconfig)?;

        let address = ports::free()?;
        let mut argv = vec![
            "env".to_owned(),
            format!("KUBECONFIG={}", kubeconfig.display()),
            format!("QUORATE_NAMESPACE={}", options.namespace),
            "MALLOC_ARENA_MAX=2".to_owned(),
            format!("QUORATE_STORE_URL=sqlite:{}", folder.join("quorate.db").display()),
            // It serves what links in mails lead to.
            format!("QUORATE_LINK=http://{address}"),
        ];
        if options.gate {
            let gate = ports::free()?;
            argv.push(format!("QUORATE_GATE_ADDRESS={gate}"));
            argv.push(format!("QUORATE_GATE_URL=https://{gate}"));
        }
        argv.extend(options.environment.iter().map(|(name, value)| format!("{name}={value}")));
        argv.push(std::path::absolute(&options.binary)?.to_string_lossy().into_owned());
        argv.extend(["--http-address".to_owned(), address.to_string()]);
        argv.extend(options.arguments);
        supervisor.start(NAME, &argv).await?;
        Ok(Self { supervisor, address, deadline: options.deadline })
    }

    /// Where it serves `/readyz`, `/metrics` and the rest.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        let file = self.supervisor.folder().join(format!("{NAME}.pid"));
        let pid = std::fs::read_to_string(file).context("the operator has no process id")?;
        pid.trim().parse().context("the operator's process id is no number")
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        let started = Instant::now();
        while !matches!(self.get("/readyz").await, Ok((200, _))) {
            if let Some(status) = self.exit_status() {
                bail!("the operator ended with status {status}. The end of its log:\n{}", self.log_tail(30));
            }
            if started.elapsed() > self.deadline {
                bail!("the operator is not ready in time. The end of its log:\n{}", self.log_tail(30));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Asks its HTTP server: the status and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let exchange = async {
            let mut stream = tokio::net::TcpStream::connect(self.address).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.context("no answer")??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        Ok((status, body.to_owned()))
    }

    /// Kills it, as a node does that fails (SIGKILL).
    pub async fn kill(&mut self) -> Result<()> {
        self.supervisor.signal(NAME, "KILL")?;
        self.wait(Duration::from_secs(10)).await.map(|_| ())
    }

    /// Asks it to end, as a cluster does before it replaces a Pod (SIGTERM), and gives its exit status.
    pub async fn terminate(&mut self, within: Duration) -> Result<i32> {
        self.supervisor.signal(NAME, "TERM")?;
        self.wait(within).await
    }

    /// Sends it another signal: `"STOP"`, `"CONT"`, `"INT"`.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        self.supervisor.signal(NAME, signal)
    }

    /// Waits until it ends and gives its exit status, as a shell does (128 + the signal that killed it).
    pub async fn wait(&self, within: Duration) -> Result<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if started.elapsed() > within {
                bail!("the operator still runs after {within:?}. The end of its log:\n{}", self.log_tail(30));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it ended with; `None` while it runs.
    pub fn exit_status(&self) -> Option<i32> {
        self.supervisor.exit_status(NAME)
    }

    /// The file it logs to, which goes when this value goes.
    pub fn log(&self) -> PathBuf {
        self.supervisor.log(NAME)
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.supervisor.log_tail(NAME, lines)
    }
}
