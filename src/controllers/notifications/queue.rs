//! The instances of which something may have to be told. A queue in memory: what is in it follows from what the API server has,
//! so that a crash loses nothing ([`super::recover`]).

use crate::controllers::instances::live::Parsed;
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The queue: each instance once, the newest copy of it.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    woken: Notify,
}

#[derive(Default)]
struct Inner {
    order: VecDeque<String>,
    waiting: HashMap<String, (Timestamp, Arc<Parsed>)>,
    /// Since when what is being dealt with has been due.
    under_way: BTreeMap<String, Timestamp>,
}

impl Queue {
    /// Puts an instance in; one that waits already is replaced by the newer copy.
    pub fn push(&self, told: Arc<Parsed>, now: Timestamp) {
        let mut inner = self.lock();
        let uid = uid(&told);
        match inner.waiting.get_mut(&uid) {
            Some((_, waiting)) => *waiting = told,
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

    /// It has been dealt with.
    pub fn done(&self, told: &Parsed) {
        self.lock().under_way.remove(&uid(told));
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

    /// Everything that was put in before this moment has been dealt with; none: everything has.
    pub fn oldest(&self) -> Option<Timestamp> {
        let inner = self.lock();
        inner.waiting.values().map(|(since, _)| since).chain(inner.under_way.values()).min().copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(told: &Parsed) -> String {
    told.instance.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Queue};
    use crate::api::{WorkflowInstance, WorkflowInstanceSpec, WorkflowInstanceStatus};
    use jiff::Timestamp;
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
