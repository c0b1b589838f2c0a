//! Every change request in memory, without its payloads, and never older than what this operator wrote itself: the gate answers
//! from here.

use crate::api::ChangeRequest;
use crate::controllers::instances::Key;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it goes unasked whether a request is still as the API server was seen to have it: whoever tries something again and
/// again has it asked once in that time.
const CONFIRMED: Duration = Duration::from_secs(1);

/// The change requests as far as they are known.
pub struct ChangeStore {
    watched: Store<ChangeRequest>,
    written: Mutex<HashMap<Key, Arc<ChangeRequest>>>,
    copies: Mutex<Copies>,
}

/// What is known of the copies that the API server has, by the uid of the request.
#[derive(Default)]
struct Copies {
    /// The resourceVersion that it was seen to have, and when.
    seen: HashMap<String, (String, Instant)>,
    /// How many writes of this operator are under way.
    written_now: HashMap<String, usize>,
}

/// A write that is under way.
pub struct Writing<'a> {
    store: &'a ChangeStore,
    uid: String,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut copies = self.store.copies();
        copies.seen.remove(&self.uid);
        if let Some(count) = copies.written_now.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                copies.written_now.remove(&self.uid);
            }
        }
    }
}

impl ChangeStore {
    /// Over what a watch keeps.
    #[must_use]
    pub fn new(watched: Store<ChangeRequest>) -> Self {
        Self { watched, written: Mutex::default(), copies: Mutex::default() }
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
        self.find(|request| {
            request.metadata.namespace.as_deref() == Some(namespace)
                && request.metadata.name.as_deref().is_some_and(|name| name.starts_with(prefix))
        })
    }

    /// The requests of a namespace with that label, and the one of that name.
    #[must_use]
    pub fn about(&self, namespace: &str, (label, value): (&str, &str), name: &str) -> Vec<ChangeRequest> {
        let found = self.find(|request| {
            request.metadata.namespace.as_deref() == Some(namespace)
                && (request.labels().get(label).is_some_and(|its| its == value)
                    || request.metadata.name.as_deref() == Some(name))
        });
        found.into_iter().map(Arc::unwrap_or_clone).collect()
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
            request.metadata.namespace.as_deref() == Some(namespace) && request.spec.supersedes.as_deref() == Some(name)
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

    /// Whether the API server was seen to have this copy a moment ago, and this operator has not written to it since.
    #[must_use]
    pub fn is_confirmed(&self, request: &ChangeRequest, now: Instant) -> bool {
        let Some((uid, version)) = request.uid().zip(request.resource_version()) else { return false };
        let copies = self.copies();
        let seen = copies.seen.get(&uid).filter(|(seen, _)| *seen == version);
        !copies.written_now.contains_key(&uid)
            && seen.is_some_and(|(_, at)| now.saturating_duration_since(*at) < CONFIRMED)
    }

    /// The API server was seen to have this copy at that moment.
    pub fn confirm(&self, request: &ChangeRequest, now: Instant) {
        let Some((uid, version)) = request.uid().zip(request.resource_version()) else { return };
        let mut copies = self.copies();
        copies.seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < CONFIRMED);
        copies.seen.insert(uid, (version, now));
    }

    /// Says that a write of this request begins. It has ended, however it went, when what is returned is dropped; that must be after
    /// [`Self::wrote`].
    #[must_use]
    pub fn writing(&self, request: &ChangeRequest) -> Writing<'_> {
        let uid = request.uid().unwrap_or_default();
        *self.copies().written_now.entry(uid.clone()).or_default() += 1;
        Writing { store: self, uid }
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::ChangeStore;
    use crate::api::{Change, ChangeRequest, ChangeRequestSpec};
    use kube::ResourceExt as _;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use std::time::{Duration, Instant};

    fn request(namespace: &str, name: &str, label: Option<&str>, version: &str) -> ChangeRequest {
        let changes = vec![Change { object: Some(json!({"payload": version})), ..Change::default() }];
        let mut request = ChangeRequest::new(name, ChangeRequestSpec { changes, ..ChangeRequestSpec::default() });
        request.metadata.namespace = Some(namespace.to_owned());
        request.metadata.resource_version = Some(version.to_owned());
        request.metadata.labels = label.map(|label| [("about".to_owned(), label.to_owned())].into());
        request
    }

    #[test]
    fn a_copy_is_confirmed_for_a_moment_and_not_over_a_write() {
        let known = ChangeStore::new(store().0);
        let mut request = request("prod", "one", None, "5");
        request.metadata.uid = Some("uid".to_owned());
        let now = Instant::now();
        let later = |millis: u64| now + Duration::from_millis(millis);
        assert!(!known.is_confirmed(&request, now));
        known.confirm(&request, now);
        assert!(known.is_confirmed(&request, later(999)));
        assert!(!known.is_confirmed(&request, later(1000)));
        let mut newer = request.clone();
        newer.metadata.resource_version = Some("6".to_owned());
        assert!(!known.is_confirmed(&newer, now), "it is another copy");
        let (one, two) = (known.writing(&request), known.writing(&request));
        drop(one);
        known.confirm(&request, now);
        assert!(!known.is_confirmed(&request, now), "it may be another one any moment");
        drop(two);
        assert!(!known.is_confirmed(&request, now), "whether it was written is not known here");
        known.confirm(&newer, now);
        assert!(known.is_confirmed(&newer, now));
    }

    #[test]
    fn what_is_about_something_is_found_as_it_was_written_last() {
        let (watched, mut writer) = store();
        for (namespace, name, label) in [
            ("prod", "one", Some("x")),
            ("prod", "unlabelled", None),
            ("prod", "other", Some("y")),
            ("test", "one", Some("x")),
        ] {
            writer.apply_watcher_event(&Event::Apply(request(namespace, name, label, "5")));
        }
        let known = ChangeStore::new(watched);
        known.wrote(request("prod", "one", Some("x"), "7"));
        known.wrote(request("prod", "new", Some("x"), "6"));
        let about = |name: &str| -> Vec<(String, String)> {
            let found = known.about("prod", ("about", "x"), name).into_iter();
            found.map(|request| (request.name_any(), request.resource_version().unwrap_or_default())).collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        assert_eq!(about("unlabelled"), pairs(&[("new", "6"), ("one", "7"), ("unlabelled", "5")]));
        assert_eq!(about("nothing"), pairs(&[("new", "6"), ("one", "7")]));
        let kept = known.get("prod", "one").expect("known");
        assert_eq!(kept.spec.changes[0].object, None, "payloads are not kept");
    }
}
