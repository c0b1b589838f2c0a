//! etcd, kube-apiserver and kube-controller-manager, started, awaited and reached.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::Value;

use super::audit::AuditLog;
use super::kubeconfig::{self, Credentials};
use super::pki::{self, Authority};
use super::supervisor::Supervisor;
use super::{ports, program};

/// What kind of control plane is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the server knows MutatingAdmissionPolicy, as servers from 1.36 on do. Without, it looks like an older one.
    pub mutating_admission_policies: bool,
    /// Whether kube-controller-manager runs: it signs CertificateSigningRequests, makes ServiceAccounts, empties
    /// namespaces and collects garbage.
    pub controller_manager: bool,
    /// Whether every request is written to the audit log.
    pub audit: bool,
    /// How long starting may take.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mutating_admission_policies: true,
            controller_manager: true,
            audit: true,
            deadline: Duration::from_mins(1),
        }
    }
}

/// The user who may do everything.
pub const ADMIN: &str = "admin";
const ADMINS: &[&str] = &["system:masters"];

/// How long the certificates of people are valid.
const VALID: Duration = Duration::from_hours(30 * 24);

/// A running control plane. Dropping it ends it, unless it was [detached](Self::detach) or only
/// [attached to](Self::attach).
pub struct ControlPlane {
    folder: PathBuf,
    people: PathBuf,
    url: String,
    authority: Authority,
    supervisor: Option<Supervisor>,
}

impl ControlPlane {
    /// Starts a control plane in a folder of its own among the temporary files.
    pub async fn start(options: Options) -> Result<Self> {
        let mut attempts = 0;
        loop {
            let folder = tempfile::Builder::new().prefix("quorate-cluster-").tempdir()?.keep();
            let people = folder.join("people");
            match Self::start_in(folder, people, &options).await {
                Err(StartError::PortTaken) if attempts < 5 => attempts += 1,
                Err(StartError::PortTaken) => {
                    bail!("ports that were free were taken by others, five times in a row")
                }
                Err(StartError::Failed(why)) => return Err(why),
                Ok(cluster) => return Ok(cluster),
            }
        }
    }

    /// Starts a control plane in an empty folder, which goes when it goes. The kubeconfigs of people go to `people`.
    pub(super) async fn start_in(folder: PathBuf, people: PathBuf, options: &Options) -> Result<Self, StartError> {
        let supervisor = Supervisor::new(folder.clone())?;
        let authority = Authority::create()?;
        let address = ports::free()?;
        let url = format!("https://{address}");
        let mut cluster = Self { folder, people, url, authority, supervisor: Some(supervisor) };
        cluster.write_credentials()?;

        let deadline = Instant::now() + options.deadline;
        let etcd = ports::free()?.port();
        cluster.run("etcd", &cluster.etcd(etcd)).await?;
        cluster.run("kube-apiserver", &cluster.apiserver(address.port(), etcd, options)).await?;
        cluster.wait_ready(deadline).await?;
        if options.controller_manager {
            cluster.run("kube-controller-manager", &cluster.controller_manager()).await?;
            cluster.wait_controllers(deadline).await?;
        }
        std::fs::write(cluster.folder.join("url"), &cluster.url).context("cannot write the server's address")?;
        Ok(cluster)
    }

    /// A control plane that runs already, in `folder`; `None` while nothing is ready there.
    pub(super) fn attach(folder: &Path, people: &Path) -> Result<Option<Self>> {
        let Ok(url) = std::fs::read_to_string(folder.join("url")) else {
            return Ok(None);
        };
        let authority = Authority::load(folder)?;
        Ok(Some(Self { folder: folder.to_owned(), people: people.to_owned(), url, authority, supervisor: None }))
    }

    /// Lets it run on without this process.
    pub fn detach(mut self) -> Result<()> {
        self.supervisor.take().map_or(Ok(()), Supervisor::detach)
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data, logs and keys lie; gone when it is gone.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> &str {
        &self.authority.certificate
    }

    /// A client who may do everything.
    pub async fn admin(&self) -> Result<kube::Client> {
        self.as_user(ADMIN, ADMINS).await
    }

    /// A client of a person. Everybody is also in `system:authenticated`.
    pub async fn as_user(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        kubeconfig::client(self.kubeconfig(user, groups)?).await
    }

    /// A client of whoever bears the token.
    pub async fn as_bearer(&self, token: &str) -> Result<kube::Client> {
        let credentials = Credentials::Token(token.to_owned());
        kubeconfig::client(kubeconfig::compose(&self.url, self.authority(), "bearer", &credentials)).await
    }

    /// A kubeconfig of a person, in memory.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<Value> {
        let identity = self.authority.person(user, groups, VALID)?;
        Ok(kubeconfig::compose(&self.url, self.authority(), user, &Credentials::Certificate(identity)))
    }

    /// A kubeconfig of a person, as a file: always the same path for the same user and groups.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let path = self.people.join(kubeconfig::file_name(user, groups));
        kubeconfig::save(&self.kubeconfig(user, groups)?, &path)?;
        Ok(path)
    }

    /// A kubeconfig of the one who may do everything, as a file.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.join("admin.kubeconfig");
        if !path.exists() {
            kubeconfig::save(&self.kubeconfig(ADMIN, ADMINS)?, &path)?;
        }
        Ok(path)
    }

    /// A token of a ServiceAccount, valid for a day.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?;
        Ok(answer.status.context("the server gave no token")?.token)
    }

    /// Makes a namespace with a name nobody has used, which begins with `prefix`.
    pub async fn temp_namespace(&self, prefix: &str) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}", std::process::id());
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(self.admin().await?).create(&PostParams::default(), &namespace).await?;
        Ok(name)
    }

    /// What the server has been asked since it started.
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.folder.join("audit.log"))
    }

    /// The end of a server's log: `etcd`, `kube-apiserver` or `kube-controller-manager`.
    pub fn log_tail(&self, server: &str, lines: usize) -> String {
        self.supervisor.as_ref().map(|supervisor| supervisor.log_tail(server, lines)).unwrap_or_default()
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn write_credentials(&self) -> Result<()> {
        self.authority.save(&self.folder)?;
        self.authority.server("kube-apiserver")?.save(&self.folder, "apiserver")?;
        self.authority.person("front-proxy", &[], VALID)?.save(&self.folder, "front-proxy")?;
        pki::save_key_pair(&self.folder, "service-accounts")?;
        let manager = self.kubeconfig("system:kube-controller-manager", &[])?;
        kubeconfig::save(&manager, &self.folder.join("controller-manager.kubeconfig"))?;
        std::fs::write(self.folder.join("audit-policy.yaml"), AUDIT_POLICY)?;
        Ok(())
    }

    fn etcd(&self, port: u16) -> Vec<String> {
        let url = format!("http://127.0.0.1:{port}");
        vec![
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--listen-peer-urls=http://127.0.0.1:0".into(),
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
            format!("--quota-backend-bytes={}", 4_u64 << 30),
        ]
    }

    fn apiserver(&self, port: u16, etcd: u16, options: &Options) -> Vec<String> {
        let mut flags = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            // Should another etcd have been faster on the port: keep out of its data until the clash is noticed.
            format!("--etcd-prefix=/{port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", self.file("apiserver.crt")),
            format!("--tls-private-key-file={}", self.file("apiserver.key")),
            format!("--client-ca-file={}", self.file("ca.crt")),
            "--authorization-mode=Node,RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", self.file("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", self.file("service-accounts.key")),
            "--service-cluster-ip-range=10.0.0.0/16".into(),
            // What aggregated API servers recognize this server by.
            format!("--requestheader-client-ca-file={}", self.file("ca.crt")),
            "--requestheader-allowed-names=front-proxy".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", self.file("front-proxy.crt")),
            format!("--proxy-client-key-file={}", self.file("front-proxy.key")),
            // The bench measures the operator, not how the server shares itself out.
            "--max-requests-inflight=3000".into(),
            "--max-mutating-requests-inflight=1000".into(),
            "--profiling=false".into(),
        ];
        if options.audit {
            flags.extend([
                format!("--audit-policy-file={}", self.file("audit-policy.yaml")),
                format!("--audit-log-path={}", self.file("audit.log")),
                "--audit-log-maxsize=0".into(),
            ]);
        }
        if !options.mutating_admission_policies {
            let hidden = ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]
                .map(|kind| format!("admissionregistration.k8s.io/v1/{kind}=false"));
            flags.push(format!("--runtime-config={}", hidden.join(",")));
            flags.push("--disable-admission-plugins=MutatingAdmissionPolicy".into());
        }
        flags
    }

    fn controller_manager(&self) -> Vec<String> {
        let kubeconfig = self.file("controller-manager.kubeconfig");
        vec![
            format!("--kubeconfig={kubeconfig}"),
            "--secure-port=0".into(),
            "--leader-elect=false".into(),
            "--use-service-account-credentials".into(),
            // It makes forty accounts first of all: with its usual restraint that takes seconds.
            "--kube-api-qps=1000".into(),
            "--kube-api-burst=1000".into(),
            format!("--cluster-signing-cert-file={}", self.file("ca.crt")),
            format!("--cluster-signing-key-file={}", self.file("ca.key")),
            format!("--root-ca-file={}", self.file("ca.crt")),
            format!("--service-account-private-key-file={}", self.file("service-accounts.key")),
            "--profiling=false".into(),
        ]
    }

    async fn run(&mut self, server: &str, flags: &[String]) -> Result<()> {
        let mut argv = vec![program(server)?.to_string_lossy().into_owned()];
        argv.extend_from_slice(flags);
        self.supervisor.as_mut().context("not started here")?.start(server, &argv).await
    }

    /// Waits until the server says that it is ready.
    async fn wait_ready(&self, deadline: Instant) -> Result<(), StartError> {
        let mut config = kubeconfig::config(self.kubeconfig(ADMIN, ADMINS)?).await?;
        config.default_retry = false;
        let client = kube::Client::try_from(config).context("no client for the new server")?;
        loop {
            let question = http::Request::get("/readyz").body(Vec::new()).context("a request")?;
            let answer = tokio::time::timeout(Duration::from_secs(5), client.request_text(question)).await;
            if matches!(answer, Ok(Ok(_))) {
                // Ready against somebody else's etcd does not count.
                return self.check(deadline, "kube-apiserver");
            }
            self.check(deadline, "kube-apiserver")?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the controllers work: the first ServiceAccount is there.
    async fn wait_controllers(&self, deadline: Instant) -> Result<(), StartError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, "default");
        while !matches!(accounts.get_opt("default").await, Ok(Some(_))) {
            self.check(deadline, "kube-controller-manager")?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Fails when a server has ended or the deadline has passed.
    fn check(&self, deadline: Instant, awaited: &str) -> Result<(), StartError> {
        let supervisor = self.supervisor.as_ref().context("not started here")?;
        for server in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            if let Some(status) = supervisor.exit_status(server) {
                let log = supervisor.log_tail(server, 30);
                if log.contains("address already in use") {
                    return Err(StartError::PortTaken);
                }
                return Err(anyhow::anyhow!("{server} ended with status {status}. The end of its log:\n{log}").into());
            }
        }
        if Instant::now() > deadline {
            let log = supervisor.log_tail(awaited, 30);
            return Err(anyhow::anyhow!("{awaited} is not ready in time. The end of its log:\n{log}").into());
        }
        Ok(())
    }
}

/// Why a control plane did not start.
pub(super) enum StartError {
    /// Another process was faster on a port: try again.
    PortTaken,
    /// Anything else.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";
