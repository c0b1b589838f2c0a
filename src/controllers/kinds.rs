//! The kinds that processes name beside the built-in one: whether the API server serves them, whether the operator may watch them
//! and write to them, and their objects while some process waits for them.
//!
//! Looked at again whenever processes change and now and then: a kind comes with its `CustomResourceDefinition`, a right with a
//! chart value. What is missing is told by [`Kinds::faults`], as part of `Ready` of the process.

use super::instances::Key;
use super::{Context, backoff, pending, report};
use crate::api::ApprovalProcessSpec;
use crate::pending::{Nature, named, targets};
use crate::runtime::watch::{Changes, Synced, prune};
use futures::StreamExt;
use futures::channel::mpsc;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::discovery::Scope;
use kube::discovery::{ApiCapabilities, ApiGroup};
use kube::error::DiscoveryError;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How soon a kind is looked at again while something about it is missing.
const MISSING: Duration = Duration::from_secs(3);

/// The same, while nothing is.
const COMPLETE: Duration = Duration::from_mins(1);

/// A resource: its API group and its name in the plural.
pub type Name = (String, String);

/// What is done to the objects of a kind.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Right {
    /// They are read and watched.
    Watch,
    /// They are written, through a subresource or themselves.
    Write(Option<String>),
}

/// What is known of a kind.
#[derive(Clone, Debug)]
enum Known {
    /// The API server does not serve it.
    Unserved,
    /// That could not be told: why.
    Untold(String),
    /// It is served.
    Served(Served),
}

/// A kind that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// How it is reached.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    missing: BTreeSet<Right>,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unserved, Self::Unserved) => true,
            (Self::Untold(one), Self::Untold(other)) => one == other,
            (Self::Served(one), Self::Served(other)) => {
                one.resource == other.resource && one.namespaced == other.namespaced && one.missing == other.missing
            }
            _ => false,
        }
    }
}

impl Served {
    /// The objects of this kind, everywhere.
    #[must_use]
    pub fn everywhere(&self, client: &Client) -> Api<DynamicObject> {
        Api::all_with(client.clone(), &self.resource)
    }

    /// Where an object of this kind lives.
    #[must_use]
    pub fn within(&self, namespace: Option<&str>, client: &Client) -> Api<DynamicObject> {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => self.everywhere(client),
        }
    }
}

/// The objects of a kind that some process waits for.
#[derive(Clone)]
struct Watched {
    store: Store<DynamicObject>,
    complete: Arc<AtomicBool>,
}

/// The kinds that processes name.
pub struct Kinds {
    client: Client,
    known: Mutex<BTreeMap<Name, Known>>,
    watched: Mutex<HashMap<Name, Watched>>,
    interested: Mutex<HashMap<String, HashSet<Key>>>,
    touched: mpsc::UnboundedSender<Key>,
    /// Told when what is known of a kind changes.
    pub changes: Changes,
    /// Whether the kinds have been looked at once: before, nothing can be said of their processes.
    pub looked: Synced,
}

impl Kinds {
    /// Knows nothing yet. The receiver yields the instances whose object may have changed.
    #[must_use]
    pub fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (touched, receiver) = mpsc::unbounded();
        let kinds = Self {
            client,
            known: Mutex::default(),
            watched: Mutex::default(),
            interested: Mutex::default(),
            touched,
            changes: Changes::default(),
            looked: Synced::of(1),
        };
        (kinds, receiver)
    }

    /// What keeps a process from working with the kinds that it names.
    #[must_use]
    pub fn faults(&self, spec: &ApprovalProcessSpec) -> Vec<String> {
        let known = lock(&self.known);
        let mut faults = Vec::new();
        for (place, name, rights) in wanted(spec) {
            let (group, resource) = &name;
            match known.get(&name) {
                None => faults.push(format!("{place}: {resource} of API group \"{group}\" are being looked up")),
                Some(Known::Unserved) => faults.push(format!(
                    "{place}: the API server has no {resource} of API group \"{group}\"; install their CustomResourceDefinition, or correct the name"
                )),
                Some(Known::Untold(why)) => {
                    faults.push(format!("{place}: {resource} of API group \"{group}\" could not be looked up: {why}"));
                }
                Some(Known::Served(served)) => {
                    let missing = rights.intersection(&served.missing);
                    faults.extend(missing.map(|right| format!("{place}: {}", forbidden(&name, right, &rights))));
                }
            }
        }
        faults
    }

    /// A kind by its resource, where it is served and may be watched.
    #[must_use]
    pub fn usable(&self, name: &Name) -> Option<Served> {
        match lock(&self.known).get(name) {
            Some(Known::Served(served)) if !served.missing.contains(&Right::Watch) => Some(served.clone()),
            _ => None,
        }
    }

    /// The kind of an object, if processes name it.
    #[must_use]
    pub fn known(&self, api_version: &str, kind: &str) -> Option<Served> {
        lock(&self.known).values().find_map(|known| match known {
            Known::Served(served) if served.resource.api_version == api_version && served.resource.kind == kind => {
                Some(served.clone())
            }
            _ => None,
        })
    }

    /// The kind of an object; none where it is not served any more.
    ///
    /// # Errors
    /// When the API server cannot tell.
    pub async fn of_object(&self, api_version: &str, kind: &str) -> kube::Result<Option<Served>> {
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let wanted = kube::core::GroupVersionKind::gvk(group, version, kind);
        match kube::discovery::pinned_kind(&self.client, &wanted).await {
            Ok((resource, capabilities)) => Ok(Some(served(resource, &capabilities, BTreeSet::new()))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object as the watch of its kind has it; none where that is not running or not complete, or has no such object.
    #[must_use]
    pub fn watched(&self, served: &Served, namespace: Option<&str>, name: &str) -> Option<Arc<DynamicObject>> {
        let resource = &served.resource;
        let watched = lock(&self.watched).get(&(resource.group.clone(), resource.plural.clone())).cloned()?;
        let mut reference = ObjectRef::new_with(name, resource.clone());
        if let Some(namespace) = namespace {
            reference = reference.within(namespace);
        }
        watched.complete.load(Ordering::Acquire).then(|| watched.store.get(&reference)).flatten()
    }

    /// Notes that an instance wants to know when the object of this uid is touched. Once it was told it has to ask again.
    pub fn tell(&self, uid: &str, key: Key) {
        lock(&self.interested).entry(uid.to_owned()).or_default().insert(key);
    }

    fn touched(&self, uid: &str) {
        for key in lock(&self.interested).remove(uid).unwrap_or_default() {
            self.touched.unbounded_send(key).ok();
        }
    }

    /// Starts the watch of a kind: the store, and the stream of what is touched.
    fn watch(
        self: &Arc<Self>,
        name: &Name,
        served: &Served,
    ) -> (Store<DynamicObject>, impl futures::Stream<Item = watcher::Result<DynamicObject>> + Send + use<>) {
        let writer = Writer::<DynamicObject>::new(served.resource.clone());
        let store = writer.as_reader();
        let complete = Arc::new(AtomicBool::new(false));
        let watched = Watched { store: store.clone(), complete: complete.clone() };
        lock(&self.watched).insert(name.clone(), watched);
        let events = watcher(served.everywhere(&self.client), watcher::Config::default()).default_backoff();
        let kinds = self.clone();
        let stream = reflector(writer, events.map(|event| event.map(|event| event.modify(prune))))
            .inspect(move |event| match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                    kinds.touched(&object.uid().unwrap_or_default());
                }
                Ok(watcher::Event::InitDone) => {
                    complete.store(true, Ordering::Release);
                    // Whatever vanished while nobody watched is told by nothing else.
                    let waiting: Vec<_> = lock(&kinds.interested).keys().cloned().collect();
                    waiting.iter().for_each(|uid| kinds.touched(uid));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a watch was interrupted, trying again"),
            })
            .touched_objects();
        (store, stream)
    }
}

/// The watch of a kind, and what works on its objects.
struct Running {
    served: ApiResource,
    stop: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

/// Looks at the kinds until `stop` is cancelled, and watches those that processes wait for.
pub async fn run(context: Arc<Context>, stop: &CancellationToken) {
    context.synced.wait().await;
    let mut looked = context.kinds.looked.part();
    let mut changes = std::pin::pin!(context.process_changes.bursts(Duration::from_millis(50)));
    let mut running: HashMap<Name, Running> = HashMap::new();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let wait = match look(&context).await {
            Ok(complete) => {
                failures = 0;
                looked();
                if complete { COMPLETE } else { MISSING }
            }
            Err(error) => {
                report("kinds", &context.metrics, &error);
                failures += 1;
                backoff(failures)
            }
        };
        keep_watching(&context, &mut running, stop).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            _ = changes.next() => {}
        }
    }
    for (_, running) in running {
        running.stop.cancel();
        running.work.await.ok();
    }
}

/// Starts the watches that are needed now, and ends the others.
async fn keep_watching(context: &Arc<Context>, running: &mut HashMap<Name, Running>, stop: &CancellationToken) {
    let processes = context.processes.state();
    let waiting = processes.iter().filter_map(|process| process.spec.event.pending.as_ref()).flat_map(|pending| {
        named(pending).map(|(_, group, resource)| (group.to_owned(), resource.to_owned())).collect::<Vec<_>>()
    });
    let waiting: BTreeMap<Name, Served> = waiting
        .filter(|(group, resource)| Nature::of(group, resource) != Nature::Certificate)
        .filter_map(|name| context.kinds.usable(&name).map(|served| (name, served)))
        .collect();
    let over: Vec<Name> = running
        .iter()
        .filter(|(name, running)| waiting.get(*name).is_none_or(|served| served.resource != running.served))
        .map(|(name, _)| name.clone())
        .collect();
    for name in over {
        if let Some(running) = running.remove(&name) {
            tracing::info!(group = name.0, resource = name.1, "is not waited for any more");
            running.stop.cancel();
            running.work.await.ok();
            lock(&context.kinds.watched).remove(&name);
        }
    }
    for (name, served) in waiting {
        if !running.contains_key(&name) {
            tracing::info!(group = name.0, resource = name.1, "is waited for");
            let stop = stop.child_token();
            let (store, stream) = context.kinds.watch(&name, &served);
            let work =
                pending::objects::run(context.clone(), name.clone(), served.clone(), store, stream, stop.clone());
            let work = tokio::spawn(work);
            running.insert(name, Running { served: served.resource, stop, work });
        }
    }
}

/// Looks at every kind that processes name; tells whether nothing is missing.
async fn look(context: &Context) -> kube::Result<bool> {
    let kinds = &context.kinds;
    let mut names: BTreeMap<Name, BTreeSet<Right>> = BTreeMap::new();
    for process in context.processes.state() {
        for (_, name, rights) in wanted(&process.spec) {
            names.entry(name).or_default().extend(rights);
        }
    }
    let mut groups: HashMap<String, Result<Option<ApiGroup>, String>> = HashMap::new();
    let mut found = BTreeMap::new();
    for (name, rights) in names {
        if !groups.contains_key(&name.0) {
            let group = match kube::discovery::group(&kinds.client, &name.0).await {
                Ok(group) => Ok(Some(group)),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(error.to_string()),
            };
            groups.insert(name.0.clone(), group);
        }
        let known = match &groups[&name.0] {
            Ok(group) => match group.as_ref().and_then(|group| resource_of(group, &name.1)) {
                Some((resource, capabilities)) => {
                    let missing = missing(&name, rights, context).await?;
                    Known::Served(served(resource, &capabilities, missing))
                }
                None => Known::Unserved,
            },
            // What was known stays: one failed question stops no watch.
            Err(why) => match lock(&kinds.known).get(&name) {
                Some(known @ Known::Served(_)) => known.clone(),
                _ => Known::Untold(why.clone()),
            },
        };
        found.insert(name, known);
    }
    let complete = found.values().all(|known| matches!(known, Known::Served(served) if served.missing.is_empty()));
    let mut known = lock(&kinds.known);
    if *known != found {
        *known = found;
        kinds.changes.announce();
    }
    Ok(complete)
}

/// The resource in the version that the server prefers, or else in any.
fn resource_of(group: &ApiGroup, resource: &str) -> Option<(ApiResource, ApiCapabilities)> {
    let versions = std::iter::once(group.preferred_version_or_latest()).chain(group.versions());
    versions.flat_map(|version| group.versioned_resources(version)).find(|(served, _)| served.plural == resource)
}

fn served(resource: ApiResource, capabilities: &ApiCapabilities, missing: BTreeSet<Right>) -> Served {
    Served { resource, namespaced: capabilities.scope == Scope::Namespaced, missing }
}

fn is_missing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.is_not_found(),
        kube::Error::Discovery(
            DiscoveryError::MissingApiGroup(_)
            | DiscoveryError::EmptyApiGroup(_)
            | DiscoveryError::MissingKind(_)
            | DiscoveryError::MissingResource(_),
        ) => true,
        _ => false,
    }
}

/// The rights that the operator does not have.
async fn missing(name: &Name, rights: BTreeSet<Right>, context: &Context) -> kube::Result<BTreeSet<Right>> {
    let mut missing = BTreeSet::new();
    for right in rights {
        let questions: &[(&str, Option<&String>)] = match &right {
            Right::Watch => &[("get", None), ("list", None), ("watch", None)],
            Right::Write(subresource) => &[("patch", subresource.as_ref())],
        };
        for (verb, subresource) in questions {
            if !allowed(name, verb, *subresource, context).await? {
                missing.insert(right);
                break;
            }
        }
    }
    Ok(missing)
}

async fn allowed(name: &Name, verb: &str, subresource: Option<&String>, context: &Context) -> kube::Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(name.0.clone()),
                resource: Some(name.1.clone()),
                subresource: subresource.cloned(),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(context.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed && !status.denied.unwrap_or(false)))
}

/// What a process needs of each kind that it names, with the place where it names it.
fn wanted(spec: &ApprovalProcessSpec) -> Vec<(String, Name, BTreeSet<Right>)> {
    if let Some(pending) = &spec.event.pending {
        let others = named(pending).filter(|(_, group, resource)| Nature::of(group, resource) != Nature::Certificate);
        let wanted = others.map(|(position, group, resource)| {
            let writes = targets(pending, group, resource).into_iter().map(Right::Write);
            let place = format!("spec.event.pending.resources[{position}]");
            (place, (group.to_owned(), resource.to_owned()), writes.chain([Right::Watch]).collect())
        });
        return wanted.collect();
    }
    let collection = spec.event.collection.iter().map(|collection| {
        let name = (collection.resource.api_group.clone(), collection.resource.resource.clone());
        ("spec.event.collection.resource".to_owned(), name, BTreeSet::from([Right::Watch]))
    });
    collection.collect()
}

/// That a right is missing, and which chart value gives it.
fn forbidden((group, resource): &Name, right: &Right, rights: &BTreeSet<Right>) -> String {
    let subresources: Vec<_> = rights
        .iter()
        .filter_map(|right| match right {
            Right::Write(subresource) => subresource.as_deref(),
            Right::Watch => None,
        })
        .collect();
    let writes = rights.iter().any(|right| matches!(right, Right::Write(_)));
    let mut value = json!({"apiGroups": [group], "resources": [resource]});
    if !subresources.is_empty() {
        value["subresources"] = json!(subresources);
    }
    let chart = if writes { "pending.resources" } else { "collections.resources" };
    let what = match right {
        Right::Watch => format!("watch {resource} of API group \"{group}\""),
        Right::Write(None) => format!("write back to {resource} of API group \"{group}\""),
        Right::Write(Some(subresource)) => format!("write back to {resource}/{subresource} of API group \"{group}\""),
    };
    format!("the operator may not {what}; add {value} to the chart value {chart}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
