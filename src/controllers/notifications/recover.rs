//! What a crash could have lost: instances that ended shortly before it, and of which nobody was told yet. Instances that are
//! under way are looked at anyway, since every start reads them all.

use super::schedules;
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
/// again. What has happened since the operator `started` that made it is told, however long the store could not be opened. A minute
/// is allowed for clocks that differ.
///
/// # Errors
/// When the store does not answer.
pub async fn birth(store: &Store, started: Timestamp) -> Result<Timestamp, crate::store::Error> {
    let fresh = started.saturating_sub(MARGIN).unwrap_or(started);
    Ok(moment(&store.value_or(BIRTH, &fresh.to_string()).await?).unwrap_or(fresh))
}

/// Queues the instances that ended before the crash and may not have been dealt with; then keeps the mark, for ever.
pub async fn run(context: &Context) {
    let notifications = &context.notifications;
    let store = notifications.store().await;
    let mut failures = 0;
    while let Err(error) = catch_up(&store, context).await {
        report("notifications", &context.metrics, &*error);
        failures += 1;
        tokio::time::sleep(backoff(failures)).await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = look_again(context).await {
            report("notifications", &context.metrics, &error);
        }
        let until = notifications.queues.oldest().unwrap_or_else(|| context.clock.now());
        if let Err(error) = store.set_value(WATERMARK, &until.to_string()).await {
            report("notifications", &context.metrics, &error);
        }
    }
}

async fn catch_up(store: &Store, context: &Context) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A new store is marked before anything ends: whoever dies in its first moments must not lose what ended in them.
    let now = context.clock.now();
    let until = moment(&store.value_or(WATERMARK, &now.to_string()).await?).unwrap_or(now);
    context.synced.wait().await;
    queue_finished(catch_up_from(until, now), context).await?;
    Ok(())
}

/// Queues the instances that ended while the queues were full.
async fn look_again(context: &Context) -> Result<(), kube::Error> {
    let queues = context.notifications.queues.both();
    if let Some(missed) = queues.iter().filter_map(|queue| queue.catch_up()).min() {
        queue_finished(catch_up_from(missed, context.clock.now()), context).await?;
        for queue in queues {
            queue.caught_up();
        }
    }
    Ok(())
}

/// From when on instances that ended are looked at again. A mark of the future was set by a clock that was wrong, and says nothing:
/// then everything is.
fn catch_up_from(until: Timestamp, now: Timestamp) -> Timestamp {
    if until > now.saturating_add(MARGIN).unwrap_or(now) {
        return Timestamp::MIN;
    }
    until.saturating_sub(MARGIN).unwrap_or(until)
}

/// Queues the instances that ended since, as fast as there is room for them.
async fn queue_finished(from: Timestamp, context: &Context) -> Result<(), kube::Error> {
    let api: Api<Live> = Api::all(context.client.clone());
    let mut page = ListParams::default().fields("status.outcome!=").limit(PAGE);
    loop {
        for queue in context.notifications.queues.both() {
            queue.room().await;
        }
        let listed = api.list(&page).await?;
        let ended = listed.items.iter().filter_map(|live| live.parse().ok());
        let since = |parsed: &Parsed| parsed.status.completed_at.as_ref().is_some_and(|completed| completed.0 >= from);
        ended.filter(since).for_each(|parsed| context.notifications.queues.push(Arc::new(parsed), from));
        match listed.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            _ => return Ok(()),
        }
    }
}

/// Forgets what was told of instances, and the schedules of objects, that are gone; again and again, for ever.
pub async fn sweep(context: &Context) {
    // What a watch has not shown yet is not gone.
    context.synced.wait().await;
    let store = context.notifications.store().await;
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
    context.notifications.keep_told(&there);
    context.notifications.queues.keep(&there);
    schedules::forget_gone(store, &context.notifications).await?;
    Ok(())
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{birth, catch_up_from};
    use crate::store::Store;
    use jiff::{SignedDuration, Timestamp};

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    #[tokio::test]
    async fn a_store_is_as_old_as_the_operator_that_made_it() {
        let store = Store::open("sqlite::memory:").await.expect("a store");
        assert_eq!(birth(&store, at(100)).await.expect("told"), at(99));
        assert_eq!(birth(&store, at(5000)).await.expect("told"), at(99), "the next one tells what happened in between");
    }

    #[test]
    fn attack_34_a_mark_of_the_future_is_not_believed() {
        assert_eq!(catch_up_from(at(100), at(200)), at(99));
        assert_eq!(catch_up_from(at(100), at(100)), at(99));
        assert_eq!(catch_up_from(at(1540), at(100)), Timestamp::MIN);
    }
}
