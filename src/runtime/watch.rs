//! Watches: reflectors that one bad object does not stop, and a way to tell others that something changed.

use futures::{Stream, StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{Lookup, Store, store::Writer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A counter that others wait on: "something changed, look again".
#[derive(Clone, Debug)]
pub struct Changes(Arc<watch::Sender<u64>>);

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Changes {
    /// Something changed.
    pub fn announce(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// How many changes there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// One item for every burst of changes: a burst ends `quiet` after its first change.
    pub fn bursts(&self, quiet: Duration) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(self.0.subscribe(), move |mut seen| async move {
            seen.changed().await.ok()?;
            tokio::time::sleep(quiet).await;
            seen.mark_unchanged();
            Some(((), seen))
        })
    }
}

/// Whether every watch has been read through once.
///
/// The stores of the client library can tell that too, but only one task at a time: of several that wait for one store, all but
/// the last are never woken (seen with kube 5.0, `DelayedInit`). So whoever has to wait, waits here.
#[derive(Clone, Debug)]
pub struct Synced(Arc<watch::Sender<usize>>);

impl Synced {
    /// For so many watches.
    #[must_use]
    pub fn of(watches: usize) -> Self {
        Self(Arc::new(watch::Sender::new(watches)))
    }

    /// What one watch calls each time it has been read through; the first time counts.
    pub fn part(&self) -> impl FnMut() + Send + use<> {
        let (missing, mut told) = (self.0.clone(), false);
        move || {
            if !std::mem::replace(&mut told, true) {
                missing.send_modify(|missing| *missing = missing.saturating_sub(1));
            }
        }
    }

    /// Resolves when every watch has been read through.
    pub async fn wait(&self) {
        // The sender lives as long as this does, so waiting cannot fail.
        self.0.subscribe().wait_for(|missing| *missing == 0).await.ok();
    }
}

/// Watches every object of a kind that people write. An object that this version cannot read is logged and passed over, so that
/// it does not stop the others. `changes` is told after the store has taken a change in.
///
/// `matters` yields whatever in the status others decide by, so that its change is told too; usually nothing.
pub fn observe<K>(
    client: &Client,
    changes: &Changes,
    synced: &Synced,
    matters: fn(&K) -> bool,
) -> (Store<K>, impl Stream<Item = watcher::Result<K>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    observe_compact(client, changes, synced, matters, |_| {})
}

/// The same; `compact` drops what need not be kept in memory.
pub fn observe_compact<K>(
    client: &Client,
    changes: &Changes,
    synced: &Synced,
    matters: fn(&K) -> bool,
    compact: fn(&mut K),
) -> (Store<K>, impl Stream<Item = watcher::Result<K>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let guarded: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let events = watcher(guarded, watcher::Config::default()).default_backoff().filter_map(|event| async {
        match event {
            Ok(event) => readable(event).map(Ok),
            Err(error) => Some(Err(error)),
        }
    });
    let events = events.map(move |event| event.map(|event| event.modify(compact)));
    (store, touched(events, writer, changes.clone(), synced.part(), matters))
}

/// Keeps a store up to date with a stream of watch events, and yields every object that was touched, deleted ones too.
pub fn touched<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    writer: Writer<K>,
    changes: Changes,
    mut synced: impl FnMut() + Send + 'static,
    matters: fn(&K) -> bool,
) -> impl Stream<Item = watcher::Result<K>> + Send
where
    K: Resource + Lookup + Clone + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let events = events.map(|event| event.map(|event| event.modify(prune)));
    let mut generations = HashMap::new();
    reflector(writer, events)
        .inspect(move |event| match event {
            // A status that a controller wrote is no change, unless others decide by it.
            Ok(watcher::Event::Apply(object)) => {
                let stamp = (stamp(object), matters(object));
                if generations.insert(key(object), stamp.clone()).as_ref() != Some(&stamp) {
                    changes.announce();
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                generations.remove(&key(object));
                changes.announce();
            }
            Ok(watcher::Event::Init) => generations.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                generations.insert(key(object), (stamp(object), matters(object)));
            }
            Ok(watcher::Event::InitDone) => {
                changes.announce();
                synced();
            }
            Err(error) => tracing::warn!(%error, "watch interrupted, trying again"),
        })
        .touched_objects()
}

fn key<K: Resource>(object: &K) -> (Option<String>, String) {
    (ResourceExt::namespace(object), object.name_any())
}

/// What changes when the spec does, or when the object is another one of the same name.
fn stamp<K: Resource>(object: &K) -> (Option<String>, Option<i64>) {
    (object.meta().uid.clone(), object.meta().generation)
}

/// Drops what nothing here reads, and much of the memory with it.
pub fn prune<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

fn readable<K: Resource>(event: watcher::Event<DeserializeGuard<K>>) -> Option<watcher::Event<K>> {
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            tracing::error!(%name, error = invalid.error, "an object cannot be read by this version and is passed over");
            None
        }
    };
    Some(match event {
        watcher::Event::Apply(guard) => watcher::Event::Apply(read(guard)?),
        watcher::Event::Delete(guard) => watcher::Event::Delete(read(guard)?),
        watcher::Event::InitApply(guard) => watcher::Event::InitApply(read(guard)?),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
    })
}
