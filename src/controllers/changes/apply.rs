//! Carries out a plan: the status first, with the resourceVersion that the facts were read at; then instances and executions.

use super::execute::{self, Call, JSON, JSON_PATCH, MERGE_PATCH, told};
use super::gather::correctable;
use super::look::{self, Place};
use super::{Error, Known, digest_key};
use crate::api::{
    Actor, Change, ChangeOperation, ChangeRef, ChangeRequest, ChangeRequestStatus, Held, NameRef, Operation,
    WorkflowInstance, WorkflowInstanceSpec,
};
use crate::change::about::addresses_of;
use crate::change::advance::{state_of, supersede};
use crate::change::facts::{Attempt, Opening, Precedent, Result as Carried};
use crate::change::payload::{self, happened};
use crate::controllers::{Context, pending};
use http::Method;
use jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// Writes a status over the copy that it was computed from. False when that was changed meanwhile: then everything is computed
/// again.
pub async fn write_status(
    request: &ChangeRequest,
    status: &ChangeRequestStatus,
    context: &Context,
) -> Result<bool, Error> {
    let name = request.name_any();
    let api: Api<ChangeRequest> = Api::namespaced(context.client.clone(), &request.namespace().unwrap_or_default());
    let fresh = ChangeRequest { status: Some(status.clone()), ..request.clone() };
    let _writing = context.changes.writing(request);
    match api.replace_status(&name, &PostParams::default(), &fresh).await {
        Ok(written) => {
            context.metrics.wrote("change-status");
            context.changes.wrote(written);
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(source) => Err(Error::Api { name, source }),
    }
}

/// Ends the request that this one corrects, with the resourceVersion that it was judged at.
pub async fn end_precedent(request: &ChangeRequest, context: &Context) -> Result<(), Error> {
    let name = request.spec.supersedes.clone().unwrap_or_default();
    let api: Api<ChangeRequest> = Api::namespaced(context.client.clone(), &request.namespace().unwrap_or_default());
    let older = api.get_opt(&name).await.map_err(|source| Error::Api { name: name.clone(), source })?;
    if let Some(older) = older.filter(|older| correctable(older, request) == Precedent::Open) {
        let status = older.status.clone().unwrap_or_default();
        let ended = supersede(&older.spec, &status, &request.name_any(), context.clock.now());
        write_status(&older, &ended, context).await?;
    }
    Ok(())
}

/// Opens an instance under the name that follows from what it is for, so that doing it twice opens one. False when it cannot be
/// proven yet that the operator opened it.
pub async fn open(opening: &Opening, request: &ChangeRequest, context: &Context) -> Result<bool, Error> {
    if !pending::provable(context).await? {
        return Ok(false);
    }
    let Some(change) = request.spec.changes.iter().find(|change| change.name == opening.change) else {
        return Ok(true);
    };
    let status = request.status.as_ref().and_then(|status| state_of(status, &change.name));
    let held = change.held.as_ref().or(status.and_then(|status| status.held.as_ref()));
    let kept = status.and_then(|status| status.object.as_ref());
    let open = held.is_some_and(|held| held.redact.is_empty());
    let shown = kept.or(change.object.as_ref().filter(|_| change.held.is_some() || open));
    let subjects = opening.subject.as_ref().map_or(opening.process.subjects.clone(), |subject| vec![subject.clone()]);
    let spec = WorkflowInstanceSpec {
        workflow_ref: Some(NameRef { name: opening.process.workflow.clone() }),
        title: Some(title(change, opening, request, held.map(|held| held.operation))),
        initiator: request.spec.requester.clone(),
        subjects: subjects.into_iter().take(256).collect(),
        subject_emails: addresses_of(
            &opening.process.subjects,
            &opening.process.subject_emails,
            opening.subject.as_ref(),
        ),
        role: opening.process.role.clone(),
        superior_role: opening.process.superior_role.clone(),
        sub_role: opening.process.sub_role.clone(),
        exclude_approvers: opening.process.exclude_approvers.clone(),
        process_ref: Some(NameRef { name: opening.process.name.clone() }),
        object: shown.cloned(),
        old_object: held.and_then(|held| held.old_object.clone()),
        operation: held.map(|held| held.operation),
        change_ref: Some(ChangeRef {
            name: request.name_any(),
            uid: request.uid().unwrap_or_default(),
            change: change.name.clone(),
            review: opening.review,
        }),
        ..WorkflowInstanceSpec::default()
    };
    let mut instance = WorkflowInstance::new(&opening.name, spec);
    instance.metadata = ObjectMeta { name: Some(opening.name.clone()), ..ObjectMeta::default() };
    let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &request.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), &instance).await {
        Ok(_) => {
            context.metrics.wrote("instance");
            Ok(true)
        }
        // Whose it is, is looked at with the next facts.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(true),
        Err(source) => Err(Error::Api { name: opening.name.clone(), source }),
    }
}

/// What an instance is about, for people.
fn title(change: &Change, opening: &Opening, request: &ChangeRequest, operation: Option<Operation>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, namespace, name) = match (&change.held, &change.object, &change.target) {
        (Some(held), _, _) => (held.kind.clone(), held.namespace.clone(), held.name.clone()),
        (None, Some(object), _) => {
            let metadata = &object["metadata"];
            (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
        }
        (None, None, Some(target)) => {
            (target.kind.clone(), target.namespace.clone().unwrap_or_default(), target.name.clone())
        }
        (None, None, None) => Default::default(),
    };
    let verb = match (operation, change.operation) {
        (Some(Operation::Create), _) | (None, ChangeOperation::Create) => "Create",
        (Some(Operation::Delete), _) | (None, ChangeOperation::Delete) => "Delete",
        _ => "Change",
    };
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    let review = if opening.review { "Review: " } else { "" };
    let who = request.spec.requester.as_ref().map(|requester| format!(" by {}", requester.username));
    let subject = opening.subject.as_ref().map(|subject| format!(" for {subject}")).unwrap_or_default();
    let title = format!("{review}{verb} {kind} {name}{place}{subject}{}", who.unwrap_or_default());
    title.chars().take(512).collect()
}

/// Carries out the changes that the status says are being carried out, each once.
pub async fn carry_out(
    attempts: &[Attempt],
    request: &ChangeRequest,
    status: &ChangeRequestStatus,
    context: &Context,
) -> Result<Known, Error> {
    let mut results = Known::new();
    for attempt in attempts {
        let Some(change) = request.spec.changes.iter().find(|change| change.name == attempt.change) else { continue };
        // What fails before anything is sent loses no result of the others.
        let result = carry(change, attempt.in_doubt, request, status, context).await;
        let result = result.unwrap_or_else(|error| Carried::Refused { message: error.to_string(), again: true });
        context.metrics.wrote("change");
        results.insert(change.name.clone(), result);
    }
    Ok(results)
}

async fn carry(
    change: &Change,
    in_doubt: bool,
    request: &ChangeRequest,
    status: &ChangeRequestStatus,
    context: &Context,
) -> Result<Carried, Error> {
    let refused = |message: String| Ok(Carried::Refused { message, again: false });
    let Some(requester) = &request.spec.requester else {
        return refused("spec.requester is missing".to_owned());
    };
    let known = state_of(status, &change.name);
    let (recorded, again) =
        (known.and_then(|known| known.held.as_ref()), known.is_some_and(|known| known.attempts > 1));
    let (place, call) = if let Some(held) = &change.held {
        let place = Place::held(held);
        match repeated(change, held, &place, requester, context).await {
            Ok(Ok(call)) => (place, call),
            Ok(Err(why)) => return refused(why),
            Err(error) => return Ok(Carried::Refused { message: told(&error), again: execute::is_passing(&error) }),
        }
    } else {
        let place = match look::place(change, request, context).await? {
            Ok(place) => place,
            Err(why) => return refused(why),
        };
        let current = if change.operation == ChangeOperation::Update {
            match read(&place, requester, context).await {
                Ok(current) => Some(current),
                Err(error) => {
                    return Ok(Carried::Refused { message: told(&error), again: execute::is_passing(&error) });
                }
            }
        } else {
            None
        };
        let uid = recorded.map(|held| held.base.as_str()).filter(|_| change.operation == ChangeOperation::Delete);
        let call = look::call(change, &place, current.as_ref(), uid.filter(|uid| !uid.is_empty()));
        (place, call)
    };
    // Whoever tried before and told nothing may have done it.
    if in_doubt && let Some(once) = once(&call) {
        return refused(unknown(once, &call, "whoever tried it was interrupted"));
    }
    match execute::send(&call, requester, false, context).await {
        Ok(_) => {
            tracing::info!(request = request.name_any(), change = change.name, "carried out");
            Ok(Carried::Done(format!("carried out in the name of {}", requester.username)))
        }
        Err(kube::Error::Api(answer)) if answer.is_already_exists() && again && once(&call).is_none() => {
            let held = change.held.as_ref().or(recorded);
            if is_own(held, &place, request, context).await {
                return Ok(Carried::Done(format!("carried out in the name of {}", requester.username)));
            }
            refused(format!("{}; what is there is not what was approved, or was there before", answer.message))
        }
        Err(kube::Error::Api(answer)) if answer.is_not_found() && again && call.method == Method::DELETE => {
            Ok(Carried::Done(format!("carried out in the name of {}", requester.username)))
        }
        Err(kube::Error::Api(answer))
            if (answer.is_already_exists() || answer.is_not_found() || answer.is_conflict())
                && is_there(change, &place, requester, context).await =>
        {
            Ok(Carried::Done("it is there as it was asked for".to_owned()))
        }
        Err(error) => Ok(after(&error, change, &call)),
    }
}

/// What is done twice when it is sent twice; none where twice is once.
fn once(call: &Call) -> Option<&'static str> {
    let named = call.body["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
    match call.method {
        Method::PATCH if call.content_type == JSON_PATCH => Some("a JSON patch"),
        Method::POST if !named => Some("what makes an object without a name"),
        _ => None,
    }
}

/// What is said where nobody can tell what became of it.
fn unknown(once: &str, call: &Call, why: &str) -> String {
    let prefix = call.body["metadata"]["generateName"].as_str();
    let prefix = prefix.map(|prefix| format!(" for a name that begins with {prefix}")).unwrap_or_default();
    format!("whether it was carried out is not known; look at {}{prefix}: {once} is not repeated ({why})", call.path)
}

/// Whether the request provably wrote nothing: it was not sent, or the API server refused it before it came to that.
fn wrote_nothing(error: &kube::Error) -> bool {
    match error {
        // Admission comes before writing. Of other failures within the server, and of its timeouts, nobody knows.
        kube::Error::Api(answer) if answer.code >= 500 => answer.message.contains("failed calling webhook"),
        kube::Error::Api(answer) => answer.code != 408,
        kube::Error::HttpError(_) => true,
        _ => false,
    }
}

/// What comes of an attempt that failed.
fn after(error: &kube::Error, change: &Change, call: &Call) -> Carried {
    if let Some(once) = once(call).filter(|_| !wrote_nothing(error)) {
        return Carried::Refused { message: unknown(once, call, &told(error)), again: false };
    }
    let written_out = change.object.as_ref().is_some_and(|object| !object["metadata"]["resourceVersion"].is_null());
    let again = execute::is_passing(error)
        // A conflict of server-side apply, with the version that the requester named, or about which object is to be deleted,
        // stays one.
        && !(matches!(error, kube::Error::Api(answer) if answer.is_conflict())
            && (change.operation == ChangeOperation::Apply || call.method == Method::DELETE || written_out));
    Carried::Refused { message: told(error), again }
}

/// What the gate held, again; else why that would be something else by now, for people. The gate would hold it anew.
async fn repeated(
    change: &Change,
    held: &Held,
    place: &Place,
    requester: &Actor,
    context: &Context,
) -> kube::Result<Result<Call, String>> {
    let object = change.object.clone().unwrap_or_default();
    Ok(Ok(match held.operation {
        Operation::Create => Call { method: Method::POST, path: place.path(true), content_type: JSON, body: object },
        Operation::Update => {
            let mut patch = execute::difference(held.old_object.as_ref().unwrap_or(&Value::Null), &object);
            match read(place, requester, context).await {
                Ok(current) => {
                    let mut result = current.clone();
                    look::merge(&mut result, &patch);
                    if !payload::is_asked(held, &result, &digest_key(context)) {
                        return Ok(Err(format!(
                            "{} {} has changed since this was asked for, and is left as it is: ask again",
                            held.kind, held.name
                        )));
                    }
                    // Whatever changes it from now on makes this a conflict, and it is looked at again.
                    patch["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
                }
                // Who may change it need not be able to read it: the gate judges what it comes to.
                Err(kube::Error::Api(status)) if status.is_forbidden() => {}
                Err(error) => return Err(error),
            }
            Call { method: Method::PATCH, path: place.path(false), content_type: MERGE_PATCH, body: patch }
        }
        Operation::Delete => {
            let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": held.base}});
            Call { method: Method::DELETE, path: place.path(false), content_type: JSON, body }
        }
    }))
}

/// Reads an object as the requester.
async fn read(place: &Place, requester: &Actor, context: &Context) -> kube::Result<Value> {
    let read = Call { method: Method::GET, path: place.path(false), content_type: JSON, body: Value::Null };
    execute::send(&read, requester, false, context).await
}

/// Whether what the gate held is there although it was refused: whoever asked may have been faster.
async fn is_there(change: &Change, place: &Place, requester: &Actor, context: &Context) -> bool {
    let Some(held) = change.held.as_ref().filter(|held| !held.generated_name) else { return false };
    match read(place, requester, context).await {
        Ok(now) => payload::happened(held, Some(&now), &digest_key(context)),
        Err(kube::Error::Api(status)) if status.is_not_found() => payload::happened(held, None, &digest_key(context)),
        Err(_) => false,
    }
}

/// Whether an object that is there was made by an attempt of this operator whose answer was lost. Anybody can name the field manager:
/// it counts only for exactly what was approved.
async fn is_own(held: Option<&Held>, place: &Place, request: &ChangeRequest, context: &Context) -> bool {
    let (Some(requester), Some(held)) = (&request.spec.requester, held) else { return false };
    let Ok(object) = read(place, requester, context).await else { return false };
    was_made(held, &object, request.creation_timestamp().map(|at| at.0), &digest_key(context))
}

fn was_made(held: &Held, object: &Value, asked: Option<Timestamp>, key: &[u8]) -> bool {
    let managers = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let managed = managers.iter().any(|manager| manager["manager"] == execute::MANAGER);
    let made = object["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let since = made.zip(asked).is_some_and(|(made, asked)| made >= asked);
    managed && since && happened(held, Some(object), key)
}

#[cfg(test)]
mod tests;
