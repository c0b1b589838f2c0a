//! Gathers the facts that the engine goes by.

use super::live::Parsed;
use super::signals::{Unjudged, fact};
use super::{Error, Instances, rights};
use crate::api::{ApprovalProcess, ApprovalSignal, Decision, condition};
use crate::controllers::{Context, changes, evaluate};
use crate::directory::Snapshot;
use crate::engine::activity::Performed;
use crate::engine::graph::{Fault, Graph, check};
use crate::engine::revision::Content;
use crate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Signal, advance};
use crate::pending::{Nature, csr};
use crate::proof::Stamped;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Instant;

/// Everything that one computation goes by, owned.
pub struct Gathered {
    parsed: Parsed,
    definition: Found,
    newest: Option<Found>,
    signals: Vec<Signal>,
    recorded: Vec<Signal>,
    seen_until: i64,
    directory: Arc<Snapshot>,
    proof: Proof,
    object: Object,
    performed: Option<Performed>,
}

/// The definition of an instance.
#[derive(Clone)]
enum Found {
    Missing(String),
    Faulty { name: String, faults: Vec<Fault> },
    Usable { graph: Arc<Graph>, revision: String, content: Option<Box<Content>>, tells: bool },
}

impl Found {
    fn definition(&self) -> Definition<'_> {
        match self {
            Self::Missing(why) => Definition::Missing(why.clone()),
            Self::Faulty { name, faults } => Definition::Faulty { name, faults },
            Self::Usable { graph, revision, .. } => Definition::Usable { graph, revision },
        }
    }

    fn graph(&self) -> Option<&Graph> {
        match self {
            Self::Usable { graph, .. } => Some(graph),
            _ => None,
        }
    }
}

impl Gathered {
    /// What the engine makes of the facts. Expressions are evaluated off the async threads and within a limit of time.
    pub async fn plan(self: &Arc<Self>, context: &Arc<Context>) -> Result<Plan, Error> {
        let evaluates = |found: &Found| found.graph().is_some_and(|graph| graph.expressions().next().is_some());
        if !evaluates(&self.definition) && !self.newest.as_ref().is_some_and(evaluates) {
            return Ok(self.compute(context));
        }
        let (gathered, shared) = (self.clone(), context.clone());
        let failed = |why| Error::Evaluation { name: self.parsed.instance.name_any(), why };
        evaluate(move || gathered.compute(&shared)).await.map_err(failed)
    }

    fn compute(&self, context: &Context) -> Plan {
        let instance = &self.parsed.instance;
        let namespace = instance.namespace().unwrap_or_default();
        let (name, uid) = (instance.name_any(), instance.uid().unwrap_or_default());
        advance(&Facts {
            instance: Instance {
                namespace: &namespace,
                name: &name,
                uid: &uid,
                generation: instance.metadata.generation,
                created_at: instance.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second()),
                spec: &instance.spec,
            },
            status: &self.parsed.status,
            definition: self.definition.definition(),
            newest: self.newest.as_ref().map(Found::definition),
            signals: &self.signals,
            recorded: &self.recorded,
            seen_until: self.seen_until,
            directory: &self.directory,
            settings: &context.options.settings,
            proof: &self.proof,
            object: self.object.clone(),
            performed: self.performed.as_ref(),
            now: context.clock.now(),
        })
    }

    /// The snapshot that must be stored before an instance starts on this revision; none where it is stored.
    pub fn snapshot(&self, wanted: &str) -> Option<&Content> {
        [Some(&self.definition), self.newest.as_ref()].into_iter().flatten().find_map(|found| match found {
            Found::Usable { content, revision, .. } if revision == wanted => content.as_deref(),
            _ => None,
        })
    }

    /// The graph of a revision.
    pub fn graph_of(&self, wanted: &str) -> Option<&Graph> {
        self.usable(wanted).map(|(graph, _)| graph)
    }

    /// Whether anybody is told anything about an instance that runs on a revision.
    pub fn tells(&self, wanted: &str) -> bool {
        self.usable(wanted).is_some_and(|(_, tells)| tells)
    }

    /// A revision, and whether it tells anybody.
    fn usable(&self, wanted: &str) -> Option<(&Graph, bool)> {
        [Some(&self.definition), self.newest.as_ref()].into_iter().flatten().find_map(|found| match found {
            Found::Usable { graph, revision, tells, .. } if revision == wanted => Some((&**graph, *tells)),
            _ => None,
        })
    }

    /// Whether a started instance cannot go on because its snapshot is lost. Nobody tells when it is restored.
    pub fn waits_for_snapshot(&self) -> bool {
        let running = self.parsed.status.started_at.is_some() && self.parsed.status.outcome.is_none();
        running && matches!(self.definition, Found::Missing(_))
    }

    /// What came of an activity, as far as it was gathered.
    pub fn performed(&self) -> Option<&Performed> {
        self.performed.as_ref()
    }

    /// The instance.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }
}

/// Gathers the facts of an instance and of its unjudged signals; `seen_until` as [`Facts::seen_until`].
pub async fn gather(
    parsed: Parsed,
    signals: &[Unjudged],
    seen_until: i64,
    instances: &Instances,
) -> Result<Arc<Gathered>, Error> {
    let context = &instances.context;
    let started = parsed.status.started_at.is_some();
    // What was created before it was seen must have been created under the policies as they still are.
    let mut proof = context.prover.proof();
    if !started {
        proof = context.prover.confirm(Stamped::Instances, Instant::now()).await?;
    }
    if let Some(seen) = signals.iter().map(|signal| signal.seen).max() {
        proof = context.prover.confirm(Stamped::Signals, seen).await?;
    }
    let directory = context.directory.snapshot();
    let finished = parsed.status.outcome.is_some();
    let definition = match &parsed.status.revision {
        _ if finished => Found::Missing(String::new()),
        Some(revision) => running_on(revision, context).await?,
        None => to_start_on(&parsed, &directory, context)?,
    };
    let restarts = signals.iter().any(|unjudged| unjudged.signal.spec.decision == Decision::Restart);
    let newest = if restarts && !finished { Some(to_start_on(&parsed, &directory, context)?) } else { None };
    let object = if finished { Object::None } else { observe(&parsed, context).await? };
    let mut facts: Vec<Signal> = signals.iter().map(|unjudged| fact(&unjudged.signal)).collect();
    let mut recorded = Vec::new();
    if !finished {
        rights::ask(&mut facts, &parsed.instance, definition.graph(), context).await?;
        if definition.graph().is_some_and(Graph::reads_decisions) {
            recorded =
                signals_of(&parsed, context).await?.iter().filter(|signal| is_judged(signal)).map(fact).collect();
        }
    }
    let performed =
        instances.doings.came(&(parsed.instance.namespace().unwrap_or_default(), parsed.instance.name_any()));
    Ok(Arc::new(Gathered {
        performed,
        signals: facts,
        recorded,
        seen_until,
        parsed,
        definition,
        newest,
        directory,
        proof,
        object,
    }))
}

/// The signals of an instance as the API server has them now, not as a watch shows them.
pub async fn signals_of(parsed: &Parsed, context: &Context) -> Result<Vec<ApprovalSignal>, Error> {
    let namespace = parsed.instance.namespace().unwrap_or_default();
    let api: Api<ApprovalSignal> = Api::namespaced(context.client.clone(), &namespace);
    let name = parsed.instance.name_any();
    let these = ListParams::default().fields(&format!("spec.instance={name}"));
    Ok(api.list(&these).await.map_err(|source| Error::Api { name, source })?.items)
}

/// Whether a signal has its verdict.
pub fn is_judged(signal: &ApprovalSignal) -> bool {
    signal.status.as_ref().is_some_and(|status| status.reason.is_some())
}

/// The snapshot that a started instance runs on.
async fn running_on(revision: &str, context: &Context) -> Result<Found, Error> {
    use crate::controllers::revisions::Error as RevisionError;
    match context.revisions.load(revision).await {
        Ok(Some(found)) => Ok(match &found.graph {
            Ok(graph) => Found::Usable {
                tells: found.content.tells(graph),
                graph: graph.clone(),
                revision: revision.to_owned(),
                content: None,
            },
            Err(faults) => Found::Faulty { name: format!("ControllerRevision {revision}"), faults: faults.clone() },
        }),
        Ok(None) => Ok(Found::Missing(format!(
            "ControllerRevision {revision}, the snapshot that this runs on, is gone from {}; restore it from a backup",
            context.options.namespace
        ))),
        Err(RevisionError::Unusable(why)) => Ok(Found::Missing(why.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// The definition that an instance is to start on, as it is now.
fn to_start_on(parsed: &Parsed, directory: &Snapshot, context: &Context) -> Result<Found, Error> {
    let spec = &parsed.instance.spec;
    let process = match &spec.process_ref {
        None => None,
        Some(process) => match context.processes.get(&ObjectRef::<ApprovalProcess>::new(&process.name)) {
            Some(found) => Some((process.name.clone(), found.spec.clone())),
            None => {
                return Ok(Found::Missing(format!(
                    "ApprovalProcess {}, which opened this, does not exist any more",
                    process.name
                )));
            }
        },
    };
    let (name, workflow) = match (&spec.workflow_ref, &spec.workflow) {
        (Some(reference), _) => match context.definitions.get(&ObjectRef::new(&reference.name)) {
            Some(definition) => (reference.name.clone(), definition.spec.clone()),
            None => {
                let why = format!(
                    "spec.workflowRef: there is no WorkflowDefinition {} yet; this starts as soon as it exists",
                    reference.name
                );
                return Ok(Found::Missing(why));
            }
        },
        (None, Some(workflow)) => (String::new(), workflow.clone()),
        (None, None) => {
            return Ok(Found::Missing(
                "spec has neither workflowRef nor workflow; create it again with one".to_owned(),
            ));
        }
    };
    let shown = if name.is_empty() { "spec.workflow".to_owned() } else { format!("WorkflowDefinition {name}") };
    let snapshot = Content { workflow_name: name, workflow, process };
    match usable(&snapshot, directory) {
        Err(faults) => Ok(Found::Faulty { name: shown, faults }),
        Ok(graph) => {
            let revision = snapshot.name().map_err(crate::controllers::revisions::Error::from)?;
            let tells = snapshot.tells(&graph);
            Ok(Found::Usable { graph: Arc::new(graph), revision, content: Some(Box::new(snapshot)), tells })
        }
    }
}

fn usable(content: &Content, directory: &Snapshot) -> Result<Graph, Vec<Fault>> {
    let graph = content.compile()?;
    let faults = check(&graph, directory);
    if faults.is_empty() { Ok(graph) } else { Err(faults) }
}

/// What the object that waits looks like. The watch's word is enough as long as it waits; anything final is read again, and so
/// is what was just written.
async fn observe(parsed: &Parsed, context: &Context) -> Result<Object, Error> {
    if let Some(change) = &parsed.instance.spec.change_ref {
        let namespace = parsed.instance.namespace().unwrap_or_default();
        let seen = changes::operation_of(change, &namespace, context).await;
        return seen.map_err(|source| Error::Object { object: format!("ChangeRequest {}", change.name), source });
    }
    let Some(object) = &parsed.instance.spec.object else {
        return Ok(Object::None);
    };
    // Whatever enters or leaves a collection waits for nothing.
    let process = super::objects::process_of(parsed, context).await?;
    if process.is_some_and(|process| process.event.collection.is_some()) {
        return Ok(Object::None);
    }
    if Nature::of_object(object) != Nature::Certificate {
        return super::objects::observe(parsed, object, context).await;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let watched = context.requests.get(&ObjectRef::<CertificateSigningRequest>::new(name));
    let seen = csr::observe(&parsed.instance, watched.as_deref());
    let completed = condition(&parsed.status.conditions, "Completed");
    let writing_back = completed.is_some_and(|completed| completed.reason == "WritingBack");
    if seen == Object::Waiting && !writing_back {
        return Ok(seen);
    }
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let read = api
        .get_opt(name)
        .await
        .map_err(|source| Error::Object { object: format!("CertificateSigningRequest {name}"), source })?;
    Ok(csr::observe(&parsed.instance, read.as_ref()))
}
