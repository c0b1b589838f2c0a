//! Kill anywhere: the operator dies after its n-th write, for every n of the story, and the end is the same.
//!
//! The operator runs in this process, on a runtime of its own, with a client that counts writes. When the n-th has been
//! answered, every further request hangs and the runtime is dropped: for the API server that is a SIGKILL. Then another
//! operator goes on.

use crate::cluster::ControlPlane;
use crate::load::{GROUP, control_plane, eventually, reason, signal};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use http::{Method, Request, Response};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client, ResourceExt};
use quorate::api::{ApprovalProcess, ApprovalSignal, Decision, Outcome, WorkflowDefinition, WorkflowInstance};
use quorate::controllers::{self, Options};
use quorate::engine::Settings;
use quorate::engine::source::Source;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "quorate-system";

/// Counts the writes of an operator and stops its world after the last allowed one.
#[derive(Clone)]
struct Fuse {
    left: Arc<AtomicUsize>,
    blown: Arc<Notify>,
}

impl Fuse {
    fn after(writes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(writes)), blown: Arc::default() }
    }

    fn is_blown(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

struct Fused<S> {
    inner: S,
    fuse: Fuse,
}

impl<S, B> tower::Service<Request<Body>> for Fused<S>
where
    S: tower::Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fuse = self.fuse.clone();
        let path = request.uri().path().to_owned();
        let dry_run = request.uri().query().is_some_and(|query| query.contains("dryRun"));
        let write = request.method() != Method::GET && !dry_run && !path.contains("selfsubjectreviews");
        if fuse.is_blown() {
            return Box::pin(std::future::pending());
        }
        let sending = self.inner.call(request);
        Box::pin(async move {
            let response = sending.await?;
            if write && response.status().is_success() {
                let before = fuse.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if before == Ok(1) {
                    fuse.blown.notify_one();
                }
                if fuse.is_blown() {
                    std::future::pending::<()>().await;
                }
            }
            Ok(response)
        })
    }
}

/// An operator in this process.
struct InProcess {
    runtime: Option<Runtime>,
}

impl InProcess {
    fn start(kubeconfig: &kube::config::Kubeconfig, fuse: &Fuse) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (kubeconfig, fuse) = (kubeconfig.clone(), fuse.clone());
        runtime.spawn(async move {
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
            let layer = tower::layer::layer_fn(move |inner| Fused { inner, fuse: fuse.clone() });
            let client = ClientBuilder::try_from(config)?.with_layer(&layer).build();
            let administrators = vec![Source::Group("administrators".to_owned())];
            let options = Options {
                namespace: NAMESPACE.to_owned(),
                operator_username: format!("system:serviceaccount:{NAMESPACE}:quorate"),
                settings: Settings { administrators, max_signal_age: 3600 },
                sweep_interval: std::time::Duration::from_hours(1),
                automatic: false,
                gate: None,
                endpoints: quorate::activities::endpoints::Endpoints::default(),
                collection_limit: 5000,
                notifications: quorate::controllers::notifications::Settings {
                    store_url: "sqlite::memory:".to_owned(),
                    mail: quorate::delivery::settings::Options {
                        from: "quorate@example.com".to_owned(),
                        ..quorate::delivery::settings::Options::default()
                    },
                    locale: "en".to_owned(),
                    ..quorate::controllers::notifications::Settings::default()
                },
            };
            let operator = controllers::run(client, options, Arc::default(), Arc::default(), CancellationToken::new());
            Box::pin(operator).await?;
            anyhow::Ok(())
        });
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Enrolment as people see it: two of the group approve, kube-controller-manager signs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r29_an_approved_request_becomes_a_certificate() -> Result<()> {
    let cluster = control_plane().await?;
    let _operator = crate::load::operator(&cluster).await?;
    let story = Story::prepare(&cluster, 0).await?;
    story.tell().await?;
    story.check().await?;
    let requests: Api<CertificateSigningRequest> = Api::all(story.martha.clone());
    eventually("the certificate is signed", async || {
        let status = requests.get(&story.name).await?.status.unwrap_or_default();
        Ok(status
            .certificate
            .filter(|certificate| certificate.0.starts_with(b"-----BEGIN CERTIFICATE-----"))
            .map(|_| ()))
    })
    .await
}

/// Plays the story once for every n, until the operator lives through it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r34_killed_after_every_write_the_end_is_the_same() -> Result<()> {
    quorate::runtime::telemetry::log(
        &std::env::var("QUORATE_LOG").unwrap_or_else(|_| "off".to_owned()),
        quorate::runtime::telemetry::LogFormat::Human,
    )
    .ok();
    let cluster = control_plane().await?;
    let token = cluster.service_account_token(NAMESPACE, "quorate").await?;
    let operator = kubeconfig(&cluster, &token)?;
    for writes in 1.. {
        let fuse = Fuse::after(writes);
        let story = Story::prepare(&cluster, writes).await?;
        let first = InProcess::start(&operator, &fuse)?;
        let survivor = async {
            fuse.blown.notified().await;
            drop(first);
            InProcess::start(&operator, &Fuse::after(usize::MAX))
        };
        let mut survivor = std::pin::pin!(survivor);
        let mut told = std::pin::pin!(story.tell());
        let second = tokio::select! {
            told = &mut told => {
                told.with_context(|| format!("operator that would die after write {writes}"))?;
                None
            }
            second = &mut survivor => Some(second?),
        };
        if second.is_some() {
            told.await.with_context(|| format!("operator killed after write {writes}"))?;
        }
        story.check().await.with_context(|| format!("operator killed after write {writes}"))?;
        story.remove().await?;
        if second.is_none() && !fuse.is_blown() {
            ensure!(writes > 8, "the story took only {writes} writes: something is not counted");
            println!("the same end for a kill after each of {} writes", writes - 1);
            return Ok(());
        }
    }
    Ok(())
}

fn kubeconfig(cluster: &ControlPlane, token: &str) -> Result<kube::config::Kubeconfig> {
    let authority = base64::engine::general_purpose::STANDARD.encode(cluster.authority());
    Ok(serde_json::from_value(serde_json::json!({
        "clusters": [{"name": "c", "cluster": {"server": cluster.url(), "certificate-authority-data": authority}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c"
    }))?)
}

/// Martha asks for a certificate, Carol may not decide, Mary and John approve, and that is recorded.
struct Story {
    admin: Client,
    people: [(&'static str, Client); 3],
    name: String,
    request: Vec<u8>,
    martha: Client,
}

impl Story {
    async fn prepare(cluster: &ControlPlane, number: usize) -> Result<Self> {
        let admin = cluster.admin().await?;
        let name = format!("laptop-{number}");
        let definition: WorkflowDefinition = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name},
            "spec": {"nodes": [
                {"name": "check", "approval": {"approvers": [{"group": GROUP}], "required": 2}},
                {"name": "record", "action": {"apply": {"object": {
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "${object.metadata.name}", "namespace": "default"},
                    "data": {"by": "${decisions.map(d, d.actor).join(' and ')}"}}}}},
            ]}
        }))?;
        Api::all(admin.clone()).create(&PostParams::default(), &definition).await?;
        let process: ApprovalProcess = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name},
            "spec": {"workflowRef": {"name": name}, "event": {"pending": {
                "resources": [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}],
                "matchConditions": [{"name": "this-one", "expression": format!("object.metadata.name == '{name}'")}]
            }}}
        }))?;
        Api::all(admin.clone()).create(&PostParams::default(), &process).await?;
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "martha");
        let request = parameters.serialize_request(&rcgen::KeyPair::generate()?)?.pem()?.into_bytes();
        Ok(Self {
            people: [
                ("carol", cluster.as_user("carol", &["colleagues"]).await?),
                ("mary", cluster.as_user("mary", &[GROUP]).await?),
                ("john", cluster.as_user("john", &[GROUP]).await?),
            ],
            martha: cluster.as_user("martha", &["system:masters"]).await?,
            admin,
            name,
            request,
        })
    }

    /// Plays the story as far as the operator lets it: whoever plays waits for what is to be seen.
    async fn tell(&self) -> Result<()> {
        let request = CertificateSigningRequest {
            metadata: kube::api::ObjectMeta { name: Some(self.name.clone()), ..Default::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(self.request.clone()),
                signer_name: "kubernetes.io/kube-apiserver-client".to_owned(),
                usages: Some(vec!["client auth".to_owned()]),
                ..Default::default()
            },
            status: None,
        };
        Api::all(self.martha.clone()).create(&PostParams::default(), &request).await?;
        let instance = eventually("the instance is open", async || {
            let found = self
                .instances()
                .await?
                .into_iter()
                .find(|instance| instance.status.as_ref().is_some_and(|status| !status.tasks.is_empty()));
            Ok(found.map(|instance| instance.name_any()))
        })
        .await?;
        for (person, client) in &self.people {
            let name = format!("{}-{person}", self.name);
            signal(client, NAMESPACE, &name, &instance, Decision::Approve).await?;
            let api: Api<ApprovalSignal> = Api::namespaced(self.admin.clone(), NAMESPACE);
            eventually("the signal has a verdict", async || {
                Ok((!reason(&api.get(&name).await?).is_empty()).then_some(()))
            })
            .await?;
        }
        eventually("the instance has an outcome", async || {
            let outcome = self
                .instances()
                .await?
                .iter()
                .any(|instance| instance.status.as_ref().is_some_and(|status| status.outcome.is_some()));
            Ok(outcome.then_some(()))
        })
        .await
    }

    async fn instances(&self) -> Result<Vec<WorkflowInstance>> {
        let api: Api<WorkflowInstance> = Api::namespaced(self.admin.clone(), NAMESPACE);
        let fields = format!("spec.processRef.name={}", self.name);
        Ok(api.list(&ListParams::default().fields(&fields)).await?.items)
    }

    /// The end that must be the same whatever happened on the way.
    async fn check(&self) -> Result<()> {
        let instances = self.instances().await?;
        let [instance] = instances.as_slice() else { anyhow::bail!("{} instances were opened", instances.len()) };
        let status = instance.status.as_ref().context("the instance has a status")?;
        ensure!(status.outcome == Some(Outcome::Approved), "outcome {:?}", status.outcome);
        let visits: Vec<_> = status.steps.iter().map(|visit| (visit.node.as_str(), visit.visit)).collect();
        ensure!(visits == [("check", 1), ("record", 1), ("Approved", 1)], "steps {visits:?}");
        let recorded: Api<ConfigMap> = Api::namespaced(self.admin.clone(), "default");
        let by = recorded.get(&self.name).await?.data.unwrap_or_default().remove("by");
        ensure!(by.as_deref() == Some("mary and john"), "recorded {by:?}");
        let decided: Vec<_> = status.decisions.iter().map(|decision| decision.actor.as_str()).collect();
        ensure!(decided == ["mary", "john"], "decisions {decided:?}");
        ensure!(status.tasks.len() == 1 && status.tasks[0].approvals == 2, "tasks {:?}", status.tasks);
        let signals: Api<ApprovalSignal> = Api::namespaced(self.admin.clone(), NAMESPACE);
        for (person, expected) in [("carol", "NotAnApprover"), ("mary", "Counted"), ("john", "Counted")] {
            let found = signals.get(&format!("{}-{person}", self.name)).await?;
            ensure!(reason(&found) == expected, "{person}: {}", reason(&found));
        }
        let requests: Api<CertificateSigningRequest> = Api::all(self.admin.clone());
        let request = requests.get(&self.name).await?;
        let conditions = request.status.and_then(|status| status.conditions).unwrap_or_default();
        let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        ensure!(types == ["Approved"], "conditions of the request {types:?}");
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        let parameters = DeleteParams::default();
        Api::<ApprovalProcess>::all(self.admin.clone()).delete(&self.name, &parameters).await?;
        Api::<WorkflowDefinition>::all(self.admin.clone()).delete(&self.name, &parameters).await?;
        Api::<CertificateSigningRequest>::all(self.admin.clone()).delete(&self.name, &parameters).await?;
        Ok(())
    }
}
