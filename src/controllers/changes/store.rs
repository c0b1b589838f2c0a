//! Every change request in memory, without its payloads, and never older than what this operator wrote itself: the gate answers
//! from here.

use crate::api::ChangeRequest;
use crate::controllers::instances::Key;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The change requests as far as they are known.
pub struct ChangeStore {
    watched: Store<ChangeRequest>,
    written: Mutex<HashMap<Key, Arc<ChangeRequest>>>,
}

impl ChangeStore {
    /// Over what a watch keeps.
    #[must_use]
    pub fn new(watched: Store<ChangeRequest>) -> Self {
        Self { watched, written: Mutex::default() }
    }

    /// What the watch keeps.
    #[must_use]
    pub fn watched(&self) -> Store<ChangeRequest> {
        self.watched.clone()
    }

    /// The request of that name. Its payloads are left out: spec.changes[].object, the old object, the differences.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<ChangeRequest>> {
        let watched = self.watched.get(&ObjectRef::<ChangeRequest>::new(name).within(namespace));
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = written.get(&(namespace.to_owned(), name.to_owned()));
        match (watched, written) {
            (Some(watched), Some(written)) if version(written) > version(&watched) => Some(written.clone()),
            (Some(watched), _) => Some(watched),
            (None, written) => written.cloned(),
        }
    }

    /// The requests of a namespace whose name begins so.
    #[must_use]
    pub fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<Arc<ChangeRequest>> {
        self.find(|request| request.namespace().as_deref() == Some(namespace) && request.name_any().starts_with(prefix))
    }

    /// The requests written by hand that stand for this request of this user to the gate.
    #[must_use]
    pub fn standing_for(&self, username: &str, digest: &str, base: &str) -> Vec<Arc<ChangeRequest>> {
        self.find(|request| {
            request.spec.requester.as_ref().is_some_and(|requester| requester.username == username)
                && request
                    .status
                    .iter()
                    .flat_map(|status| &status.changes)
                    .any(|change| change.held.as_ref().is_some_and(|held| held.digest == digest && held.base == base))
        })
    }

    /// The requests of a namespace that correct that one.
    #[must_use]
    pub fn correcting(&self, namespace: &str, name: &str) -> Vec<Arc<ChangeRequest>> {
        self.find(|request| {
            request.namespace().as_deref() == Some(namespace) && request.spec.supersedes.as_deref() == Some(name)
        })
    }

    fn find(&self, wanted: impl Fn(&ChangeRequest) -> bool) -> Vec<Arc<ChangeRequest>> {
        let mut names: Vec<Key> =
            self.watched.state().iter().filter(|request| wanted(request)).map(|request| key(request)).collect();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(written.values().filter(|request| wanted(request)).map(|request| key(request)));
        drop(written);
        names.sort();
        names.dedup();
        names.iter().filter_map(|(namespace, name)| self.get(namespace, name)).filter(|found| wanted(found)).collect()
    }

    /// Takes in what was just written, before the watch shows it.
    pub fn wrote(&self, mut request: ChangeRequest) {
        compact(&mut request);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(key(&request), Arc::new(request));
    }

    /// Forgets what was written as far as the watch has caught up with it.
    pub fn seen(&self, touched: &ChangeRequest) {
        let key = key(touched);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.get(&key).is_some_and(|known| version(known) <= version(touched) || known.uid() == touched.uid()) {
            let gone = self.watched.get(&ObjectRef::<ChangeRequest>::new(&key.1).within(&key.0)).is_none();
            if gone || written.get(&key).is_some_and(|known| version(known) <= version(touched)) {
                written.remove(&key);
            }
        }
    }
}

/// Namespace and name of a request.
#[must_use]
pub fn key(request: &ChangeRequest) -> Key {
    (request.namespace().unwrap_or_default(), request.name_any())
}

/// Drops the payloads: they are read again where they are needed.
pub fn compact(request: &mut ChangeRequest) {
    request.metadata.managed_fields = None;
    for change in &mut request.spec.changes {
        change.object = None;
        change.patch = None;
        if let Some(held) = &mut change.held {
            held.old_object = None;
            held.differences.clear();
        }
    }
    for change in request.status.iter_mut().flat_map(|status| &mut status.changes) {
        change.object = None;
        if let Some(held) = &mut change.held {
            held.old_object = None;
            held.differences.clear();
        }
    }
}

/// The resourceVersion as the number that it is on every etcd-backed server; 0 where it is something else.
fn version(request: &ChangeRequest) -> u64 {
    request.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
