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
}

impl Signals {
    /// Takes in a watch event; returns the instances that have something new to look at.
    pub fn apply(&self, event: watcher::Event<ApprovalSignal>) -> Vec<Key> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match event {
            watcher::Event::Init => {
                inner.listed = Some(HashMap::new());
                Vec::new()
            }
            watcher::Event::InitApply(signal) => {
                let key = key(&signal);
                let uid = signal.uid().unwrap_or_default();
                let unjudged = Unjudged { signal: Arc::new(signal), seen: now };
                inner.listed.get_or_insert_default().entry(key).or_default().insert(uid, unjudged);
                Vec::new()
            }
            watcher::Event::InitDone => {
                inner.by_instance = inner.listed.take().unwrap_or_default();
                inner.by_instance.keys().cloned().collect()
            }
            watcher::Event::Apply(signal) => {
                let key = key(&signal);
                let uid = signal.uid().unwrap_or_default();
                let unjudged = Unjudged { signal: Arc::new(signal), seen: now };
                inner.by_instance.entry(key.clone()).or_default().insert(uid, unjudged);
                vec![key]
            }
            watcher::Event::Delete(signal) => {
                inner.remove(&key(&signal), &signal.uid().unwrap_or_default());
                Vec::new()
            }
        }
    }

    /// The unjudged signals of an instance.
    pub fn of(&self, key: &Key) -> Vec<Unjudged> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_instance.get(key).map(|signals| signals.values().cloned().collect()).unwrap_or_default()
    }

    /// A verdict has been written, or the signal is gone.
    pub fn done(&self, key: &Key, uid: &str) {
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
