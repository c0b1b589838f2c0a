//! `Ready` of what people write: definitions, processes, identities, roles and calendars. What is wrong is found by pure functions; this
//! writes it into the status, and only when it says something new.

use super::notifications::delivering;
use super::{BURST, Context, backoff, drive};
use crate::api::{
    ApprovalProcess, ApprovalProcessSpec, BusinessCalendar, BusinessRole, ExecutionMode, Identity, NotificationTopic,
    Says, WorkflowDefinition, set_condition,
};
use crate::calendar::Calendar;
use crate::change::{Candidate, select};
use crate::diagram::{self, Drawing};
use crate::engine::activity::Home;
use crate::engine::graph::{
    Fault, Graph, To, check, check_notifications, compile, compile_notifications, supplied, warnings,
};
use crate::engine::revision::Content;
use crate::engine::source::{Need, RoleOf};
use crate::gate::configuration;
use crate::notify::topics::{self, Topics};
use crate::{collection, pending};
use futures::Stream;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::core::ClusterResourceScope;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::Store;
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A kind whose controller says whether it is usable.
trait Checked:
    Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Serialize + Debug + PartialStatus
{
    /// What is wrong with it, each with its place; empty when it can be used.
    fn faults(&self, context: &Context) -> Vec<String>;

    /// What works and may not be meant; told with `Ready`.
    fn remarks(&self, _: &Context) -> Vec<String> {
        Vec::new()
    }

    /// Whatever else the status says.
    fn describe(&mut self, _: &Context) {}
}

/// The status, as far as all kinds have it.
trait PartialStatus {
    fn conditions(&mut self) -> &mut Vec<Condition>;
    fn same_status(&self, other: &Self) -> bool;
}

macro_rules! partial_status {
    ($($kind:ty),*) => { $(impl PartialStatus for $kind {
        fn conditions(&mut self) -> &mut Vec<Condition> {
            &mut self.status.get_or_insert_default().conditions
        }

        fn same_status(&self, other: &Self) -> bool {
            self.status == other.status
        }
    })* };
}

partial_status!(WorkflowDefinition, ApprovalProcess, Identity, BusinessRole, BusinessCalendar, NotificationTopic);

impl Checked for WorkflowDefinition {
    fn faults(&self, context: &Context) -> Vec<String> {
        compiled(self, context).1
    }

    fn describe(&mut self, context: &Context) {
        let (name, generation) = (self.name_any(), self.metadata.generation);
        let snapshot = Content { workflow_name: name.clone(), workflow: self.spec.clone(), process: None };
        let status = self.status.get_or_insert_default();
        status.revision = snapshot.name().ok();
        let running = context.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = running.as_ref() {
            status.instances = Some(counts.get(&name).copied().unwrap_or_default());
        }
        let graph = compile(&self.spec).ok();
        status.warnings = graph.as_ref().map(warnings).unwrap_or_default();
        let topics = context.notifications.topics();
        let named = graph.iter().flat_map(Graph::topics);
        status
            .warnings
            .extend(named.filter_map(|(place, topic)| unsuitable_topic(&place, &topic, topics::OF_REQUESTS, &topics)));
        let recipients = graph.iter().flat_map(Graph::recipients);
        status.warnings.extend(recipients.flat_map(|(place, to, _)| unknown_channels(&place, to, context)));
        let tells = graph.as_ref().is_some_and(Graph::tells);
        // The mails of instances are told on the instances.
        match delivering::of(&context.notifications.health(), |_| false) {
            Some(delivering) if tells => {
                set_condition(&mut status.conditions, delivering.says(), generation, context.clock.now());
            }
            _ if !tells => status.conditions.retain(|condition| condition.type_ != "Delivering"),
            _ => {}
        }
        status.diagram = graph.map(|graph| diagram::mermaid(&Drawing::of(&graph, None)));
    }
}

impl Checked for ApprovalProcess {
    fn faults(&self, context: &Context) -> Vec<String> {
        let mut faults = process_faults(self, context);
        faults.extend(context.collections.fault(self));
        // Ready is what is held back: the API server has the rules, provably.
        if faults.is_empty() {
            faults.extend(context.gate.waits(self));
        }
        faults
    }

    fn remarks(&self, context: &Context) -> Vec<String> {
        let workflow = self.spec.workflow_ref.as_ref();
        let found = workflow
            .and_then(|workflow| context.definitions.get(&kube::runtime::reflector::ObjectRef::new(&workflow.name)));
        let graph = found.and_then(|definition| compile(&definition.spec).ok());
        let mut remarks: Vec<String> =
            graph.and_then(|graph| pending::outlives_requests(&self.spec, &graph)).into_iter().collect();
        let tellings = compile_notifications(&self.spec.notifications).unwrap_or_default();
        remarks.extend(tellings.iter().enumerate().flat_map(|(position, telling)| {
            unknown_channels(&format!("spec.notifications[{position}]"), &telling.to, context)
        }));
        remarks
    }
}

impl Checked for BusinessCalendar {
    fn faults(&self, _: &Context) -> Vec<String> {
        Calendar::compile(&self.spec).err().unwrap_or_default()
    }
}

impl Checked for NotificationTopic {
    fn faults(&self, context: &Context) -> Vec<String> {
        let mut faults = topics::faults(&self.name_any(), &self.spec);
        if faults.is_empty() {
            // Some faults show only when a message is written.
            faults.extend(context.notifications.fault_of(self));
        }
        faults
    }

    fn describe(&mut self, context: &Context) {
        let (name, generation) = (self.name_any(), self.metadata.generation);
        if let Some(delivering) = delivering::of(&context.notifications.health(), |aside| aside.topic == name) {
            set_condition(self.conditions(), delivering.says(), generation, context.clock.now());
        }
    }
}

impl Checked for Identity {
    fn faults(&self, context: &Context) -> Vec<String> {
        context.directory.snapshot().identity_faults(&self.name_any())
    }
}

impl Checked for BusinessRole {
    fn faults(&self, context: &Context) -> Vec<String> {
        context.directory.snapshot().role_faults(&self.name_any())
    }
}

/// A definition compiled, if it can be, and what is wrong with it in this directory.
fn compiled(definition: &WorkflowDefinition, context: &Context) -> (Option<Graph>, Vec<String>) {
    let (graph, faults) = match compile(&definition.spec) {
        Ok(graph) => {
            let mut faults = check(&graph, &context.directory.snapshot());
            faults.extend(out_of_place(&graph, context));
            (Some(graph), faults)
        }
        Err(faults) => (None, faults),
    };
    (graph, faults.iter().map(ToString::to_string).collect())
}

/// That a topic is named there and is none, or does not suit what it is sent for, which is what these built-in topics are sent for.
/// No fault: whoever is told of something is told of it all the same.
pub(crate) fn unsuitable_topic(place: &str, topic: &str, sent_for: &[&str], topics: &Topics) -> Option<String> {
    if !topics.is_known(topic) {
        return Some(format!(
            "{place}: there is no NotificationTopic {topic}, and none is built in; a built-in text is sent"
        ));
    }
    topics.unsuited(topic, sent_for).map(|why| format!("{place}: {why}"))
}

/// Channels that are named there and that this installation does not have. No fault: who must agree does not depend on who hears
/// of it.
fn unknown_channels(place: &str, to: &[To], context: &Context) -> Vec<String> {
    let channels = &context.options.notifications.channels;
    let known: Vec<&str> = channels.names().collect();
    let listed = to.iter().enumerate().filter_map(|(position, to)| match to {
        To::Channel(name) if !known.contains(&name.as_str()) => Some(format!(
            "{place}.to[{position}].channel: there is no channel {name}; add it to the chart value notifications.channels (known: {})",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )),
        _ => None,
    });
    listed.collect()
}

/// What is wrong with the actions of a definition in this installation.
fn out_of_place(graph: &Graph, context: &Context) -> Vec<Fault> {
    let options = &context.options;
    let home = Home { namespace: &options.namespace, username: &options.operator_username };
    let endpoints = options.endpoints.names();
    let found = graph.actions().filter_map(|(name, act)| {
        let (field, message) = act.work.misfits(home, &endpoints)?;
        Some(Fault { place: format!("spec.nodes[{name}].action{field}"), message })
    });
    found.collect()
}

/// A process by name, and what is wrong with it.
pub(crate) type Known = (String, Arc<ApprovalProcess>, Vec<String>);

/// Processes, each with what is wrong with it now.
pub(crate) fn known(processes: impl IntoIterator<Item = Arc<ApprovalProcess>>, context: &Context) -> Vec<Known> {
    let known = |process: Arc<ApprovalProcess>| {
        let faults = process_faults(&process, context);
        (process.name_any(), process, faults)
    };
    processes.into_iter().map(known).collect()
}

/// The same, as one chooses among them.
pub(crate) fn candidates(known: &[Known]) -> Vec<Candidate<'_>> {
    let candidates = known.iter().map(|(name, process, faults)| Candidate {
        name,
        spec: &process.spec,
        not_ready: (!faults.is_empty()).then(|| faults.join("; ")),
    });
    candidates.collect()
}

/// What is wrong with a process, and with the workflow that it names.
pub(crate) fn process_faults(process: &ApprovalProcess, context: &Context) -> Vec<String> {
    let mut faults = pending::faults(&process.spec);
    let told = match compile_notifications(&process.spec.notifications) {
        Ok(tellings) => check_notifications(&tellings, &context.directory.snapshot()),
        Err(faults) => faults,
    };
    faults.extend(told.iter().map(ToString::to_string));
    faults.extend(collection::faults(&process.spec));
    if let Some(gate) = &process.spec.event.gate {
        faults.extend(configuration::faults(gate));
        faults.extend(select::faults(&process.spec));
        faults.extend(context.gate.faults(process));
    }
    let execution = process.spec.execution.as_ref().and_then(|execution| execution.mode);
    if execution == Some(ExecutionMode::Automatic) && !context.options.automatic {
        faults.push(
            "spec.execution.mode: the operator may not carry changes out; set the chart value execution.automatic.enabled, or write OnRetry"
                .to_owned(),
        );
    }
    faults.extend(context.kinds.faults(&process.spec));
    if let Some(workflow) = &process.spec.workflow_ref {
        let found = context.definitions.get(&kube::runtime::reflector::ObjectRef::new(&workflow.name));
        match found {
            None => faults.push(format!(
                "spec.workflowRef: there is no WorkflowDefinition {}; create it or name another one",
                workflow.name
            )),
            Some(definition) => {
                let (graph, inside) = compiled(&definition, context);
                faults.extend(graph.iter().flat_map(|graph| unsupplied(&process.spec, &workflow.name, graph)));
                if !inside.is_empty() {
                    let inside = inside.join("; ");
                    faults
                        .push(format!("spec.workflowRef: WorkflowDefinition {} is not ready: {inside}", workflow.name));
                }
            }
        }
    }
    faults
}

/// What the workflow asks for and the process does not supply: found here, and not when somebody waits for it.
fn unsupplied(process: &ApprovalProcessSpec, workflow: &str, graph: &Graph) -> Vec<String> {
    let supplies = |need: Need| match need {
        Need::Role(RoleOf::Request) => process.role.is_some(),
        Need::Role(RoleOf::Superior) => process.superior_role.is_some(),
        Need::Role(RoleOf::Sub) => process.sub_role.is_some(),
        // A certificate request is about whoever it names; a change is about whoever its process says.
        Need::Subjects | Need::Subject => process.subjects.is_some() || process.event.gate.is_none(),
        Need::Process => true,
    };
    let missing = supplied(graph, supplies).into_iter();
    missing
        .map(|(need, place)| {
            let field = need.field();
            format!(
                "spec.{field}: is missing, and WorkflowDefinition {workflow} needs {} ({place}); write a CEL expression that yields its name",
                need.words()
            )
        })
        .collect()
}

/// Runs the controller of definitions.
pub async fn definitions(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<WorkflowDefinition>> + Send + 'static,
    stop: &CancellationToken,
) {
    let counted = context.running_changes.bursts(Duration::ZERO);
    let triggers = futures::stream::select(context.directory.changes.bursts(BURST), counted);
    let notifications = &context.notifications;
    let told = notifications.topic_changes.bursts(BURST);
    let told = futures::stream::select(told, notifications.health_changes.bursts(Duration::ZERO));
    let triggers = futures::stream::select(triggers, told);
    keep("WorkflowDefinition", context.definitions.clone(), stream, triggers, context, stop).await;
}

/// Runs the controller of processes.
pub async fn processes(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<ApprovalProcess>> + Send + 'static,
    stop: &CancellationToken,
) {
    let triggers =
        futures::stream::select(context.definition_changes.bursts(BURST), context.directory.changes.bursts(BURST));
    let kinds = context.kinds.changes.bursts(Duration::from_millis(20));
    let kinds = futures::stream::select(kinds, context.collections.changes.bursts(Duration::ZERO));
    let triggers = futures::stream::select(triggers, kinds);
    let triggers = futures::stream::select(triggers, context.gate.changes.bursts(Duration::ZERO));
    keep("ApprovalProcess", context.processes.clone(), stream, triggers, context, stop).await;
}

/// Runs the controller of identities.
pub async fn identities(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<Identity>> + Send + 'static,
    stop: &CancellationToken,
) {
    let triggers = context.directory.changes.bursts(BURST);
    keep("Identity", context.directory.identities.clone(), stream, triggers, context, stop).await;
}

/// Runs the controller of calendars.
pub async fn calendars(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<BusinessCalendar>> + Send + 'static,
    stop: &CancellationToken,
) {
    let triggers = futures::stream::pending();
    keep("BusinessCalendar", context.directory.calendars.clone(), stream, triggers, context, stop).await;
}

/// Runs the controller of topics.
pub async fn topics(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<NotificationTopic>> + Send + 'static,
    stop: &CancellationToken,
) {
    let notifications = &context.notifications;
    let broken = notifications.fault_changes.bursts(BURST);
    let triggers = futures::stream::select(broken, notifications.health_changes.bursts(Duration::ZERO));
    keep("NotificationTopic", notifications.topic_objects.clone(), stream, triggers, context.clone(), stop).await;
}

/// Runs the controller of roles.
pub async fn roles(
    context: Arc<Context>,
    stream: impl Stream<Item = watcher::Result<BusinessRole>> + Send + 'static,
    stop: &CancellationToken,
) {
    let triggers = context.directory.changes.bursts(BURST);
    keep("BusinessRole", context.directory.roles.clone(), stream, triggers, context, stop).await;
}

async fn keep<K: Checked + Send + Sync + 'static>(
    name: &'static str,
    store: Store<K>,
    stream: impl Stream<Item = watcher::Result<K>> + Send + 'static,
    triggers: impl Stream<Item = ()> + Send + 'static,
    context: Arc<Context>,
    stop: &CancellationToken,
) {
    let metrics = context.metrics.clone();
    let results = Controller::for_stream(stream, store)
        .with_config(Config::default().concurrency(4))
        .reconcile_all_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile::<K>, |_, _, _| Action::requeue(backoff(3)), context);
    drive(name, metrics, results).await;
}

async fn reconcile<K: Checked>(object: Arc<K>, context: Arc<Context>) -> Result<Action, kube::Error> {
    context.synced.wait().await;
    context.kinds.looked.wait().await;
    let faults = object.faults(&context);
    let mut fresh = (*object).clone();
    let remarks = object.remarks(&context);
    say_ready(fresh.conditions(), &faults, remarks, object.meta().generation, context.clock.now());
    fresh.describe(&context);
    if fresh.same_status(&object) {
        return Ok(Action::await_change());
    }
    write_status(&fresh, "ready", &context).await?;
    Ok(Action::await_change())
}

/// Says `Ready`: what is wrong, or else that it can be used, with what may not be meant.
pub(crate) fn say_ready(
    conditions: &mut Vec<Condition>,
    faults: &[String],
    remarks: impl IntoIterator<Item = String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let said = faults.join("; ");
    let remarks = remarks.into_iter().map(|remark| format!("; warning: {remark}"));
    let usable = format!("it can be used{}", remarks.collect::<String>());
    let says = if faults.is_empty() {
        Says { type_: "Ready", status: "True", reason: "Valid", message: &usable }
    } else {
        Says { type_: "Ready", status: "False", reason: "Invalid", message: &said }
    };
    set_condition(conditions, says, generation, now);
}

/// Writes the status of an object that people write; `what` is what the metric counts.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(crate) async fn write_status<K>(fresh: &K, what: &str, context: &Context) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
{
    let api: Api<K> = Api::all(context.client.clone());
    match api.replace_status(&fresh.name_any(), &PostParams::default(), fresh).await {
        Ok(_) => context.metrics.wrote(what),
        // It was changed or deleted meanwhile: its next event brings us back.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
