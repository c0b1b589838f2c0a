//! The objects of instances, where they are no certificate signing requests of Kubernetes: what is seen of them, and how an outcome
//! is written to them.

use super::live::Parsed;
use super::{Error, Instances};
use crate::api::{ApprovalProcess, ApprovalProcessSpec, Outcome, condition};
use crate::controllers::pending::objects::{read, send, watched};
use crate::controllers::{Context, evaluate};
use crate::engine::Object;
use crate::pending::object::{observe as seen_of, shown, written};
use crate::pending::{Nature, cert_manager, decoded, matches};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

/// The process of an instance: as its snapshot has it, or, before it has started, as it is now.
pub async fn process_of(parsed: &Parsed, context: &Context) -> Result<Option<ApprovalProcessSpec>, Error> {
    if let Some(revision) = &parsed.status.revision {
        let found = match context.revisions.load(revision).await {
            Ok(found) => found,
            Err(crate::controllers::revisions::Error::Unusable(_)) => None,
            Err(error) => return Err(error.into()),
        };
        return Ok(found.and_then(|revision| revision.content.process.clone()).map(|(_, spec)| spec));
    }
    let process = parsed.instance.spec.process_ref.as_ref();
    let found = process.and_then(|process| context.processes.get(&ObjectRef::<ApprovalProcess>::new(&process.name)));
    Ok(found.map(|process| process.spec.clone()))
}

/// What an instance sees of its object. The watch's word is enough as long as it waits; anything final is read again, and so is
/// what was just written.
pub async fn observe(parsed: &Parsed, object: &Value, context: &Context) -> Result<Object, Error> {
    let instance = &parsed.instance;
    let process = process_of(parsed, context).await?;
    let pending = process.as_ref().and_then(|process| process.event.pending.as_ref());
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    // Asked before it is looked at: a change in between is told.
    context.kinds.tell(uid, (instance.namespace().unwrap_or_default(), instance.name_any()));
    let completed = condition(&parsed.status.conditions, "Completed");
    let writing_back = completed.is_some_and(|completed| completed.reason == "WritingBack");
    let shown_by_watch = watched(object, context);
    if !writing_back && shown_by_watch.is_some_and(|now| seen_of(instance, Some(&now), pending) == Object::Waiting) {
        return Ok(Object::Waiting);
    }
    let now = read(object, context).await.map_err(|source| Error::Object { object: shown(object), source })?;
    Ok(seen_of(instance, now.as_ref().map(|(_, now)| now), pending))
}

/// Writes the outcome to the object that waits, `told` being who decided. Checks process, uid and content again, never the
/// instance's word alone (rule 18).
///
/// Returns whether it was written; if not, the object is not what it was, and looking again tells what to do.
pub async fn write_back(
    parsed: &Parsed,
    object: &Value,
    outcome: Outcome,
    told: &str,
    instances: &Instances,
) -> Result<bool, Error> {
    let context = &instances.context;
    let name = parsed.instance.name_any();
    let refused = |why: String| Error::WriteBackRefused { name: name.clone(), why };
    let failed = |source| Error::Object { object: shown(object), source };
    let Some((served, now)) = read(object, context).await.map_err(failed)? else {
        return Ok(false);
    };
    let process = super::apply::process_in_snapshot(parsed, instances).await?;
    let Some(pending) = process.event.pending.clone() else {
        return Err(refused("its process is about no objects that wait".to_owned()));
    };
    if seen_of(&parsed.instance, Some(&now), Some(&pending)) != Object::Waiting {
        return Ok(false);
    }
    check_match(process, served.resource.group.clone(), served.resource.plural.clone(), &now).await.map_err(refused)?;
    let moment = context.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (instance, copy, told) = (parsed.instance.clone(), now.clone(), told.to_owned());
    let rendered = evaluate(move || written(&copy, &pending, &instance, outcome, &told, &moment)).await;
    let written = rendered.and_then(|rendered| rendered).map_err(refused)?;
    let metadata = &object["metadata"];
    let api = served.within(metadata["namespace"].as_str(), &context.client);
    match send(&api, metadata["name"].as_str().unwrap_or_default(), &written).await {
        Ok(()) => {
            context.metrics.wrote("approval");
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            Err(Error::MayNotWrite { object: shown(object), message: status.message.clone() })
        }
        Err(source) => Err(failed(source)),
    }
}

/// The process is about this object, still.
async fn check_match(
    process: ApprovalProcessSpec,
    group: String,
    resource: String,
    object: &Value,
) -> Result<(), String> {
    let mut input = json!({"object": object, "request": decoded(object)});
    if Nature::of_object(object) == Nature::CertManager {
        input["initiator"] = json!(cert_manager::initiator(object));
    }
    match evaluate(move || matches(&process, &group, &resource, &input)).await? {
        Ok(true) => Ok(()),
        Ok(false) => Err("the process is not about this object".to_owned()),
        Err(why) => Err(why),
    }
}
