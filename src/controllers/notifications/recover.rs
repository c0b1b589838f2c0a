//! What a crash could have lost: instances that ended shortly before it, and of which nobody was told yet. Instances that are
//! under way are looked at anyway, since every start reads them all.

use super::{Notifications, schedules};
use crate::controllers::instances::live::{Live, Parsed};
use crate::controllers::{Context, backoff, report};
use crate::store::Store;
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The value of the store that tells until when everything that ended has been dealt with.
const WATERMARK: &str = "told-until";

/// The value of the store that tells since when it has been kept.
const BIRTH: &str = "kept-since";

/// How many finished instances are listed at once.
const PAGE: u32 = 500;

/// A status is written before its instance is queued: whatever ended so long before the mark is looked at again.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// How often the mark is moved on.
const EVERY: Duration = Duration::from_secs(10);

/// Since when this store has been kept. What happened before was told by whoever kept another one, or by nobody: it is not told
/// again. A minute is allowed for clocks that differ.
///
/// # Errors
/// When the store does not answer.
pub async fn birth(store: &Store, now: Timestamp) -> Result<Timestamp, crate::store::Error> {
    let fresh = now.saturating_sub(MARGIN).unwrap_or(now);
    Ok(moment(&store.value_or(BIRTH, &fresh.to_string()).await?).unwrap_or(fresh))
}

/// Queues the instances that ended before the crash and may not have been dealt with; then keeps the mark, for ever.
pub async fn run(notifications: &Notifications, context: &Context) {
    let store = notifications.store().await;
    let mut failures = 0;
    while let Err(error) = catch_up(&store, notifications, context).await {
        report("notifications", &context.metrics, &*error);
        failures += 1;
        tokio::time::sleep(backoff(failures)).await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let until = notifications.queue.oldest().unwrap_or_else(|| context.clock.now());
        if let Err(error) = store.set_value(WATERMARK, &until.to_string()).await {
            report("notifications", &context.metrics, &error);
        }
    }
}

async fn catch_up(
    store: &Store,
    notifications: &Notifications,
    context: &Context,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A new store is marked before anything ends: whoever dies in its first moments must not lose what ended in them.
    let now = context.clock.now();
    let until = moment(&store.value_or(WATERMARK, &now.to_string()).await?).unwrap_or(now);
    context.synced.wait().await;
    let from = until.saturating_sub(MARGIN).unwrap_or(until);
    each_finished(context, |parsed| {
        if parsed.status.completed_at.as_ref().is_some_and(|completed| completed.0 >= from) {
            notifications.queue.push(Arc::new(parsed), from);
        }
    })
    .await?;
    Ok(())
}

async fn each_finished(context: &Context, mut each: impl FnMut(Parsed)) -> Result<(), kube::Error> {
    let api: Api<Live> = Api::all(context.client.clone());
    let mut page = ListParams::default().fields("status.outcome!=").limit(PAGE);
    loop {
        let listed = api.list(&page).await?;
        listed.items.iter().filter_map(|live| live.parse().ok()).for_each(&mut each);
        match listed.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            _ => return Ok(()),
        }
    }
}

/// Forgets what was told of instances, and the schedules of objects, that are gone; again and again, for ever.
pub async fn sweep(notifications: &Notifications, context: &Context) {
    let store = notifications.store().await;
    loop {
        tokio::time::sleep(context.options.sweep_interval).await;
        if let Err(error) = forget_gone(&store, context).await {
            report("notifications", &context.metrics, &*error);
        }
    }
}

async fn forget_gone(store: &Store, context: &Context) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Read first: whatever is marked after this is of an instance that is there.
    let marked = store.marked_instances().await?;
    let mut there = HashSet::new();
    let api: Api<Live> = Api::all(context.client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api.list_metadata(&page).await?;
        there.extend(listed.items.iter().filter_map(ResourceExt::uid));
        match listed.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            _ => break,
        }
    }
    let now = context.clock.now();
    for instance in marked.iter().filter(|instance| !there.contains(*instance)) {
        store.forget(instance, now).await?;
    }
    schedules::forget_gone(store, &context.notifications).await?;
    Ok(())
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
