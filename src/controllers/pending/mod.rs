//! Opens an instance for every object that waits by nature and that a process takes; denies at once what may not be asked for.
//!
//! Here: certificate signing requests of Kubernetes, which are always watched. [`objects`]: every other kind that a process names.

pub mod objects;

use super::instances::Key;
use super::kinds::Name;
use super::readiness::{candidates, known};
use super::{Context, backoff, drive, evaluate};
use crate::api::{ApprovalProcess, NameRef, WorkflowInstance, WorkflowInstanceSpec};
use crate::engine::{Note, Proof};
use crate::pending::pkcs10::foreign_identity;
use crate::pending::{About, Asked, Selection, asked, csr, select};
use crate::proof::Stamped;
use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Config};
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource, ResourceExt};
use std::sync::{Arc, PoisonError};
use tokio_util::sync::CancellationToken;

/// How many names are tried when somebody else's instance has the one that belongs to an object.
pub(super) const ATTEMPTS: u32 = 5;

/// Why an object could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("{object}: {source}")]
    Api {
        /// The object.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The proof could not be checked.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
    /// Every name for its instance is taken by something else.
    #[error("{0}: the names of its instance are taken by instances that are not its own; delete those")]
    NamesTaken(String),
    /// The conditions of the processes could not be told in time.
    #[error("{object}: the conditions of the processes {why}")]
    Evaluation {
        /// The object.
        object: String,
        /// What happened.
        why: String,
    },
}

/// Splits off the instances whose request was decided or is gone: they have to look at it.
pub fn tell_instances(
    stream: impl Stream<Item = watcher::Result<CertificateSigningRequest>> + Send + 'static,
    namespace: &str,
) -> (
    impl Stream<Item = watcher::Result<CertificateSigningRequest>> + Send + 'static,
    impl Stream<Item = Key> + Send + 'static,
) {
    let (sender, receiver) = mpsc::unbounded();
    let namespace = namespace.to_owned();
    let stream = stream.inspect(move |touched| {
        if let Ok(csr) = touched {
            for attempt in 0..ATTEMPTS {
                sender.unbounded_send((namespace.clone(), csr::instance_name(csr, attempt))).ok();
            }
        }
    });
    (stream, receiver)
}

/// Runs the controller of certificate signing requests.
pub async fn run(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<CertificateSigningRequest>> + Send + 'static,
    stop: &CancellationToken,
) {
    let metrics = context.metrics.clone();
    let triggers = context.policy_changes();
    let results = Controller::for_stream(stream, context.requests.clone())
        .with_config(Config::default().concurrency(8))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(backoff(4)), context);
    drive("pending", metrics, results).await;
}

async fn reconcile(csr: Arc<CertificateSigningRequest>, context: Arc<Context>) -> Result<Action, Error> {
    if !csr::waits(&csr) {
        return Ok(Action::await_change());
    }
    context.synced.wait().await;
    let name = csr.name_any();
    let decoded = csr::requested(&csr);
    let requested = decoded.clone().unwrap_or_default();
    let of = (csr::GROUP.to_owned(), csr::RESOURCE.to_owned());
    let (selection, process) = choose(&shown(&csr), of, csr::input(&csr, &requested), &context).await?;
    tracing::debug!(csr = name, ?selection, "looked for a process");
    let Some((process, asked)) = process else {
        if let Selection::Hold { process, why } = selection {
            tell_held(&csr, &format!("held by ApprovalProcess {process}: {why}"), &context);
        }
        return Ok(Action::await_change());
    };
    let faults = match decoded {
        Ok(requested) => {
            let allowed = process.spec.event.pending.as_ref().and_then(|pending| pending.requested_identity);
            foreign_identity(&csr::initiator(&csr), &requested, allowed.unwrap_or_default())
        }
        Err(why) => vec![why],
    };
    if !faults.is_empty() {
        return deny(&csr, &faults, &context).await;
    }
    if !provable(&context).await? {
        return Ok(Action::requeue(backoff(2)));
    }
    open(&csr, &requested, &process, asked.about, &context).await
}

/// Says in an event why a request waits, once for each reason.
fn tell_held(csr: &CertificateSigningRequest, why: &str, context: &Context) {
    let mut told = context.held.lock().unwrap_or_else(PoisonError::into_inner);
    // Requests come and go: what was said about those that are gone is forgotten.
    told.retain(|uid, _| context.requests.find(|csr| csr.uid().as_deref() == Some(uid)).is_some());
    let uid = csr.uid().unwrap_or_default();
    if told.insert(uid, why.to_owned()).as_deref() != Some(why) {
        tracing::info!(csr = csr.name_any(), why, "held");
        context.events.post(csr.object_ref(&()), Note { warning: true, reason: "Held", message: why.to_owned() });
    }
}

/// A request for people.
fn shown(csr: &CertificateSigningRequest) -> String {
    format!("CertificateSigningRequest {}", csr.name_any())
}

/// Which process takes an object that conditions see as `input`, and what it is about. The conditions run off the async threads
/// and within a limit of time.
async fn choose(
    object: &str,
    (group, resource): Name,
    input: serde_json::Value,
    context: &Arc<Context>,
) -> Result<(Selection, Option<(Arc<ApprovalProcess>, Asked)>), Error> {
    let processes = context.processes.state();
    let known = known(processes.clone(), context);
    let evaluation = evaluate(move || {
        let candidates = candidates(&known);
        let selection = select(&candidates, &group, &resource, &input);
        let Selection::Open(process) = &selection else {
            return (selection, Asked::default());
        };
        let spec = candidates.iter().find(|candidate| candidate.name == process).map(|candidate| candidate.spec);
        match spec.map(|spec| asked(spec, &input)).transpose() {
            Ok(asked) => (selection, asked.unwrap_or_default()),
            Err(why) => (Selection::Hold { process: process.clone(), why }, Asked::default()),
        }
    });
    let failed = |why| Error::Evaluation { object: object.to_owned(), why };
    let (selection, asked) = evaluation.await.map_err(failed)?;
    let process = match &selection {
        Selection::Open(name) => processes.into_iter().find(|process| process.name_any() == *name),
        _ => None,
    };
    let process = process.map(|process| (process, asked));
    Ok((selection, process))
}

async fn deny(csr: &CertificateSigningRequest, faults: &[String], context: &Context) -> Result<Action, Error> {
    let name = csr.name_any();
    let why = format!("nobody was asked: {}", faults.join("; "));
    let mut denied = csr.clone();
    csr::deny(&mut denied, &why, Time(context.clock.now()));
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    match api.replace_subresource("approval", &name, &PostParams::default(), &denied).await {
        Ok(_) => {
            context.metrics.wrote("approval");
            context.events.post(csr.object_ref(&()), Note { warning: true, reason: "Denied", message: why });
            Ok(Action::await_change())
        }
        // It was changed or deleted meanwhile: its next event brings us back.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Action::await_change()),
        Err(source) => Err(Error::Api { object: shown(csr), source }),
    }
}

/// Whether an instance that is opened now can be proven to be the operator's own work.
pub(super) async fn provable(context: &Context) -> Result<bool, crate::proof::Error> {
    let proof = context.prover.confirm(Stamped::Instances, std::time::Instant::now()).await?;
    Ok(matches!(proof, Proof::Since(since) if context.clock.now().as_second() > since))
}

/// Opens the instance of a request under a name that follows from its uid, so that doing it twice opens one.
async fn open(
    csr: &CertificateSigningRequest,
    requested: &csr::Requested,
    process: &ApprovalProcess,
    about: About,
    context: &Context,
) -> Result<Action, Error> {
    let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let failed = |source| Error::Api { object: shown(csr), source };
    for attempt in 0..ATTEMPTS {
        let name = csr::instance_name(csr, attempt);
        let Some(existing) = api.get_opt(&name).await.map_err(failed)? else {
            return match api.create(&PostParams::default(), &instance(&name, csr, requested, process, about)).await {
                Ok(_) => {
                    context.metrics.wrote("instance");
                    Ok(Action::await_change())
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Action::requeue(backoff(0))),
                Err(source) => Err(failed(source)),
            };
        };
        let uid =
            existing.spec.object.as_ref().and_then(|object| object["metadata"]["uid"].as_str().map(str::to_owned));
        if existing.spec.process_ref.is_some() && uid == csr.uid() {
            return Ok(Action::await_change());
        }
    }
    Err(Error::NamesTaken(shown(csr)))
}

fn instance(
    name: &str,
    csr: &CertificateSigningRequest,
    requested: &csr::Requested,
    process: &ApprovalProcess,
    about: About,
) -> WorkflowInstance {
    let subjects = about.subjects.unwrap_or_else(|| requested.common_names.clone());
    let spec = WorkflowInstanceSpec {
        workflow_ref: process.spec.workflow_ref.clone(),
        title: Some(csr::title(csr, requested)),
        initiator: Some(csr::initiator(csr)),
        subjects: subjects.into_iter().take(256).collect(),
        subject_emails: about.subject_emails,
        role: about.role,
        superior_role: about.superior_role,
        sub_role: about.sub_role,
        exclude_approvers: about.exclude_approvers,
        process_ref: Some(NameRef { name: process.name_any() }),
        object: Some(csr::remembered(csr)),
        ..WorkflowInstanceSpec::default()
    };
    let mut instance = WorkflowInstance::new(name, spec);
    instance.metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    instance
}
