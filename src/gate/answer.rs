//! Answers one question of the API server: gathers what is known, lets it be judged, and writes what follows before it answers.
//!
//! The order of writing is what keeps it safe: nothing passes before the claim of its grant, or the record of its bypass, is
//! written. A claim carries the resourceVersion of what was judged; who is late reads again and judges again.

use super::configuration::{EXEMPT, PROBE};
use super::judge::{CHANGE, Facts, Judgement, OBJECT_LABEL, drifted, judge, name, object_label, valid_for};
use super::review::{Answer, Question};
use super::{message, written};
use crate::api::{Actor, ApprovalProcess, ChangeRequest, Execution, Held, WorkflowInstance, WorkflowInstanceStatus};
use crate::change::cover::covers;
use crate::change::select::{gates, left};
use crate::change::{Attempt, Candidate, Carrier, Kept, Selection, carrier, held, payload, select};
use crate::controllers::readiness::{candidates, known};
use crate::controllers::{Context, access, evaluate};
use crate::engine::graph::compile;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How often a claim is judged again that somebody else was faster with.
pub(super) const ATTEMPTS: usize = 5;

/// What an answer is counted as.
pub type Counted = (&'static str, Answer);

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The API server did not answer, or refused.
    #[error("the gate could not look up {what}: {source}; try again")]
    Api {
        /// What was asked.
        what: &'static str,
        /// Why.
        source: kube::Error,
    },
    /// The expressions took too long.
    #[error("the conditions of the processes {0}")]
    Evaluation(String),
    /// Others were faster every time.
    #[error("too many of the same request at the same time; try again")]
    Busy,
    /// It has just been started.
    #[error("the gate has just been started; try again")]
    Starting,
}

fn api(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Api { what, source }
}

/// Answers a question. Whatever goes wrong refuses.
pub async fn answer(context: &Arc<Context>, question: Question) -> Counted {
    if is_probe(&question, context) {
        return ("probe", Answer::Refuse(question.name));
    }
    let operator = &context.options.operator_username;
    let namespace = question.namespace.as_str();
    let exempt =
        question.resource.resource != "namespaces" && [EXEMPT, &context.options.namespace].contains(&namespace);
    if question.user_info.username == *operator || exempt {
        return ("exempt", Answer::Allow(Vec::new()));
    }
    context.synced.wait().await;
    match judged(context, question).await {
        Ok(counted) => counted,
        Err(error) => {
            tracing::warn!(%error, "the gate refuses");
            ("error", Answer::Refuse(error.to_string()))
        }
    }
}

/// Whether the operator itself asks, to see whether the API server has the configuration.
fn is_probe(question: &Question, context: &Context) -> bool {
    question.resource.resource == "configmaps"
        && question.resource.group.is_empty()
        && question.namespace == context.options.namespace
        && question.name.starts_with(PROBE)
}

/// What a question came to, beside its answer.
struct Asked {
    held: Held,
    object: Option<Value>,
    execution: Execution,
    carrier: Carrier,
    processes: Vec<String>,
    bypass: Vec<bool>,
    /// The workflow that is asked first.
    workflow: String,
    /// The name that the server made up.
    generated: String,
}

async fn judged(context: &Arc<Context>, question: Question) -> Result<Counted, Error> {
    let processes: Vec<Arc<ApprovalProcess>> =
        context.processes.state().into_iter().filter(|process| process.spec.event.gate.is_some()).collect();
    let labels = namespace_labels(context, &question, &processes).await?;
    let (user, dry_run) = (question.actor(), question.is_dry_run());
    let question = Arc::new(question);
    let allow = |what| Ok((what, Answer::Allow(Vec::new())));

    if let Some(refused) = leaving(context, &question, &user, &labels, &processes).await? {
        return Ok(("left", Answer::Refuse(refused)));
    }
    let key = context.gate.key().ok_or(Error::Starting)?;
    let looked = {
        let (question, user, context) = (question.clone(), user.clone(), context.clone());
        evaluate(move || {
            let attempt = question.attempt(&user, &labels)?;
            Some(look(&attempt, &processes, &context, &key))
        })
    };
    let Some((selection, asked)) = looked.await.map_err(Error::Evaluation)? else { return allow("other") };
    let Some(mut asked) = asked else {
        return match selection {
            Selection::Hold { process, why } => {
                let told = format!("held by approvalprocess/{process}, which cannot ask anybody now: {why}");
                Ok(if dry_run { ("dry-run", Answer::Allow(vec![told])) } else { ("hold", Answer::Refuse(told)) })
            }
            Selection::Skip(_) => allow("skip"),
            Selection::Nobody | Selection::Ask(_) => allow("nobody"),
        };
    };
    asked.generated = question.generated_name.clone().unwrap_or_default();
    if asked.held.bypass_reason.is_some() {
        for (process, permitted) in asked.processes.iter().zip(&asked.bypass) {
            if !permitted || !may_bypass(context, &user, process).await? {
                return Ok((
                    "bypass-refused",
                    Answer::Refuse(format!(
                        "{} may not pass without approval: that needs the verb bypass on approvalprocess/{process}, which must have bypass.permission; take the annotation {} away to ask for approval",
                        user.username,
                        payload::BYPASS_REASON
                    )),
                ));
            }
        }
    }
    settle(context, &user, &asked, dry_run).await
}

/// The labels of the namespace, where a process asks for them.
async fn namespace_labels(
    context: &Context,
    question: &Question,
    processes: &[Arc<ApprovalProcess>],
) -> Result<BTreeMap<String, String>, Error> {
    let asked = processes.iter().filter_map(|process| process.spec.event.gate.as_ref()?.namespaces.as_ref());
    if question.namespace.is_empty() || !asked.into_iter().any(|namespaces| namespaces.names.is_empty()) {
        return Ok(BTreeMap::new());
    }
    let api_of: Api<Namespace> = Api::all(context.client.clone());
    let namespace = api_of.get_metadata_opt(&question.namespace).await.map_err(api("the namespace"))?;
    Ok(namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default())
}

/// Why a namespace may not leave the gate of a process.
async fn leaving(
    context: &Context,
    question: &Question,
    user: &Actor,
    labels: &BTreeMap<String, String>,
    processes: &[Arc<ApprovalProcess>],
) -> Result<Option<String>, Error> {
    let Some(attempt) = question.attempt(user, labels) else { return Ok(None) };
    let names: Vec<String> = processes.iter().map(|process| process.name_any()).collect();
    let candidates: Vec<_> = names
        .iter()
        .zip(processes)
        .map(|(name, process)| Candidate { name, spec: &process.spec, not_ready: None })
        .collect();
    for process in left(&candidates, &attempt) {
        if !may_bypass(context, user, process).await? {
            return Ok(Some(format!(
                "namespace {} would leave the gate of approvalprocess/{process}: only who holds the verb bypass on it may change the labels that decide it",
                question.name
            )));
        }
    }
    Ok(None)
}

/// Which processes an attempt matches, and what is asked of them. Evaluates expressions: off the async threads.
fn look(
    attempt: &Attempt<'_>,
    processes: &[Arc<ApprovalProcess>],
    context: &Context,
    key: &[u8],
) -> (Selection, Option<Asked>) {
    let covering =
        processes.iter().filter(|process| process.spec.event.gate.as_ref().is_some_and(|gate| covers(gate, attempt)));
    let known = known(covering.cloned(), context);
    let candidates = candidates(&known);
    let selection = select(&candidates, attempt);
    let Selection::Ask(planned) = &selection else { return (selection, None) };
    let (mut held, object) = held(attempt, &gates(&candidates, planned), planned.clone(), key);
    held.bypass_reason = payload::bypass_reason(attempt);
    let specs: Vec<_> = planned
        .iter()
        .filter_map(|planned| candidates.iter().find(|candidate| candidate.name == planned.name))
        .map(|candidate| candidate.spec)
        .collect();
    let kept = Kept { held: &held, object: object.is_some() };
    let carrier = carrier(specs.iter().map(|spec| spec.execution.as_ref()), context.options.automatic, &kept);
    let asked = Asked {
        execution: execution(specs.iter().filter_map(|spec| spec.execution.as_ref()), carrier),
        carrier,
        processes: planned.iter().map(|planned| planned.name.clone()).collect(),
        bypass: specs.iter().map(|spec| spec.bypass.as_ref().is_some_and(|bypass| bypass.permission)).collect(),
        workflow: planned.first().map(|planned| planned.workflow.clone()).unwrap_or_default(),
        generated: String::new(),
        held,
        object,
    };
    (selection, Some(asked))
}

/// How a change is carried out that several processes must agree to: in the shortest of their times.
fn execution<'a>(all: impl Iterator<Item = &'a Execution>, carrier: Carrier) -> Execution {
    let shortest = all.filter(|execution| execution.valid_for.is_some()).min_by_key(|execution| valid_for(execution));
    Execution { mode: Some(carrier.mode()), valid_for: shortest.and_then(|execution| execution.valid_for.clone()) }
}

/// Who is asked first, as the definition says it now.
fn first_step(context: &Context, workflow: &str) -> String {
    let definition = context.definitions.get(&ObjectRef::new(workflow));
    let graph = definition.and_then(|definition| compile(&definition.spec).ok());
    graph.map_or_else(|| "waiting for approval".to_owned(), |graph| message::first_step(&graph))
}

async fn may_bypass(context: &Context, user: &Actor, process: &str) -> Result<bool, Error> {
    let allowed = access::allowed(&context.client, user, access::on_process(process, "bypass")).await;
    allowed.map_err(api("the rights of the requester"))
}

/// Judges by what is known, and writes what follows.
async fn settle(context: &Arc<Context>, user: &Actor, asked: &Asked, dry_run: bool) -> Result<Counted, Error> {
    let own = &context.options.namespace;
    let mut namespace = if asked.held.namespace.is_empty() { own } else { &asked.held.namespace };
    let mut requests: Api<ChangeRequest> = Api::namespaced(context.client.clone(), namespace);
    if asked.held.bypass_reason.is_none()
        && let Some(passed) = written::passes(context, user, &asked.held, &asked.generated, dry_run).await?
    {
        return Ok((passed, Answer::Allow(Vec::new())));
    }
    let (first, label) = (name(user, &asked.held), object_label(user, &asked.held));
    for attempt in 0..=ATTEMPTS {
        // Whoever tries again and again while people are asked costs no list: what the operator remembers is enough to refuse,
        // once it is known that nothing has happened to it since.
        let remembered = attempt == 0;
        let known = if remembered {
            context.changes.about(namespace, (OBJECT_LABEL, &label), &first)
        } else {
            about(&requests, &label, &first).await?
        };
        let (judgement, drift) = {
            let claimed =
                |request: &ChangeRequest| request.uid().is_some_and(|uid| context.gate.claimed(&uid, &asked.generated));
            let facts = Facts {
                requester: user,
                held: &asked.held,
                object: asked.object.as_ref(),
                execution: &asked.execution,
                namespace,
                known: &known,
                repeats: &claimed,
                now: context.clock.now(),
            };
            (judge(&facts), drifted(&facts).map(|earlier| message::drift(earlier, &asked.held.digest)))
        };
        if remembered && !still_refuses(context, &requests, &judgement).await? {
            continue;
        }
        let told = |message: String| drift.iter().fold(message, |message, drift| format!("{message} ({drift})"));
        if dry_run {
            return Ok(("dry-run", Answer::Allow(dry(context, &judgement, asked).await.into_iter().collect())));
        }
        match judgement {
            Judgement::Repeat => return Ok(("repeated", Answer::Allow(Vec::new()))),
            Judgement::Claim(request) => {
                if claim(context, &requests, *request, asked).await? {
                    return Ok(("granted", Answer::Allow(Vec::new())));
                }
            }
            Judgement::Wait(request) => {
                let instance = newest_instance(context, &request).await?;
                let progress = message::progress(&request, instance.as_ref(), || first_step(context, &asked.workflow));
                return Ok(("waiting", Answer::Refuse(told(message::held(&request, &progress, asked.carrier)))));
            }
            Judgement::Rejected(request) => {
                return Ok(("rejected", Answer::Refuse(message::rejected(&request))));
            }
            Judgement::Open(request) => match requests.create(&PostParams::default(), &request).await {
                Ok(made) => {
                    context.metrics.wrote("change-request");
                    return Ok(if asked.held.bypass_reason.is_some() {
                        let warning = format!("passed without approval, on record as {}", message::pointer(&made));
                        ("bypassed", Answer::Allow(vec![warning]))
                    } else {
                        (
                            "held",
                            Answer::Refuse(told(message::held(
                                &made,
                                &first_step(context, &asked.workflow),
                                asked.carrier,
                            ))),
                        )
                    });
                }
                // The same request was faster, on another connection or in another replica.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                // Nothing new can be made there: it is asked for, and found again, in the namespace of the operator.
                Err(kube::Error::Api(status)) if is_terminating(&status) && namespace != own => {
                    namespace = own;
                    requests = Api::namespaced(context.client.clone(), namespace);
                }
                Err(source) => return Err(Error::Api { what: "its change request", source }),
            },
        }
    }
    Err(Error::Busy)
}

/// The requests with that label, and the one of that name: somebody may have taken the label away.
async fn about(requests: &Api<ChangeRequest>, label: &str, name: &str) -> Result<Vec<ChangeRequest>, Error> {
    let labelled = ListParams::default().labels(&format!("{OBJECT_LABEL}={label}"));
    let mut known = requests.list(&labelled).await.map_err(api("its change requests"))?.items;
    if known.iter().all(|request| request.name_any() != name) {
        known.extend(requests.get_opt(name).await.map_err(api("its change request"))?);
    }
    Ok(known)
}

/// Whether a judgement from memory refuses, by a request that is still as it was.
async fn still_refuses(context: &Context, requests: &Api<ChangeRequest>, judgement: &Judgement) -> Result<bool, Error> {
    let (Judgement::Wait(request) | Judgement::Rejected(request)) = judgement else { return Ok(false) };
    let now = Instant::now();
    if context.changes.is_confirmed(request, now) {
        return Ok(true);
    }
    let there = requests.get_metadata_opt(&request.name_any()).await.map_err(api("its change request"))?;
    let same = there
        .is_some_and(|there| (there.uid(), there.resource_version()) == (request.uid(), request.resource_version()));
    if same {
        context.changes.confirm(request, now);
    }
    Ok(same)
}

/// Whether something cannot be made because its namespace is being removed.
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// What a dry run is told; nothing where it would pass.
async fn dry(context: &Context, judgement: &Judgement, asked: &Asked) -> Option<String> {
    let processes: Vec<&str> = asked.processes.iter().map(String::as_str).collect();
    match judgement {
        Judgement::Repeat | Judgement::Claim(_) => None,
        Judgement::Open(_) if asked.held.bypass_reason.is_some() => {
            Some("passes without approval, and is recorded and reviewed afterwards".to_owned())
        }
        Judgement::Open(_) => Some(message::dry_run(&processes, &first_step(context, &asked.workflow))),
        Judgement::Rejected(request) => Some(message::rejected(request)),
        Judgement::Wait(request) => {
            let instance = newest_instance(context, request).await.ok().flatten();
            let progress = message::progress(request, instance.as_ref(), || first_step(context, &asked.workflow));
            Some(message::dry_run(&processes, &format!("{}, {progress}", message::pointer(request))))
        }
    }
}

/// Claims the grant of a request; false when it is not what was judged any more.
async fn claim(
    context: &Context,
    requests: &Api<ChangeRequest>,
    mut request: ChangeRequest,
    asked: &Asked,
) -> Result<bool, Error> {
    let now = context.clock.now();
    let changes = request.status.as_mut().map(|status| status.changes.iter_mut()).into_iter().flatten();
    for change in changes.filter(|change| change.name == CHANGE) {
        if let Some(grant) = &mut change.grant {
            grant.claimed_at = Some(Time(now));
        }
    }
    match requests.replace_status(&request.name_any(), &PostParams::default(), &request).await {
        Ok(claimed) => {
            context.metrics.wrote("claim");
            if asked.held.generated_name {
                context.gate.claim(&claimed.uid().unwrap_or_default(), &asked.generated);
            }
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(source) => Err(Error::Api { what: "the grant", source }),
    }
}

/// Where the newest instance of a request stands.
async fn newest_instance(context: &Context, request: &ChangeRequest) -> Result<Option<WorkflowInstanceStatus>, Error> {
    let change = super::judge::change_of(request);
    let Some(newest) = change.and_then(|change| change.instances.last()) else { return Ok(None) };
    let namespace = request.namespace().unwrap_or_default();
    let known = context.live.get(&ObjectRef::new(&newest.name).within(&namespace));
    if let Some(live) = known.and_then(|live| live.parse().ok()) {
        return Ok(Some(live.status));
    }
    let instances: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &namespace);
    let instance = instances.get_opt(&newest.name).await.map_err(api("who must agree"))?;
    Ok(instance.and_then(|instance| instance.status))
}
