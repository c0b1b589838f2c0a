//! Signals go with their instance: when a finished instance has been deleted, its signals are deleted too.
//!
//! Nobody else can delete a signal (an admission policy sees to it), and a signal cannot be owned by its instance: whoever
//! sends it does not know its uid, and may not set owners.

use super::Error;
use crate::api::{ApprovalSignal, WorkflowInstance};
use crate::controllers::{Context, report};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, ResourceExt};
use std::collections::HashMap;

/// How many signals are looked at in one request.
const PAGE: u32 = 500;

/// A signal for an instance that never was is kept so long, for its sender to read the verdict.
const STRAY: i64 = 3600;

/// Sweeps again and again, for ever.
pub async fn run(context: &Context) {
    context.synced.wait().await;
    loop {
        tokio::time::sleep(context.options.sweep_interval).await;
        if let Err(error) = sweep(context).await {
            report("sweep", &context.metrics, &error);
        }
    }
}

/// Deletes the judged signals whose instance is gone.
async fn sweep(context: &Context) -> Result<(), Error> {
    let listed: Api<ApprovalSignal> = Api::all(context.client.clone());
    let mut known: HashMap<(String, String), Option<String>> = HashMap::new();
    let mut page = ListParams::default().fields("status.reason!=").limit(PAGE);
    loop {
        let signals = listed.list(&page).await.map_err(|source| Error::Signal { name: String::new(), source })?;
        for signal in &signals.items {
            let key = (signal.namespace().unwrap_or_default(), signal.spec.instance.clone());
            if !known.contains_key(&key) {
                known.insert(key.clone(), instance_uid(context, &key).await?);
            }
            if is_left_over(signal, known[&key].as_deref(), context.clock.now().as_second()) {
                delete(context, signal).await?;
            }
        }
        match signals.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            _ => return Ok(()),
        }
    }
}

/// Whether the instance that a signal was judged for is gone: `uid` is that of the one that has the name now.
fn is_left_over(signal: &ApprovalSignal, uid: Option<&str>, now: i64) -> bool {
    let judged_for = signal.status.as_ref().and_then(|status| status.instance_uid.as_deref());
    match (judged_for, uid) {
        (Some(judged_for), uid) => uid != Some(judged_for),
        (None, Some(_)) => false,
        (None, None) => signal.creation_timestamp().is_some_and(|created| now - created.0.as_second() > STRAY),
    }
}

async fn instance_uid(context: &Context, (namespace, name): &(String, String)) -> Result<Option<String>, Error> {
    let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_metadata_opt(name).await.map_err(|source| Error::Api { name: name.clone(), source })?;
    Ok(found.and_then(|instance| instance.metadata.uid))
}

async fn delete(context: &Context, signal: &ApprovalSignal) -> Result<(), Error> {
    let api: Api<ApprovalSignal> = Api::namespaced(context.client.clone(), &signal.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: signal.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&signal.name_any(), &parameters).await {
        Ok(_) => {
            context.metrics.wrote("signal-deleted");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
        Err(source) => Err(Error::Signal { name: signal.name_any(), source }),
    }
}
