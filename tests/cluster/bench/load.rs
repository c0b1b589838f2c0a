//! People who ask and approve, and a board that shows when the server tells what became of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Api, Resource as _, ResourceExt as _};
use quorate::api::{
    Approval, ApprovalSignal, ApprovalSignalSpec, ApproverSource, Decision, NameRef, Node, Quorum, SignalRef,
    WorkflowDefinition, WorkflowDefinitionSpec, WorkflowInstance, WorkflowInstanceSpec,
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::cluster::{ControlPlane, kubeconfig};

/// The group that may approve.
pub const APPROVERS: &str = "bench-approvers";

/// How long anything may take before it counts as broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// A step that so many people of [`APPROVERS`] approve.
pub fn workflow(required: u32) -> WorkflowDefinitionSpec {
    let approval = Approval {
        approvers: vec![ApproverSource { group: Some(APPROVERS.into()), ..ApproverSource::default() }],
        required: Some(Quorum::Number(required.into())),
        ..Approval::default()
    };
    WorkflowDefinitionSpec {
        display_name: Some("Release to production".into()),
        nodes: vec![Node { name: "release".into(), approval: Some(approval), ..Node::default() }],
        ..WorkflowDefinitionSpec::default()
    }
}

/// A signal that has been sent.
pub struct Sent {
    /// Its uid.
    pub uid: String,
    /// When sending it began.
    pub began: Instant,
    /// When the server had taken it.
    pub taken: Instant,
}

/// Somebody who approves.
pub struct Approver {
    name: String,
    signals: Api<ApprovalSignal>,
}

impl Approver {
    /// Approves an instance once.
    pub async fn approve(&self, instance: &str) -> Result<Sent, kube::Error> {
        let spec = ApprovalSignalSpec {
            instance: instance.to_owned(),
            decision: Decision::Approve,
            ..ApprovalSignalSpec::default()
        };
        let signal = ApprovalSignal::new(&format!("{instance}-{}", self.name), spec);
        let began = Instant::now();
        let signal = self.signals.create(&PostParams::default(), &signal).await?;
        Ok(Sent { uid: signal.uid().unwrap_or_default(), began, taken: Instant::now() })
    }

    /// Connects, so that what follows is no handshake.
    pub async fn connect(&self) -> Result<()> {
        self.signals.clone().into_client().apiserver_version().await?;
        Ok(())
    }
}

/// The people of the bench in their namespace.
pub struct Load {
    /// The namespace that they work in.
    pub namespace: String,
    /// A namespace that nobody watches.
    pub other_namespace: String,
    /// What becomes of their instances.
    pub board: Board,
    /// The one who asks.
    pub requester: kube::Client,
    instances: Api<WorkflowInstance>,
    approvers: Vec<Approver>,
    _watching: Watching,
    /// How many objects they have created.
    created: AtomicUsize,
}

impl Load {
    /// Makes namespaces, definitions and rights, and begins to watch.
    pub async fn prepare(cluster: &ControlPlane) -> Result<Arc<Self>> {
        let admin = cluster.admin().await?;
        let namespace = cluster.temp_namespace("bench").await?;
        let other_namespace = cluster.temp_namespace("bench-other").await?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": { "name": "bench-requester" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "quorate-requester" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "requester" }],
        }))?;
        Api::all(admin.clone()).create(&PostParams::default(), &binding).await?;
        let requester = cluster.as_user("requester", &["developers"]).await?;
        let (board, watching) = Board::watching(admin, &namespace).await?;
        let mut load = Self {
            board,
            _watching: watching,
            instances: Api::namespaced(requester.clone(), &namespace),
            requester,
            approvers: Vec::new(),
            created: AtomicUsize::new(0),
            namespace,
            other_namespace,
        };
        load.define(cluster, "two", 2).await?;
        for name in ["mary", "john"] {
            let approver = load.approver(cluster, name).await?;
            load.approvers.push(approver);
        }
        Ok(Arc::new(load))
    }

    /// Defines a workflow of one step.
    pub async fn define(&self, cluster: &ControlPlane, name: &str, required: u32) -> Result<()> {
        let definition = WorkflowDefinition::new(name, workflow(required));
        Api::all(cluster.admin().await?).create(&PostParams::default(), &definition).await?;
        Ok(())
    }

    /// Somebody of [`APPROVERS`], with connections of their own. Nothing is hidden from them by trying again.
    pub async fn approver(&self, cluster: &ControlPlane, name: &str) -> Result<Approver> {
        let mut config = kubeconfig::config(cluster.kubeconfig(name, &[APPROVERS])?).await?;
        config.default_retry = false;
        let signals = Api::namespaced(kube::Client::try_from(config)?, &self.namespace);
        Ok(Approver { name: name.to_owned(), signals })
    }

    /// An instance to create.
    pub fn instance(name: &str, workflow: &str) -> WorkflowInstance {
        let spec = WorkflowInstanceSpec {
            workflow_ref: Some(NameRef { name: workflow.to_owned() }),
            title: Some(format!("Release {name} to production")),
            ..WorkflowInstanceSpec::default()
        };
        WorkflowInstance::new(name, spec)
    }

    /// Opens an instance; gives the moment when the server had taken it.
    pub async fn open(&self, name: &str, workflow: &str) -> Result<Instant> {
        let opened = self.instances.create(&PostParams::default(), &Self::instance(name, workflow)).await;
        opened.with_context(|| format!("WorkflowInstance {name} cannot be created"))?;
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok(Instant::now())
    }

    /// One of the two approves.
    pub async fn approve(&self, who: usize, instance: &str) -> Result<Sent> {
        let sent = self.approvers[who].approve(instance).await;
        let sent = sent.with_context(|| format!("{instance} cannot be approved"))?;
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok(sent)
    }

    /// How many objects they have created so far.
    pub fn created(&self) -> usize {
        self.created.load(Ordering::Relaxed)
    }
}

/// Does something `count` times, so many at a time; gives what came of each.
pub async fn repeat<T, F>(
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (work, next) = (work.clone(), next.clone());
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(done);
                }
                done.push(work(number).await?);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// Something that the server tells of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fact {
    /// Its first step is open.
    Started,
    /// The signal of that uid counted.
    Counted(String),
    /// It has an outcome.
    Completed,
}

/// When the server told what, as a watch of instances shows it.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<HashMap<String, Progress>>>);

#[derive(Default)]
struct Progress {
    started: Option<Instant>,
    counted: HashMap<String, Instant>,
    completed: Option<(Instant, String)>,
    awaited: Vec<(Fact, oneshot::Sender<()>)>,
}

impl Progress {
    fn when(&self, fact: &Fact) -> Option<Instant> {
        match fact {
            Fact::Started => self.started,
            Fact::Counted(uid) => self.counted.get(uid).copied(),
            Fact::Completed => self.completed.as_ref().map(|(when, _)| *when),
        }
    }
}

/// The watch behind a board: it ends when this is dropped.
struct Watching(tokio::task::AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// As much of an instance as the board needs.
#[derive(Clone, Deserialize)]
struct Shown {
    metadata: ObjectMeta,
    #[serde(default)]
    status: ShownStatus,
}

#[derive(Clone, Default, Deserialize)]
struct ShownStatus {
    outcome: Option<String>,
    step: Option<String>,
    #[serde(default)]
    decisions: Vec<ShownDecision>,
}

#[derive(Clone, Deserialize)]
struct ShownDecision {
    signal: SignalRef,
}

impl Board {
    /// Watches the instances of a namespace that has none yet.
    async fn watching(client: kube::Client, namespace: &str) -> Result<(Self, Watching)> {
        let instances: Api<WorkflowInstance> = Api::namespaced(client.clone(), namespace);
        let mut version = instances.list(&kube::api::ListParams::default()).await?.metadata.resource_version;
        let request = Request::new(WorkflowInstance::url_path(&(), Some(namespace)));
        let board = Self::default();
        let shown = board.clone();
        let task = tokio::spawn(async move {
            loop {
                let from = version.clone().unwrap_or_default();
                if let Err(why) = shown.follow(&client, &request, &mut version).await {
                    eprintln!("bench: the watch of instances from version {from} ended: {why:#}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        });
        Ok((board, Watching(task.abort_handle())))
    }

    async fn follow(&self, client: &kube::Client, request: &Request, version: &mut Option<String>) -> Result<()> {
        let request = request.watch(&WatchParams::default(), version.as_deref().unwrap_or_default())?;
        let mut events = std::pin::pin!(client.request_events::<Shown>(request).await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(shown) | WatchEvent::Modified(shown) | WatchEvent::Deleted(shown) => {
                    version.clone_from(&shown.metadata.resource_version);
                    self.take(shown);
                }
                WatchEvent::Bookmark(bookmark) => *version = Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
            }
        }
        Ok(())
    }

    fn take(&self, shown: Shown) {
        let now = Instant::now();
        let mut instances = self.instances();
        let progress = instances.entry(shown.metadata.name.unwrap_or_default()).or_default();
        if shown.status.step.is_some() {
            progress.started.get_or_insert(now);
        }
        for decision in shown.status.decisions {
            progress.counted.entry(decision.signal.uid).or_insert(now);
        }
        if let Some(outcome) = shown.status.outcome {
            progress.completed.get_or_insert((now, outcome));
        }
        let awaited = std::mem::take(&mut progress.awaited);
        for (fact, sender) in awaited {
            if progress.when(&fact).is_some() {
                let _ = sender.send(());
            } else {
                progress.awaited.push((fact, sender));
            }
        }
    }

    /// Waits for a fact; gives the moment when it was first shown.
    pub async fn when(&self, instance: &str, fact: Fact) -> Result<Instant> {
        let shown = {
            let mut instances = self.instances();
            let progress = instances.entry(instance.to_owned()).or_default();
            if let Some(when) = progress.when(&fact) {
                return Ok(when);
            }
            let (sender, shown) = oneshot::channel();
            progress.awaited.push((fact.clone(), sender));
            shown
        };
        let late = || format!("WorkflowInstance {instance}: {fact:?} is not shown within {PATIENCE:?}");
        tokio::time::timeout(PATIENCE, shown).await.with_context(late)??;
        self.instances().get(instance).and_then(|progress| progress.when(&fact)).with_context(late)
    }

    /// Waits until an instance is approved; gives the moment when that was first shown.
    pub async fn approved(&self, instance: &str) -> Result<Instant> {
        let when = self.when(instance, Fact::Completed).await?;
        let instances = self.instances();
        let outcome = instances.get(instance).and_then(|progress| progress.completed.as_ref());
        let outcome = outcome.map(|(_, outcome)| outcome.as_str()).unwrap_or_default();
        ensure!(outcome == "Approved", "WorkflowInstance {instance} ended as {outcome}, not as Approved");
        Ok(when)
    }

    /// How many decisions of an instance counted.
    pub fn decisions(&self, instance: &str) -> usize {
        self.instances().get(instance).map_or(0, |progress| progress.counted.len())
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<String, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
