//! Carries out a plan: the status first, with the resourceVersion that the facts were read at; then verdicts and effects.

use super::gather::is_judged;
use super::live::{Live, Parsed};
use super::signals::{Key, Unjudged};
use super::{Error, Instances};
use crate::api::{
    ApprovalProcessSpec, ApprovalSignal, ApprovalSignalStatus, Decision, Outcome, Says, WorkflowInstanceStatus,
    set_condition,
};
use crate::controllers::{Context, evaluate};
use crate::engine::Verdict;
use crate::pending::{Nature, csr, matches};
use crate::runtime::telemetry::word;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// How many verdicts of one batch are written at the same time.
const VERDICTS_AT_ONCE: usize = 16;

/// Writes a status over the copy that it was computed from.
///
/// Returns the instance as it is now, or none when it was changed meanwhile: then everything is computed again.
pub async fn write_status(
    live: &Live,
    status: &WorkflowInstanceStatus,
    instances: &Instances,
) -> Result<Option<Arc<Live>>, Error> {
    let namespace = live.namespace().unwrap_or_default();
    let api: Api<Live> = Api::namespaced(instances.context.client.clone(), &namespace);
    let name = live.name_any();
    match api.replace_subresource("status", &name, &PostParams::default(), &live.with_status(status)).await {
        Ok(mut written) => {
            instances.context.metrics.wrote("instance-status");
            written.compact();
            let written = Arc::new(written);
            instances.written.wrote(written.clone());
            Ok(Some(written))
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(None),
        // The store says it in words alone.
        Err(kube::Error::Api(status)) if status.message.to_lowercase().contains("too large") => {
            Err(Error::TooLarge { name, message: status.message })
        }
        Err(source) => Err(Error::Api { name, source }),
    }
}

/// Reads the signals again whose verdicts were sent and not answered: one that was written is final, and whoever judged the signal
/// anew could come to another one.
pub async fn settle_doubts(key: &Key, instances: &Instances) -> Result<(), Error> {
    let api: Api<ApprovalSignal> = Api::namespaced(instances.context.client.clone(), &key.0);
    let doubtful = instances.signals.in_doubt(key);
    if doubtful.is_empty() {
        return Ok(());
    }
    for (name, uid) in &doubtful {
        let found = api.get_opt(name).await.map_err(|source| Error::Signal { name: name.clone(), source })?;
        match found.filter(|found| found.uid().as_ref() == Some(uid)) {
            Some(found) if is_judged(&found) => instances.signals.judged(key, uid),
            Some(_) => {}
            None => instances.signals.outdated(key, uid),
        }
    }
    instances.signals.cleared(key);
    Ok(())
}

/// Writes the verdicts, each once, each with the resourceVersion of the signal that was judged.
pub async fn write_verdicts(
    verdicts: &[Verdict],
    signals: &[Unjudged],
    instance_uid: &str,
    key: &Key,
    instances: &Instances,
) -> Result<(), Error> {
    let by_uid: HashMap<_, _> =
        signals.iter().map(|unjudged| (unjudged.signal.uid().unwrap_or_default(), unjudged)).collect();
    let mut jobs = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        if let Some(unjudged) = by_uid.get(&verdict.signal.uid) {
            jobs.push(write_verdict(verdict, unjudged, instance_uid, key, instances));
        }
    }
    let results: Vec<Result<(), Error>> = stream::iter(jobs).buffer_unordered(VERDICTS_AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn write_verdict(
    verdict: &Verdict,
    unjudged: &Unjudged,
    instance_uid: &str,
    key: &Key,
    instances: &Instances,
) -> Result<(), Error> {
    let context = &instances.context;
    let mut signal = (*unjudged.signal).clone();
    let mut status = ApprovalSignalStatus {
        reason: Some(verdict.reason.to_string()),
        instance_uid: (!instance_uid.is_empty()).then(|| instance_uid.to_owned()),
        ..ApprovalSignalStatus::default()
    };
    let reason = verdict.reason.to_string();
    let says = Says {
        type_: "Accepted",
        status: if verdict.reason.counted() { "True" } else { "False" },
        reason: &reason,
        message: &verdict.message,
    };
    set_condition(&mut status.conditions, says, signal.metadata.generation, context.clock.now());
    signal.status = Some(status);
    let api: Api<ApprovalSignal> = Api::namespaced(context.client.clone(), &key.0);
    match api.replace_status(&verdict.signal.name, &PostParams::default(), &signal).await {
        Ok(_) => {
            context.metrics.wrote("verdict");
            context.metrics.verdicts.get_or_create(&word(&reason)).inc();
            context.metrics.decision_seconds.observe(Instant::now().duration_since(unjudged.seen).as_secs_f64());
            tracing::debug!(signal = verdict.signal.name, instance = key.1, reason, "judged");
            instances.signals.judged(key, &verdict.signal.uid);
        }
        // Somebody else judged it, or it is gone: what the watch shows next is what counts.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
            instances.signals.outdated(key, &verdict.signal.uid);
        }
        Err(source) => {
            instances.signals.doubted(key, &verdict.signal.name, &verdict.signal.uid);
            return Err(Error::Signal { name: verdict.signal.name.clone(), source });
        }
    }
    Ok(())
}

/// Writes the outcome to the object that waits. Checks process, uid and content again, never the instance's word alone (rule 18).
///
/// Returns whether it was written; if not, the object is not what it was, and looking again tells what to do.
pub async fn write_back(parsed: &Parsed, outcome: Outcome, instances: &Instances) -> Result<bool, Error> {
    let context = &instances.context;
    let Some(object) = &parsed.instance.spec.object else {
        return Ok(false);
    };
    let mut told = decided_by(parsed);
    if Nature::of_object(object) != Nature::Certificate {
        told.push_str(&why_not(parsed, outcome, instances).await?);
        return super::objects::write_back(parsed, object, outcome, &told, instances).await;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let failed = |source| Error::Object { object: format!("CertificateSigningRequest {name}"), source };
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let Some(mut request) = api.get_opt(&name).await.map_err(failed)? else {
        return Ok(false);
    };
    if csr::observe(&parsed.instance, Some(&request)) != crate::engine::Object::Waiting {
        return Ok(false);
    }
    check_process(parsed, &request, instances).await?;
    told.push_str(&why_not(parsed, outcome, instances).await?);
    csr::decide(&mut request, &parsed.instance, outcome, &told, Time(context.clock.now()));
    match api.replace_subresource("approval", &name, &PostParams::default(), &request).await {
        Ok(_) => {
            context.metrics.wrote("approval");
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Error::MayNotDecide {
            name: name.clone(),
            signer: request.spec.signer_name.clone(),
            message: status.message.clone(),
        }),
        Err(source) => Err(failed(source)),
    }
}

/// The process in the snapshot is the one that opened the instance, and it is about this object.
async fn check_process(
    parsed: &Parsed,
    request: &CertificateSigningRequest,
    instances: &Instances,
) -> Result<(), Error> {
    let name = parsed.instance.name_any();
    let refused = |why: &str| Error::WriteBackRefused { name: name.clone(), why: why.to_owned() };
    let spec = process_in_snapshot(parsed, instances).await?;
    let requested = csr::requested(request).unwrap_or_default();
    let input = csr::input(request, &requested);
    let matched = evaluate(move || matches(&spec, csr::GROUP, csr::RESOURCE, &input)).await;
    match matched {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(refused("the process is not about this object")),
        Ok(Err(why)) | Err(why) => Err(refused(&why)),
    }
}

/// The process in the snapshot, which is the one that opened the instance.
pub async fn process_in_snapshot(parsed: &Parsed, instances: &Instances) -> Result<ApprovalProcessSpec, Error> {
    let name = parsed.instance.name_any();
    let refused = |why: &str| Error::WriteBackRefused { name: name.clone(), why: why.to_owned() };
    let revision = parsed.status.revision.as_deref().unwrap_or_default();
    let found = instances.context.revisions.load(revision).await?.ok_or_else(|| refused("its snapshot is gone"))?;
    let Some((process, spec)) = &found.content.process else {
        return Err(refused("its snapshot names no process"));
    };
    if parsed.instance.spec.process_ref.as_ref().is_none_or(|reference| reference.name != *process) {
        return Err(refused("its snapshot names another process"));
    }
    Ok(spec.clone())
}

/// The comments of the rejections, where it was not approved.
async fn why_not(parsed: &Parsed, outcome: Outcome, instances: &Instances) -> Result<String, Error> {
    if outcome == Outcome::Approved {
        return Ok(String::new());
    }
    let namespace = parsed.instance.namespace().unwrap_or_default();
    comments(&namespace, &parsed.status, &instances.context).await
}

/// Who decided the last step, in a sentence.
fn decided_by(parsed: &Parsed) -> String {
    let condition = crate::api::condition(&parsed.status.conditions, "Approved");
    let message = condition.map(|condition| condition.message.as_str()).unwrap_or_default();
    message.split_once("; the outcome").map_or(message, |(told, _)| told).to_owned()
}

/// The comments of the rejections of the last step: the requester sees them (rule 28), the status never holds them.
pub async fn comments(namespace: &str, status: &WorkflowInstanceStatus, context: &Context) -> Result<String, Error> {
    let decisions = status.decisions.iter().rev();
    let Some(last) = decisions.clone().find(|decision| decision.decision == Decision::Reject) else {
        return Ok(String::new());
    };
    let rejections = decisions.filter(|decision| {
        decision.decision == Decision::Reject && decision.step == last.step && decision.visit == last.visit
    });
    let api: Api<ApprovalSignal> = Api::namespaced(context.client.clone(), namespace);
    let mut told = String::new();
    for rejection in rejections.take(5) {
        let found = api.get_opt(&rejection.signal.name).await;
        let found = found.map_err(|source| Error::Signal { name: rejection.signal.name.clone(), source })?;
        let comment = found
            .filter(|signal| signal.uid().as_deref() == Some(&rejection.signal.uid))
            .and_then(|signal| signal.spec.comment);
        if let Some(comment) = comment.filter(|comment| !comment.trim().is_empty()) {
            // Writing into a String cannot fail.
            let _ = write!(told, "; {}: {}", rejection.actor, comment.trim());
        }
    }
    Ok(told)
}
