//! Goes through what is seen of one collection: what enters or leaves is written down first, then its instance is opened, then that
//! it has been.

use super::ledger::{self, Ledger, shard_of};
use crate::api::{
    ApprovalProcess, CollectionEvent, InstancePer, NameRef, When, WorkflowInstance, WorkflowInstanceSpec,
};
use crate::cel::MAX_INPUT;
use crate::change::about::addresses_of;
use crate::collection::{Entry, Now, belongs, definition, gone, instance_name, opened, seen};
use crate::controllers::kinds::Served;
use crate::controllers::pending::{ATTEMPTS, provable};
use crate::controllers::{Context, backoff, evaluate, report};
use crate::engine::Note;
use crate::pending::object::{remembered, shown};
use crate::pending::{Asked, asked};
use crate::runtime::watch::prune;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::api::{DynamicObject, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many sightings are worked on at once: they share what is written down.
const BATCH: usize = 100;

/// Why collecting ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("{object}: {source}")]
    Api {
        /// The object.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The record could not be read or written.
    #[error(transparent)]
    Ledger(ledger::Error),
    /// The proof could not be checked.
    #[error(transparent)]
    Proof(#[from] crate::proof::Error),
    /// Every name for an instance is taken by something else.
    #[error("{0}: the names of its instance are taken by instances that are not its own; delete those")]
    NamesTaken(String),
    /// More belongs to the collection than can be remembered.
    #[error("{0}")]
    TooLarge(String),
}

/// Whether it is one object for which nothing can be opened: the API server refuses its instance, so that the others may go on.
fn is_about_one(error: &Error) -> bool {
    match error {
        Error::Api { source: kube::Error::Api(status), .. } => {
            (400..500).contains(&status.code) && !matches!(status.code, 401 | 429)
        }
        Error::NamesTaken(_) => true,
        _ => false,
    }
}

/// Collects for one process.
pub struct Collector {
    context: Arc<Context>,
    process: Arc<ApprovalProcess>,
    event: CollectionEvent,
    served: Served,
    ledger: Ledger,
    entries: BTreeMap<String, Entry>,
    /// Whether what is listed first triggers nothing.
    baseline: bool,
    /// How many entries are members.
    members: usize,
    /// How many members were listed that there is no room for.
    beyond: usize,
    dirty: BTreeSet<usize>,
    /// What is to be opened: by uid, with the object as far as it is known.
    opening: HashMap<String, Option<Value>>,
    /// What could not be opened, by uid: how often that failed, and when it is tried again.
    refused: HashMap<String, (u32, Instant)>,
    listing: bool,
    listed: HashSet<String>,
}

impl Collector {
    /// Reads the record.
    pub async fn open(context: Arc<Context>, process: Arc<ApprovalProcess>, served: Served) -> Result<Self, Error> {
        let event = process.spec.event.collection.clone().unwrap_or_default();
        let uid = process.uid().unwrap_or_default();
        let opened = Ledger::open(&context.client, &context.options.namespace, &uid).await;
        let (ledger, (known, entries)) = opened.map_err(Error::Ledger)?;
        Ok(Self {
            baseline: known.as_deref() != Some(&definition(&event)),
            members: entries.values().filter(|entry| entry.member).count(),
            beyond: 0,
            dirty: BTreeSet::new(),
            opening: HashMap::new(),
            refused: HashMap::new(),
            listing: false,
            listed: HashSet::new(),
            context,
            process,
            event,
            served,
            ledger,
            entries,
        })
    }

    /// Collects until something fails. `failures` is set to none once everything has been listed.
    pub async fn run(&mut self, failures: &mut u32) -> Result<(), Error> {
        self.finish().await?;
        let api = self.served.everywhere(&self.context.client);
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let events = events.map(|event| event.map(|event| event.modify(prune))).ready_chunks(BATCH);
        let mut events = std::pin::pin!(events);
        loop {
            let (due, idle) = (self.due(), Instant::now());
            let events = tokio::select! {
                events = events.next() => events,
                () = tokio::time::sleep_until(due.unwrap_or(idle)), if due.is_some() => Some(Vec::new()),
            };
            let Some(events) = events else { return Ok(()) };
            for event in events {
                match event {
                    Ok(watcher::Event::Init) => {
                        self.listed.clear();
                        self.beyond = 0;
                        self.listing = true;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        self.listed.insert(object.uid().unwrap_or_default());
                        self.sees(&object).await?;
                    }
                    Ok(watcher::Event::InitDone) => {
                        self.has_listed().await?;
                        *failures = 0;
                    }
                    Ok(watcher::Event::Apply(object)) => self.sees(&object).await?,
                    Ok(watcher::Event::Delete(object)) => {
                        self.loses(&object.uid().unwrap_or_default(), Some(&object)).await?;
                    }
                    Err(error) => tracing::warn!(%error, "a watch was interrupted, trying again"),
                }
            }
            if !self.baseline {
                self.settle().await?;
            }
        }
    }

    /// When something that could not be opened is tried again.
    fn due(&self) -> Option<Instant> {
        let due = self.refused.values().map(|(_, due)| *due).min();
        due.filter(|_| !self.baseline && !self.is_too_large())
    }

    /// Takes up what was begun before a crash.
    async fn finish(&mut self) -> Result<(), Error> {
        let begun = self.entries.iter().filter(|(_, entry)| entry.opening);
        let begun: Vec<_> = begun.map(|(uid, entry)| (uid.clone(), entry.clone())).collect();
        for (uid, entry) in begun {
            let api = self.served.within(entry.namespace.as_deref(), &self.context.client);
            let failed = |source| Error::Api { object: entry.name.clone(), source };
            let found = api.get_opt(&entry.name).await.map_err(failed)?;
            let found = found.filter(|found| found.uid().as_ref() == Some(&uid)).map(|found| json!(found));
            self.opening.insert(uid, found);
        }
        self.settle().await
    }

    /// Everything has been listed: whatever is on record and was not among it is gone.
    async fn has_listed(&mut self) -> Result<(), Error> {
        let missing: Vec<_> = self.entries.keys().filter(|uid| !self.listed.contains(*uid)).cloned().collect();
        for uid in missing {
            self.loses(&uid, None).await?;
        }
        self.listed = HashSet::new();
        self.listing = false;
        if self.is_too_large() {
            return Err(self.too_large());
        }
        if self.baseline {
            self.dirty = (0..ledger::SHARDS).collect();
            self.write().await?;
            self.ledger.listed(&definition(&self.event)).await.map_err(Error::Ledger)?;
            self.baseline = false;
            tracing::info!(process = self.process.name_any(), members = self.members, "a collection is known");
        }
        self.context.collections.tell(&self.process.uid().unwrap_or_default(), None);
        Ok(())
    }

    async fn sees(&mut self, object: &DynamicObject) -> Result<(), Error> {
        let uid = object.uid().unwrap_or_default();
        if self.opening.contains_key(&uid) {
            self.settle().await?;
        }
        let value = json!(object);
        let before = self.entries.get(&uid);
        let (was, asks) = (before.is_some_and(|before| before.member), self.event.when == When::Left);
        let (event, spec, copy) = (self.event.clone(), self.process.spec.clone(), value.clone());
        let evaluated = evaluate(move || {
            let member = belongs(&event, &copy)?;
            // Whom it is about is asked where something is opened, or may be when the object is gone.
            let wanted = if asks { member || was } else { member && !was };
            let input = json!({"object": copy, "request": null});
            Ok::<_, String>((member, wanted.then(|| asked(&spec, &input))))
        });
        let (member, told) = match evaluated.await.and_then(|told| told) {
            Ok(told) => told,
            Err(why) => {
                self.tell_held(object.object_ref(&self.served.resource), &why);
                return Ok(());
            }
        };
        let known = before.and_then(|before| before.asked.clone());
        let moves = member != was && member == (self.event.when == When::Entered) && !self.baseline;
        let asked = match told.transpose() {
            Ok(asked) => asked,
            Err(why) if moves && known.is_none() => {
                // Nobody could be named as the initiator: it stays as it is until that can be told.
                self.tell_held(object.object_ref(&self.served.resource), &why);
                return Ok(());
            }
            Err(_) => known,
        };
        let owners = object.owner_references().iter();
        let now = Now {
            name: object.name_any(),
            namespace: object.namespace(),
            owned: owners.into_iter().any(|owner| owner.controller == Some(true)),
            member,
            asked,
        };
        let mut entry = seen(before, &now, self.event.when);
        if self.baseline {
            // What belongs to it at first triggers nothing.
            let count = before.map_or(0, |before| before.count);
            entry = entry.map(|entry| Entry { count, opening: false, asked: entry.asked.filter(|_| asks), ..entry });
            entry = entry.filter(|entry| entry.member || entry.count > 0);
        }
        if member && !was && self.members >= self.limit() {
            self.beyond += 1;
            // A listing goes on, for the number alone.
            return if self.listing { Ok(()) } else { Err(self.too_large()) };
        }
        self.remember(&uid, entry, Some(value));
        Ok(())
    }

    async fn loses(&mut self, uid: &str, object: Option<&DynamicObject>) -> Result<(), Error> {
        if self.opening.contains_key(uid) {
            self.settle().await?;
        }
        let Some(before) = self.entries.get(uid).cloned() else { return Ok(()) };
        let triggers = before.member
            && self.event.when == When::Left
            && !self.baseline
            && (self.event.automated || !self.is_automated(&before).await?);
        let mut entry = gone(&before, self.event.when, triggers);
        if let Some(begun) = &entry
            && begun.asked.is_none()
        {
            tracing::warn!(object = begun.name, "it left, and who is to be asked about it cannot be told any more");
            entry = None;
        }
        self.remember(uid, entry, object.map(|object| json!(object)));
        Ok(())
    }

    /// Whether the removal of an object is nobody's wish: a controller owns it, or its namespace goes.
    async fn is_automated(&self, entry: &Entry) -> Result<bool, Error> {
        let Some(namespace) = entry.namespace.as_ref().filter(|_| !entry.owned) else { return Ok(entry.owned) };
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        let failed = |source| Error::Api { object: format!("Namespace {namespace}"), source };
        let found = api.get_metadata_opt(namespace).await.map_err(failed)?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }

    fn remember(&mut self, uid: &str, entry: Option<Entry>, object: Option<Value>) {
        if self.entries.get(uid) == entry.as_ref() {
            return;
        }
        if entry.as_ref().is_some_and(|entry| entry.opening) {
            self.opening.insert(uid.to_owned(), object);
        }
        self.members += usize::from(entry.as_ref().is_some_and(|entry| entry.member));
        let before = match entry {
            Some(entry) => self.entries.insert(uid.to_owned(), entry),
            None => self.entries.remove(uid),
        };
        self.members -= usize::from(before.is_some_and(|before| before.member));
        self.dirty.insert(shard_of(uid));
    }

    async fn write(&mut self) -> Result<(), Error> {
        let dirty = std::mem::take(&mut self.dirty);
        match self.ledger.write(&dirty, &self.entries).await {
            Err(ledger::Error::Full(_)) => Err(self.too_large()),
            written => written.map_err(Error::Ledger),
        }
    }

    /// Writes down what was seen, opens what it comes to, and writes down that this was done.
    async fn settle(&mut self) -> Result<(), Error> {
        if self.is_too_large() {
            return Ok(());
        }
        self.write().await?;
        let now = Instant::now();
        let waits = |uid: &str| self.refused.get(uid).is_some_and(|(_, due)| *due > now);
        let (later, begun): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.opening).into_iter().partition(|(uid, _)| waits(uid));
        self.opening = later;
        while !begun.is_empty() && !provable(&self.context).await? {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        for (uid, object) in begun {
            let Some(entry) = self.entries.get(&uid).cloned() else {
                self.refused.remove(&uid);
                continue;
            };
            if let Some(asked) = &entry.asked {
                match self.opens(&uid, &entry, asked, object.as_ref()).await {
                    // It alone waits: the others are no matter of it.
                    Err(error) if is_about_one(&error) => {
                        self.puts_off(uid, &entry, object, &error);
                        continue;
                    }
                    opened => opened?,
                }
            }
            self.refused.remove(&uid);
            self.remember(&uid, opened(&entry, self.event.when), None);
        }
        self.write().await
    }

    /// Remembers to try again, and says so: in an Event the first time, in the log each time.
    fn puts_off(&mut self, uid: String, entry: &Entry, object: Option<Value>, error: &Error) {
        report("collections", &self.context.metrics, error);
        let failures = self.refused.get(&uid).map_or(1, |(failures, _)| failures + 1);
        if failures == 1 {
            let resource = &self.served.resource;
            let target = ObjectReference {
                api_version: Some(resource.api_version.clone()),
                kind: Some(resource.kind.clone()),
                name: Some(entry.name.clone()),
                namespace: entry.namespace.clone(),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            };
            self.tell_held(target, &format!("{error}; it is tried again"));
        }
        self.refused.insert(uid.clone(), (failures, Instant::now() + backoff(failures)));
        self.opening.insert(uid, object);
    }

    /// Opens the instance of an object, or those of its subjects, unless they are there.
    async fn opens(&self, uid: &str, entry: &Entry, asked: &Asked, object: Option<&Value>) -> Result<(), Error> {
        let subjects = asked.about.subjects.clone().unwrap_or_default();
        if self.process.spec.instance_per == InstancePer::Subject {
            for subject in subjects.into_iter().collect::<BTreeSet<_>>() {
                self.opens_one(uid, entry, asked, vec![subject.clone()], Some(&subject), object).await?;
            }
            return Ok(());
        }
        self.opens_one(uid, entry, asked, subjects, None, object).await
    }

    async fn opens_one(
        &self,
        uid: &str,
        entry: &Entry,
        asked: &Asked,
        subjects: Vec<String>,
        subject: Option<&str>,
        object: Option<&Value>,
    ) -> Result<(), Error> {
        let context = &self.context;
        let process_uid = self.process.uid().unwrap_or_default();
        let own = &context.options.namespace;
        let mut namespace = entry.namespace.clone().unwrap_or_else(|| own.clone());
        let mut attempt = 0;
        while attempt < ATTEMPTS {
            let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &namespace);
            let name = instance_name(&process_uid, uid, entry, subject, attempt);
            let instance = self.instance(&name, uid, entry, asked, subjects.clone(), object);
            let failed = |source| Error::Api { object: format!("WorkflowInstance {name}"), source };
            match api.create(&PostParams::default(), &instance).await {
                Ok(_) => {
                    context.metrics.wrote("instance");
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let existing = api.get_opt(&name).await.map_err(failed)?;
                    let is_own = existing.is_none_or(|existing| {
                        let object = existing.spec.object.as_ref();
                        let same = object.and_then(|object| object["metadata"]["uid"].as_str()) == Some(uid);
                        same && existing.spec.process_ref == instance.spec.process_ref
                    });
                    if is_own {
                        return Ok(());
                    }
                    attempt += 1;
                }
                // Its namespace is going or gone: what is to be decided is decided in the operator's.
                Err(kube::Error::Api(status))
                    if namespace != *own && (status.is_not_found() || status.message.contains("being terminated")) =>
                {
                    namespace.clone_from(own);
                }
                Err(source) => return Err(failed(source)),
            }
        }
        Err(Error::NamesTaken(entry.name.clone()))
    }

    fn instance(
        &self,
        name: &str,
        uid: &str,
        entry: &Entry,
        asked: &Asked,
        subjects: Vec<String>,
        object: Option<&Value>,
    ) -> WorkflowInstance {
        let resource = &self.served.resource;
        let metadata = json!({"name": entry.name, "namespace": entry.namespace, "uid": uid});
        let bare = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata});
        let object = object.map(remembered).filter(|object| object.to_string().len() <= MAX_INPUT).unwrap_or(bare);
        let spec = &self.process.spec;
        let moved = if self.event.when == When::Entered { "entered" } else { "left" };
        let collection = spec.display_name.clone().unwrap_or_else(|| self.process.name_any());
        let title = format!("{} {moved}: {collection}", shown(&object));
        let about = &asked.about;
        let all = about.subjects.as_deref().unwrap_or_default();
        let own = subjects.first().filter(|_| spec.instance_per == InstancePer::Subject);
        let addresses = addresses_of(all, &about.subject_emails, own);
        let spec = WorkflowInstanceSpec {
            workflow_ref: spec.workflow_ref.clone(),
            title: Some(title.chars().take(512).collect()),
            initiator: Some(asked.initiator.clone()),
            subjects: subjects.into_iter().take(256).collect(),
            subject_emails: addresses,
            role: asked.about.role.clone(),
            superior_role: asked.about.superior_role.clone(),
            sub_role: asked.about.sub_role.clone(),
            exclude_approvers: asked.about.exclude_approvers.clone(),
            process_ref: Some(NameRef { name: self.process.name_any() }),
            object: Some(object),
            ..WorkflowInstanceSpec::default()
        };
        WorkflowInstance::new(name, spec)
    }

    /// Says in an event why nothing is opened for an object.
    fn tell_held(&self, target: ObjectReference, why: &str) {
        let message = format!("held by ApprovalProcess {}: {why}", self.process.name_any());
        tracing::info!(object = target.name, message, "held");
        self.context.events.post(target, Note { warning: true, reason: "Held", message });
    }

    fn limit(&self) -> usize {
        self.context.options.collection_limit
    }

    fn is_too_large(&self) -> bool {
        self.members + self.beyond > self.limit()
    }

    fn too_large(&self) -> Error {
        let (members, limit) = (self.members + self.beyond, self.limit());
        Error::TooLarge(format!(
            "spec.event.collection: {members} objects belong to it, and at most {limit} can be remembered; narrow selector or expression, or raise the chart value collections.limit"
        ))
    }
}
