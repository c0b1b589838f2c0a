//! The instances of which something may have to be told. A queue in memory: what is in it follows from what the API server has,
//! so that a crash loses nothing ([`super::recover`]).

use crate::controllers::instances::live::Parsed;
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// So many instances wait at most, and those that have not ended, which are in memory anyway: the store may be away for days.
const MOST: usize = 2000;

/// The queue: each instance once, the newest copy of it.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    woken: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Inner {
    order: VecDeque<String>,
    waiting: HashMap<String, (Timestamp, Arc<Parsed>)>,
    /// Since when what is being dealt with has been due.
    under_way: BTreeMap<String, Timestamp>,
    /// Since when there was no room for instances that ended.
    missed: Option<Timestamp>,
    /// Since when those are being put in.
    catching_up: Option<Timestamp>,
}

impl Queue {
    /// Puts an instance in; one that waits already is replaced by the newer copy. One that has ended and finds no room is
    /// missed, see [`Self::catch_up`]: the API server has it.
    pub fn push(&self, told: Arc<Parsed>, now: Timestamp) {
        let mut inner = self.lock();
        let uid = uid(&told);
        let full = inner.waiting.len() >= MOST;
        match inner.waiting.get_mut(&uid) {
            Some((_, waiting)) => *waiting = told,
            None if full && told.status.outcome.is_some() => {
                inner.missed = Some(inner.missed.map_or(now, |since| since.min(now)));
                return;
            }
            None => {
                inner.waiting.insert(uid.clone(), (now, told));
                inner.order.push_back(uid);
            }
        }
        self.woken.notify_one();
    }

    /// The next one, as soon as there is one; until [`Self::done`] or [`Self::failed`] it counts as under way.
    pub async fn next(&self) -> (Timestamp, Arc<Parsed>) {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.woken.notified().await;
        }
    }

    fn take(&self) -> Option<(Timestamp, Arc<Parsed>)> {
        let mut inner = self.lock();
        let uid = inner.order.pop_front()?;
        let (since, told) = inner.waiting.remove(&uid)?;
        inner.under_way.insert(uid, since);
        Some((since, told))
    }

    /// Takes the copy of an instance that waits, if one does.
    fn withdraw(&self, uid: &str) -> Option<Arc<Parsed>> {
        let mut inner = self.lock();
        let (_, told) = inner.waiting.remove(uid)?;
        inner.order.retain(|waiting| waiting != uid);
        Some(told)
    }

    /// It has been dealt with.
    pub fn done(&self, told: &Parsed) {
        self.lock().under_way.remove(&uid(told));
        self.drained.notify_one();
    }

    /// Waits until half of the queue is free.
    pub async fn room(&self) {
        while self.lock().waiting.len() > MOST / 2 {
            self.drained.notified().await;
        }
    }

    /// Since when instances have been missed that must be put in now, if any were; [`Self::caught_up`] says that they are.
    pub fn catch_up(&self) -> Option<Timestamp> {
        let mut inner = self.lock();
        inner.catching_up = inner.missed.take().into_iter().chain(inner.catching_up).min();
        inner.catching_up
    }

    /// What was missed before [`Self::catch_up`] has been put in; what was missed since has not.
    pub fn caught_up(&self) {
        self.lock().catching_up = None;
    }

    /// It has not: it is due again, unless a newer copy waits already.
    pub fn failed(&self, since: Timestamp, told: Arc<Parsed>) {
        let mut inner = self.lock();
        let uid = uid(&told);
        inner.under_way.remove(&uid);
        match inner.waiting.get_mut(&uid) {
            Some((waiting_since, _)) => *waiting_since = since,
            None => {
                inner.waiting.insert(uid.clone(), (since, told));
                inner.order.push_back(uid);
            }
        }
        self.woken.notify_one();
    }

    /// Everything that came before this moment has been dealt with; none: everything has.
    pub fn oldest(&self) -> Option<Timestamp> {
        let inner = self.lock();
        let waiting = inner.waiting.values().map(|(since, _)| since);
        waiting.chain(inner.under_way.values()).chain(&inner.missed).chain(&inner.catching_up).min().copied()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue of the instances that are quickly computed, and that of those that are not: a workflow whose expressions are costly
/// delays what is told of its like alone.
#[derive(Default)]
pub struct Queues {
    /// Where every instance begins.
    pub quick: Queue,
    /// Where those are that took too long once.
    pub slow: Queue,
    /// The uids of these.
    slow_ones: Mutex<HashSet<String>>,
}

impl Queues {
    /// Puts an instance into the queue where it belongs: [`Queue::push`].
    pub fn push(&self, told: Arc<Parsed>, now: Timestamp) {
        let slow_ones = self.slow_ones();
        let queue = if slow_ones.contains(&uid(&told)) { &self.slow } else { &self.quick };
        queue.push(told, now);
    }

    /// Moves an instance that takes too long, now and from now on: the newest copy of it.
    pub fn is_slow(&self, told: Arc<Parsed>, since: Timestamp) {
        let mut slow_ones = self.slow_ones();
        let uid = uid(&told);
        let newest = self.quick.withdraw(&uid).unwrap_or(told);
        slow_ones.insert(uid);
        self.slow.push(newest, since);
    }

    /// Forgets the instances that are not there any more.
    pub fn keep(&self, there: &HashSet<String>) {
        self.slow_ones().retain(|uid| there.contains(uid));
    }

    /// Everything that came before this moment has been dealt with; none: everything has.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.both().into_iter().filter_map(Queue::oldest).min()
    }

    /// The two.
    pub fn both(&self) -> [&Queue; 2] {
        [&self.quick, &self.slow]
    }

    fn slow_ones(&self) -> MutexGuard<'_, HashSet<String>> {
        self.slow_ones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(told: &Parsed) -> String {
    told.instance.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{MOST, Parsed, Queue, Queues};
    use crate::api::{Outcome, WorkflowInstance, WorkflowInstanceSpec, WorkflowInstanceStatus};
    use jiff::Timestamp;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn told(uid: &str, title: &str) -> Arc<Parsed> {
        let mut instance = WorkflowInstance::new(uid, WorkflowInstanceSpec::default());
        instance.metadata.uid = Some(uid.to_owned());
        Arc::new(Parsed {
            instance,
            status: WorkflowInstanceStatus { title: Some(title.to_owned()), ..Default::default() },
        })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a moment")
    }

    #[tokio::test]
    async fn each_instance_waits_once_as_its_newest_copy_and_since_its_oldest() {
        let queue = Queue::default();
        queue.push(told("a", "old"), at(1));
        queue.push(told("b", "other"), at(2));
        queue.push(told("a", "new"), at(3));
        assert_eq!(queue.oldest(), Some(at(1)));
        let (since, first) = queue.next().await;
        assert_eq!((since, first.status.title.as_deref()), (at(1), Some("new")));
        assert_eq!(queue.oldest(), Some(at(1)), "it is not dealt with before it is done");
        queue.done(&first);
        assert_eq!(queue.oldest(), Some(at(2)));
        let (_, second) = queue.next().await;
        queue.done(&second);
        assert_eq!(queue.oldest(), None);
    }

    fn ended(uid: &str) -> Arc<Parsed> {
        let mut parsed = Arc::unwrap_or_clone(told(uid, ""));
        parsed.status.outcome = Some(Outcome::Approved);
        Arc::new(parsed)
    }

    #[tokio::test]
    async fn a_full_queue_remembers_since_when_it_missed_something() {
        let queue = Queue::default();
        for number in 0..MOST {
            queue.push(ended(&number.to_string()), at(10));
        }
        queue.push(told("under way", ""), at(11));
        queue.push(ended("0"), at(12));
        assert_eq!(queue.catch_up(), None, "what waits already, and what has not ended, finds room");
        queue.push(ended("a"), at(14));
        queue.push(ended("b"), at(13));
        assert_eq!(queue.catch_up(), Some(at(13)));
        queue.push(ended("c"), at(15));
        let mut seen = 0;
        while queue.lock().waiting.len() > MOST / 2 {
            let (_, next) = queue.next().await;
            queue.done(&next);
            seen += 1;
        }
        assert_eq!(seen, MOST / 2 + 1);
        queue.room().await;
        assert_eq!(queue.oldest(), Some(at(10)));
        while let Some((_, next)) = queue.take() {
            queue.done(&next);
        }
        assert_eq!(queue.oldest(), Some(at(13)), "what was missed is not dealt with");
        assert_eq!(queue.catch_up(), Some(at(13)), "as long as nobody says that it is put in");
        queue.caught_up();
        assert_eq!((queue.oldest(), queue.catch_up()), (None, None));
    }

    #[tokio::test]
    async fn what_is_slow_once_waits_with_its_like() {
        let queues = Queues::default();
        queues.push(told("bomb", ""), at(1));
        queues.push(told("a", ""), at(2));
        let (since, bomb) = queues.quick.next().await;
        queues.push(told("bomb", "newer"), at(3));
        queues.is_slow(bomb.clone(), since);
        queues.quick.done(&bomb);
        assert_eq!(queues.oldest(), Some(at(1)), "it is not dealt with");
        let (_, next) = queues.quick.next().await;
        assert_eq!(next.instance.metadata.uid.as_deref(), Some("a"));
        assert!(queues.quick.take().is_none());
        let (since, bomb) = queues.slow.next().await;
        assert_eq!((since, bomb.status.title.as_deref()), (at(1), Some("newer")));
        queues.push(told("bomb", "newest"), at(4));
        let (_, bomb) = queues.slow.next().await;
        assert_eq!(bomb.status.title.as_deref(), Some("newest"));
        queues.keep(&HashSet::new());
        queues.push(bomb, at(5));
        assert!(queues.quick.take().is_some(), "who is gone is forgotten");
    }

    #[tokio::test]
    async fn what_failed_is_due_again_as_its_newest_copy() {
        let queue = Queue::default();
        queue.push(told("a", "old"), at(1));
        let (since, first) = queue.next().await;
        queue.push(told("a", "new"), at(5));
        queue.failed(since, first);
        let (since, again) = queue.next().await;
        assert_eq!((since, again.status.title.as_deref()), (at(1), Some("new")));
        queue.failed(since, again);
        assert_eq!(queue.oldest(), Some(at(1)));
    }
}
