//! Composes what happened to instances, and puts it into the outbox. Whatever fails is tried again, with the newest copy of the
//! instance; nothing waits for it.

use super::facts::{self, Standing};
use super::queue::Queue;
use super::{Notifications, lock};
use crate::controllers::instances::live::Parsed;
use crate::controllers::{Context, backoff, report};
use crate::engine::Note;
use crate::notify::{Composed, Occurrence, Setting, Story};
use crate::store::{self, Mark, Store};
use jiff::Timestamp;
use kube::Resource;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many occurrences are composed together: one may be told to many people.
const TOGETHER: usize = 200;

/// How many messages are stored together.
const STORED_TOGETHER: usize = 500;

/// How long an instance may be computed before the others no longer wait for it.
const SLOW: Duration = Duration::from_millis(500);

/// Why something could not be told at the moment.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Facts(#[from] facts::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("what is to be told could not be computed: {0}")]
    Computed(#[from] tokio::task::JoinError),
    /// It is told apart from the others.
    #[error("what is to be told takes longer than {} ms to compute", SLOW.as_millis())]
    Slow,
}

/// Tells what happened to the instances of the queues, until `stop` is cancelled.
pub async fn run(context: &Arc<Context>, stop: &CancellationToken) {
    let notifications = &context.notifications;
    // Decisions are made from now on, whether or not the store can be opened.
    let started = context.clock.now();
    let store = tokio::select! {
        store = notifications.store() => store,
        () = stop.cancelled() => return,
    };
    let queues = &notifications.queues;
    let teller = |limit| Teller { context, store: &store, started, limit, birth: None };
    // What takes long is computed beside the others: a workflow whose expressions are costly delays the mail of its like alone.
    tokio::join!(teller(Some(SLOW)).run(&queues.quick, stop), teller(None).run(&queues.slow, stop));
}

/// Tells what happened to the instances of one queue.
struct Teller<'a> {
    context: &'a Arc<Context>,
    store: &'a Store,
    /// When the operator did.
    started: Timestamp,
    /// How long an instance may be computed.
    limit: Option<Duration>,
    /// Since when the store has been kept, once that is known.
    birth: Option<Timestamp>,
}

impl Teller<'_> {
    async fn run(mut self, queue: &Queue, stop: &CancellationToken) {
        let (context, mut failures) = (self.context, 0);
        loop {
            let (since, parsed) = tokio::select! {
                next = queue.next() => next,
                () = stop.cancelled() => return,
            };
            match self.tell(&parsed).await {
                Ok(()) => {
                    queue.done(&parsed);
                    failures = 0;
                }
                Err(Error::Slow) => {
                    context.notifications.queues.is_slow(parsed.clone(), since);
                    queue.done(&parsed);
                }
                Err(error) => {
                    report("notifications", &context.metrics, &error);
                    queue.failed(since, parsed);
                    failures += 1;
                    tokio::select! {
                        () = tokio::time::sleep(backoff(failures)) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    async fn tell(&mut self, parsed: &Arc<Parsed>) -> Result<(), Error> {
        let Self { context, store, started, .. } = *self;
        let notifications = &context.notifications;
        let born = match self.birth {
            Some(born) => born,
            None => *self.birth.insert(super::recover::birth(store, started).await?),
        };
        let Some(standing) = Standing::of(parsed.clone(), context).await? else { return Ok(()) };
        let standing = Arc::new(standing);
        let (one, shared) = (standing.clone(), context.clone());
        let all = move || story(&one, &shared, |told: &Story<'_>| told.occurrences());
        let happened = within(self.limit, all).await?;
        let ids: Vec<String> = happened.iter().map(|occurrence| occurrence.id.clone()).collect();
        let uid = parsed.instance.meta().uid.clone().unwrap_or_default();
        let ended = parsed.status.outcome.is_some();
        let summary = summary(&ids);
        if !ids.is_empty() && notifications.told(&uid) != Some(summary) {
            let unmarked: HashSet<String> = store.unmarked(ids).await?.into_iter().collect();
            let mut due: Vec<Occurrence> = happened.into_iter().filter(|one| unmarked.contains(&one.id)).collect();
            // What happened before this store was kept was told by whoever kept another one.
            let before = due.extract_if(.., |one| one.at < born).collect::<Vec<_>>();
            let marks: Vec<Mark> = before.into_iter().map(|one| Mark { id: one.id, instance: uid.clone() }).collect();
            store.enqueue(&marks, &[], context.clock.now()).await?;
            while !due.is_empty() {
                let part: Vec<Occurrence> = due.drain(..due.len().min(TOGETHER)).collect();
                let (one, shared) = (standing.clone(), context.clone());
                let composed =
                    within(self.limit, move || story(&one, &shared, |told| compose(told, &part, &shared))).await?;
                queue(composed, &uid, &standing, store, context).await?;
            }
        }
        notifications.remember(uid, (!ended).then_some(summary));
        Ok(())
    }
}

/// Computes off the async threads, and gives up waiting when it takes longer than the limit.
async fn within<T: Send + 'static>(
    limit: Option<Duration>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let computed = tokio::task::spawn_blocking(work);
    match limit {
        Some(limit) => Ok(tokio::time::timeout(limit, computed).await.map_err(|_| Error::Slow)??),
        None => Ok(computed.await?),
    }
}

/// Asks something of the story of an instance.
fn story<T: Default>(standing: &Standing, context: &Context, ask: impl FnOnce(&Story<'_>) -> T) -> T {
    let facts = standing.facts(&context.options.settings);
    let process = standing.revision.content.process.as_ref().map(|(_, process)| process);
    Story::new(&facts, process, &context.options.notifications.subscriptions)
        .map_or_else(T::default, |story| ask(&story))
}

fn compose(story: &Story<'_>, due: &[Occurrence], context: &Context) -> Composed {
    let setting = Setting { links: &context.options.notifications.links, time_zone: "UTC" };
    story.compose(due, &*context.notifications.topics(), &setting)
}

async fn queue(
    composed: Composed,
    uid: &str,
    standing: &Standing,
    store: &Store,
    context: &Context,
) -> Result<(), Error> {
    let Composed { messages, marks, without_address, faults, unsuited } = composed;
    let now = context.clock.now();
    // Thousands of messages are more than one transaction should hold. The marks go with the last ones: after a crash in between
    // the rest follows, and those that are queued already are left alone.
    let marks: Vec<Mark> = marks.into_iter().map(|id| Mark { id, instance: uid.to_owned() }).collect();
    let (early, last) = messages.split_at(messages.len().saturating_sub(STORED_TOGETHER));
    for part in early.chunks(STORED_TOGETHER) {
        store.enqueue(&[], part, now).await?;
    }
    store.enqueue(&marks, last, now).await?;
    context.notifications.broken(faults);
    for message in unsuited {
        let target = standing.parsed.instance.object_ref(&());
        context.events.post(target, Note { warning: true, reason: "TopicUnsuitable", message });
    }
    if !without_address.is_empty() {
        let names: Vec<_> = without_address.into_iter().collect();
        let message = format!("not told, since the directory has no mail address of them: {}", names.join(", "));
        let target = standing.parsed.instance.object_ref(&());
        context.events.post(target, Note { warning: true, reason: "NoMailAddress", message });
    }
    Ok(())
}

/// The same occurrences give the same number: what has been told once need not be looked up again.
fn summary(ids: &[String]) -> u64 {
    let mut ordered: Vec<&String> = ids.iter().collect();
    ordered.sort_unstable();
    let mut hasher = DefaultHasher::new();
    ordered.hash(&mut hasher);
    hasher.finish()
}

impl Notifications {
    /// What was told last of an instance, as a number.
    fn told(&self, uid: &str) -> Option<u64> {
        lock(&self.told).get(uid).copied()
    }

    /// Forgets the instances that are not there any more: one that was deleted never ends.
    pub(super) fn keep_told(&self, there: &HashSet<String>) {
        lock(&self.told).retain(|uid, _| there.contains(uid));
    }

    fn remember(&self, uid: String, summary: Option<u64>) {
        let mut told = lock(&self.told);
        match summary {
            Some(summary) => _ = told.insert(uid, summary),
            None => _ = told.remove(&uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, within};
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn what_takes_longer_than_its_limit_is_slow_and_without_a_limit_nothing_is() {
        let (go, waits) = mpsc::channel::<()>();
        let limited = within(Some(Duration::from_millis(10)), move || waits.recv()).await;
        assert!(matches!(limited, Err(Error::Slow)), "{limited:?}");
        drop(go);
        let long = within(None, || std::thread::sleep(Duration::from_millis(20))).await;
        assert!(long.is_ok(), "{long:?}");
    }
}
