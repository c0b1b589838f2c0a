//! The signals that have no verdict yet, by instance.

use crate::api::ApprovalSignal;
use crate::engine::Signal;
use kube::ResourceExt;
use kube::runtime::watcher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Namespace and name of an instance.
pub type Key = (String, String);

/// A signal without verdict, and when this operator first saw it.
#[derive(Clone, Debug)]
pub struct Unjudged {
    /// The signal.
    pub signal: Arc<ApprovalSignal>,
    /// When it was seen: it was created before.
    pub seen: Instant,
}

/// All signals without verdict. The watch selects them, so a judged one leaves by itself.
#[derive(Default)]
pub struct Signals(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_instance: HashMap<Key, BTreeMap<String, Unjudged>>,
    /// While the watch lists anew: what it has listed so far.
    listed: Option<HashMap<Key, BTreeMap<String, Unjudged>>>,
    /// Signals that this operator gave a verdict, by uid: what the watch still says of them is old. Kept until the watch lets go
    /// of them; true once it lists anew since, and so will not name them again.
    judged: HashMap<String, bool>,
    /// Signals whose verdict was sent and not answered: it may have been written. By instance, as name and uid.
    doubtful: HashMap<Key, BTreeSet<(String, String)>>,
}

impl Signals {
    /// Takes in a watch event; returns the instances that have something new to look at.
    pub fn apply(&self, event: watcher::Event<ApprovalSignal>) -> Vec<Key> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match event {
            watcher::Event::Init => {
                inner.listed = Some(HashMap::new());
                inner.judged.values_mut().for_each(|listed_since| *listed_since = true);
                Vec::new()
            }
            watcher::Event::InitApply(signal) => {
                let key = key(&signal);
                let uid = signal.uid().unwrap_or_default();
                if !inner.judged.contains_key(&uid) {
                    let unjudged = Unjudged { signal: Arc::new(signal), seen: now };
                    inner.listed.get_or_insert_default().entry(key).or_default().insert(uid, unjudged);
                }
                Vec::new()
            }
            watcher::Event::InitDone => {
                inner.by_instance = inner.listed.take().unwrap_or_default();
                inner.judged.retain(|_, listed_since| !*listed_since);
                inner.by_instance.keys().cloned().collect()
            }
            watcher::Event::Apply(signal) => {
                let key = key(&signal);
                let uid = signal.uid().unwrap_or_default();
                if inner.judged.contains_key(&uid) {
                    return Vec::new();
                }
                let unjudged = Unjudged { signal: Arc::new(signal), seen: now };
                inner.by_instance.entry(key.clone()).or_default().insert(uid, unjudged);
                vec![key]
            }
            watcher::Event::Delete(signal) => {
                let uid = signal.uid().unwrap_or_default();
                inner.judged.remove(&uid);
                inner.remove(&key(&signal), &uid);
                Vec::new()
            }
        }
    }

    /// The unjudged signals of an instance.
    pub fn of(&self, key: &Key) -> Vec<Unjudged> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_instance.get(key).map(|signals| signals.values().cloned().collect()).unwrap_or_default()
    }

    /// A verdict has been written: the signal is never judged again, whatever the watch still says of it.
    pub fn judged(&self, key: &Key, uid: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.remove(key, uid);
        if let Some(signals) = inner.listed.as_mut().and_then(|listed| listed.get_mut(key)) {
            signals.remove(uid);
        }
        inner.judged.insert(uid.to_owned(), false);
    }

    /// A verdict was sent, and whether it was written is not known: the signal is read again before it is judged again.
    pub fn doubted(&self, key: &Key, name: &str, uid: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.doubtful.entry(key.clone()).or_default().insert((name.to_owned(), uid.to_owned()));
    }

    /// The signals of an instance whose verdicts are in doubt, by name and uid.
    pub fn in_doubt(&self, key: &Key) -> Vec<(String, String)> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.doubtful.get(key).into_iter().flatten().cloned().collect()
    }

    /// They have been read again.
    pub fn cleared(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doubtful.remove(key);
    }

    /// The signal was changed or is gone: what the watch shows next is what counts.
    pub fn outdated(&self, key: &Key, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key, uid);
    }
}

impl Inner {
    fn remove(&mut self, key: &Key, uid: &str) {
        if let Some(signals) = self.by_instance.get_mut(key) {
            signals.remove(uid);
            if signals.is_empty() {
                self.by_instance.remove(key);
            }
        }
    }
}

fn key(signal: &ApprovalSignal) -> Key {
    (signal.namespace().unwrap_or_default(), signal.spec.instance.clone())
}

/// A signal as the engine sees it.
#[must_use]
pub fn fact(signal: &ApprovalSignal) -> Signal {
    Signal {
        name: signal.name_any(),
        uid: signal.uid().unwrap_or_default(),
        created_at: signal.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second()),
        spec: signal.spec.clone(),
        rights: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Signals, watcher};
    use crate::api::{ApprovalSignal, ApprovalSignalSpec};

    fn signal(uid: &str) -> ApprovalSignal {
        let spec = ApprovalSignalSpec { instance: "release".to_owned(), ..ApprovalSignalSpec::default() };
        let mut signal = ApprovalSignal::new(uid, spec);
        signal.metadata.namespace = Some("shop".to_owned());
        signal.metadata.uid = Some(uid.to_owned());
        signal
    }

    /// A verdict is final: a watch that lags behind may not bring the signal back to be judged another time.
    #[test]
    fn rule07_a_judged_signal_never_comes_back() {
        let key = ("shop".to_owned(), "release".to_owned());
        let signals = Signals::default();
        let names =
            || signals.of(&key).iter().filter_map(|found| found.signal.metadata.uid.clone()).collect::<Vec<_>>();
        signals.apply(watcher::Event::Apply(signal("a")));
        signals.apply(watcher::Event::Apply(signal("b")));
        signals.judged(&key, "a");
        assert_eq!(names(), ["b"]);
        signals.apply(watcher::Event::Apply(signal("a")));
        assert_eq!(names(), ["b"], "an old event does not bring it back");
        signals.apply(watcher::Event::Init);
        signals.apply(watcher::Event::InitApply(signal("a")));
        signals.apply(watcher::Event::InitApply(signal("b")));
        signals.judged(&key, "b");
        signals.apply(watcher::Event::InitDone);
        assert_eq!(names(), Vec::<String>::new(), "nor does an old list, nor one that was begun before the verdict");
        signals.outdated(&key, "c");
        signals.apply(watcher::Event::Apply(signal("c")));
        assert_eq!(names(), ["c"], "one that was changed meanwhile does come back");
        signals.apply(watcher::Event::Delete(signal("c")));
        assert_eq!(names(), Vec::<String>::new());
    }
}
