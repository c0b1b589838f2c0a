//! Objects of any kind that wait: opens their instances, sees what became of them, writes outcomes back.
//!
//! A change of what is to be approved ends the instance (`ObjectGone`) and opens another one: its name follows from uid and content.

use super::{Error, choose, provable};
use crate::api::{ApprovalProcess, NameRef, Outcome, WorkflowInstance, WorkflowInstanceSpec, condition};
use crate::controllers::kinds::{Name, Served};
use crate::controllers::{BURST, Context, backoff, drive};
use crate::engine::Note;
use crate::pending::object::{Standing, bind, digest, remembered, shown, standing};
use crate::pending::pkcs10::{Requested, foreign_identity};
use crate::pending::write_back::Written;
use crate::pending::{Asked, Nature, Selection, cert_manager, instance_name_of};
use futures::Stream;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::Store;
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many names are tried for the instance of one content of an object.
const ATTEMPTS: u32 = 20;

/// How soon an object that waits is looked at again: its instance may have ended while it changed and changed back.
const LOOK_AGAIN: Duration = Duration::from_mins(2);

/// The objects of a kind, and what shall be done about them.
struct Kind {
    name: Name,
    served: Served,
    context: Arc<Context>,
}

/// Works on the objects of a kind until `stop` is cancelled.
pub async fn run(
    context: Arc<Context>,
    name: Name,
    served: Served,
    store: Store<DynamicObject>,
    stream: impl Stream<Item = watcher::Result<DynamicObject>> + Send + 'static,
    stop: CancellationToken,
) {
    let metrics = context.metrics.clone();
    let triggers = context.policy_changes();
    let triggers = futures::stream::select(triggers, context.kinds.changes.bursts(BURST));
    let resource = served.resource.clone();
    let kind = Arc::new(Kind { name, served, context });
    let results = Controller::for_stream_with(stream, store, resource)
        .with_config(Config::default().concurrency(4))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(backoff(4)), kind);
    drive("pending", metrics, results).await;
}

async fn reconcile(object: Arc<DynamicObject>, kind: Arc<Kind>) -> Result<Action, Error> {
    let context = &kind.context;
    let value = json!(*object);
    let failed = |source| Error::Api { object: shown(&value), source };
    let mut input = json!({"object": value, "request": null});
    let mut decoded = Ok(Requested::default());
    if Nature::of_object(&value) == Nature::CertManager {
        decoded = cert_manager::requested(&value);
        input["request"] = json!(decoded.clone().unwrap_or_default());
        input["initiator"] = json!(cert_manager::initiator(&value));
    }
    let (selection, process) = choose(&shown(&value), kind.name.clone(), input, context).await?;
    tracing::debug!(object = shown(&value), ?selection, "looked for a process");
    let Some((process, asked)) = process else {
        if let Selection::Hold { process, why } = selection {
            tell_held(&object, &value, &process, &why, &kind);
        }
        return Ok(Action::await_change());
    };
    let Some(pending) = &process.spec.event.pending else { return Ok(Action::await_change()) };
    match standing(&value, pending) {
        Ok(Standing::Waits) => {}
        Ok(_) => return Ok(Action::await_change()),
        Err(why) => {
            tell_held(&object, &value, &process.name_any(), &why, &kind);
            return Ok(Action::await_change());
        }
    }
    let faults = match &decoded {
        Ok(requested) => pending
            .requested_identity
            .filter(|_| Nature::of_object(&value) == Nature::CertManager)
            .map(|allowed| foreign_identity(&asked.initiator, requested, allowed))
            .unwrap_or_default(),
        Err(why) => vec![why.clone()],
    };
    if !faults.is_empty() {
        return deny(&object, &value, &faults, &kind).await;
    }
    if !provable(context).await? {
        return Ok(Action::requeue(backoff(2)));
    }
    let namespace = object.namespace().unwrap_or_else(|| context.options.namespace.clone());
    let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &namespace);
    let (uid, digest) = (object.uid().unwrap_or_default(), digest(&value, pending));
    for attempt in 0..ATTEMPTS {
        let name = instance_name_of(&object.name_any(), &format!("{uid}/{digest}/{attempt}"));
        let Some(existing) = api.get_opt(&name).await.map_err(failed)? else {
            // The watch may lag behind: nobody is asked about what is no more.
            let within = kind.served.within(object.namespace().as_deref(), &context.client);
            let fresh = within.get_metadata_opt(&object.name_any()).await.map_err(failed)?;
            if fresh.is_none_or(|fresh| fresh.metadata.resource_version != object.metadata.resource_version) {
                return Ok(Action::requeue(backoff(1)));
            }
            let instance = instance(&name, &value, &decoded.unwrap_or_default(), &process, asked);
            return match api.create(&PostParams::default(), &instance).await {
                Ok(_) => {
                    context.metrics.wrote("instance");
                    Ok(Action::requeue(LOOK_AGAIN))
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Action::requeue(backoff(0))),
                Err(source) => Err(failed(source)),
            };
        };
        if is_of(&existing, &uid) && !went_away(&existing) {
            return Ok(Action::requeue(LOOK_AGAIN));
        }
    }
    Err(Error::NamesTaken(shown(&value)))
}

/// Whether an instance was opened for the object of this uid.
fn is_of(instance: &WorkflowInstance, uid: &str) -> bool {
    let object = instance.spec.object.as_ref();
    instance.spec.process_ref.is_some() && object.and_then(|object| object["metadata"]["uid"].as_str()) == Some(uid)
}

/// Whether an instance ended because its object was not what it was about for a while.
fn went_away(instance: &WorkflowInstance) -> bool {
    let conditions = instance.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition(conditions, "Completed").is_some_and(|completed| completed.reason == "ObjectGone")
}

/// Says in an event why an object waits, once for each reason.
fn tell_held(object: &DynamicObject, value: &Value, process: &str, why: &str, kind: &Kind) {
    let context = &kind.context;
    let spec = context.processes.state().into_iter().find(|found| found.name_any() == process);
    let decided = spec.and_then(|spec| Some(standing(value, spec.spec.event.pending.as_ref()?)));
    if decided.is_some_and(|standing| standing.is_ok_and(|standing| standing != Standing::Waits)) {
        return;
    }
    let why = format!("held by ApprovalProcess {process}: {why}");
    let mut told = context.held_objects.lock().unwrap_or_else(PoisonError::into_inner);
    // Objects come and go: what was said is forgotten at some time, and then said again.
    if told.len() > 10_000 {
        told.clear();
    }
    if told.insert(object.uid().unwrap_or_default(), why.clone()).as_deref() != Some(&why) {
        tracing::info!(object = shown(value), why, "held");
        let target = object.object_ref(&kind.served.resource);
        context.events.post(target, Note { warning: true, reason: "Held", message: why });
    }
}

/// Denies a certificate request that nobody needs to be asked about.
async fn deny(object: &DynamicObject, value: &Value, faults: &[String], kind: &Kind) -> Result<Action, Error> {
    let context = &kind.context;
    let why = format!("nobody was asked: {}", faults.join("; "));
    let written = bind(cert_manager::written(value, Outcome::Rejected, &why, context.clock.now()), value);
    let api = kind.served.within(object.namespace().as_deref(), &context.client);
    match send(&api, &object.name_any(), &written).await {
        Ok(()) => {
            context.metrics.wrote("approval");
            let target = object.object_ref(&kind.served.resource);
            context.events.post(target, Note { warning: true, reason: "Denied", message: why });
            Ok(Action::await_change())
        }
        // It was changed or deleted meanwhile: its next event brings us back.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Action::await_change()),
        Err(source) => Err(Error::Api { object: shown(value), source }),
    }
}

/// Sends a patch to an object, through the subresource that it is for.
///
/// # Errors
/// When the API server does not answer, or refuses: it does if the object is another one by now.
pub async fn send(api: &Api<DynamicObject>, name: &str, written: &Written) -> kube::Result<()> {
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&written.patch));
    match &written.subresource {
        Some(subresource) => api.patch_subresource(subresource, name, &parameters, &patch).await.map(|_| ()),
        None => api.patch(name, &parameters, &patch).await.map(|_| ()),
    }
}

fn instance(
    name: &str,
    object: &Value,
    requested: &Requested,
    process: &ApprovalProcess,
    Asked { initiator, about }: Asked,
) -> WorkflowInstance {
    let (title, named) = match Nature::of_object(object) {
        Nature::CertManager => (cert_manager::title(object, requested), requested.common_names.clone()),
        _ => (shown(object), Vec::new()),
    };
    let spec = WorkflowInstanceSpec {
        workflow_ref: process.spec.workflow_ref.clone(),
        title: Some(title.chars().take(512).collect()),
        initiator: Some(initiator),
        subjects: about.subjects.unwrap_or(named).into_iter().take(256).collect(),
        subject_emails: about.subject_emails,
        role: about.role,
        superior_role: about.superior_role,
        sub_role: about.sub_role,
        exclude_approvers: about.exclude_approvers,
        process_ref: Some(NameRef { name: process.name_any() }),
        object: Some(remembered(object)),
        ..WorkflowInstanceSpec::default()
    };
    WorkflowInstance::new(name, spec)
}

/// The object of an instance as it is now, with the kind that it is of.
///
/// # Errors
/// When the API server cannot tell.
pub async fn read(remembered: &Value, context: &Context) -> kube::Result<Option<(Served, Value)>> {
    let (api_version, kind) = (text(&remembered["apiVersion"]), text(&remembered["kind"]));
    let Some(served) = context.kinds.of_object(api_version, kind).await? else { return Ok(None) };
    let metadata = &remembered["metadata"];
    let api = served.within(metadata["namespace"].as_str(), &context.client);
    let found = api.get_opt(text(&metadata["name"])).await?;
    Ok(found.map(|found| (served, json!(found))))
}

/// The same as far as the watch of the kind shows it; none where it does not.
#[must_use]
pub fn watched(remembered: &Value, context: &Context) -> Option<Value> {
    let metadata = &remembered["metadata"];
    let served = context.kinds.known(text(&remembered["apiVersion"]), text(&remembered["kind"]))?;
    context.kinds.watched(&served, metadata["namespace"].as_str(), text(&metadata["name"])).map(|object| json!(*object))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
