//! Actions compiled, and activities: what an action comes to for one request (requirement R51). Pure; `acting` moves an instance
//! through them, `crate::activities` carries them out.

use super::input::SCOPE;
use crate::api::{Action, HttpMethod, TargetObject};
use crate::cel::{Expression, Input, Misfit, Template};
use crate::hex::hex;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How long an action may take that does not say it.
const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// The longest that an action may take.
const MAX_TIMEOUT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// The longest time between two tries, in seconds.
const MAX_BACKOFF: i64 = 60;

/// Something that the operator is to do: the same id stands for the same deed, however often it is tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Follows from the instance, the node and the visit.
    pub id: String,
    /// The node.
    pub node: String,
    /// The how-manieth try, from 1.
    pub attempt: u32,
    /// The Job that was started for it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Whether its time is over: a Job that still runs is ended.
    pub over: bool,
    /// What is to be done.
    pub deed: Deed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// Applies an object.
    Apply {
        /// The object.
        object: Value,
        /// Whether fields of other field managers are taken over.
        force: bool,
    },
    /// Changes an object.
    Patch {
        /// The object.
        target: Target,
        /// A merge patch (an object) or a JSON patch (a list).
        patch: Value,
    },
    /// Deletes an object.
    Delete {
        /// The object.
        target: Target,
    },
    /// Calls an endpoint.
    Http {
        /// The endpoint, by name.
        endpoint: String,
        /// How.
        method: HttpMethod,
        /// What is appended to its path.
        path: String,
        /// What is sent, as JSON.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// Runs a Job.
    Job {
        /// Where.
        namespace: String,
        /// Its spec.
        spec: Value,
    },
}

/// An object by name.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Where it is, of kinds with a namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// metadata.name.
    pub name: String,
}

/// What came of a try: a fact for the next computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Performed {
    /// The id of the activity.
    pub id: String,
    /// The try.
    pub attempt: u32,
    /// What came of it.
    pub came: Came,
    /// The same for people.
    pub message: String,
}

/// What came of a try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Came {
    /// It is done.
    Done,
    /// It failed, and trying again would not help.
    Failed,
    /// It failed for the moment.
    Again,
    /// The Job of this name runs.
    Runs(String),
    /// Its time was over, and its Job was ended.
    TimedOut,
}

/// What an action does, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    kind: Kind,
    /// How long it may take.
    pub timeout: SignedDuration,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Apply { object: Template, force: bool },
    Patch { target: Template, patch: Template },
    Delete { target: Template },
    Http { endpoint: String, method: HttpMethod, path: String, body: Option<Expression> },
    Job { namespace: Template, spec: Template },
}

/// Why an action cannot be rendered.
pub(super) enum Unrendered {
    /// What it comes to can never be done.
    Failed(String),
    /// An expression failed: perhaps later.
    Stalled(String),
}

/// The installation, as far as activities must not touch it.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The operator's namespace.
    pub namespace: &'a str,
    /// The operator's username.
    pub username: &'a str,
}

/// How long after a try the next one comes, in seconds.
#[must_use]
pub fn backoff(attempts: u32) -> i64 {
    (1_i64 << attempts.saturating_sub(1).min(6)).min(MAX_BACKOFF)
}

/// How often a Job is looked at that has run for so many seconds.
#[must_use]
pub fn poll_after(seconds: i64) -> i64 {
    (seconds / 10).clamp(1, 30)
}

/// The id of what an instance does in one visit of a node.
#[must_use]
pub fn id(instance_uid: &str, node: &str, visit: u32) -> String {
    hex(&Sha256::digest(format!("{instance_uid}\n{node}\n{visit}").as_bytes())[..16])
}

impl Work {
    /// Compiles an action.
    ///
    /// # Errors
    /// Each fault: the field within the action, and what to do.
    pub(super) fn compile(action: &Action) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let timeout = match &action.timeout {
            None => DEFAULT_TIMEOUT,
            Some(written) => {
                let parsed = written.parse::<SignedDuration>().ok();
                parsed.filter(|span| span.is_positive() && *span <= MAX_TIMEOUT).unwrap_or_else(|| {
                    let message = format!("{written} is no duration; write one such as 30s or 1h, a week at most");
                    faults.push((".timeout".to_owned(), message));
                    DEFAULT_TIMEOUT
                })
            }
        };
        let Action { apply, patch, delete, http, job, timeout: _ } = action;
        let kind = match (apply, patch, delete, http, job) {
            (Some(apply), None, None, None, None) => {
                let object = template(&apply.object, ".apply.object", &mut faults);
                let (target, content) = (&apply.object, Some(&apply.object));
                faults.extend(whole(target, ".apply.object", content, true));
                object.map(|object| Kind::Apply { object, force: apply.force })
            }
            (None, Some(patch), None, None, None) => {
                let written = written(&patch.target);
                let target = template(&written, ".patch.target", &mut faults);
                faults.extend(whole(&written, ".patch.target", Some(&patch.patch), false));
                if !matches!(patch.patch, Value::Object(_) | Value::Array(_)) {
                    let message = "is neither an object (a merge patch) nor a list (a JSON patch)";
                    faults.push((".patch.patch".to_owned(), message.to_owned()));
                }
                let patch = template(&patch.patch, ".patch.patch", &mut faults);
                target.zip(patch).map(|(target, patch)| Kind::Patch { target, patch })
            }
            (None, None, Some(delete), None, None) => {
                let written = written(&delete.target);
                let target = template(&written, ".delete.target", &mut faults);
                faults.extend(whole(&written, ".delete.target", None, false));
                target.map(|target| Kind::Delete { target })
            }
            (None, None, None, Some(http), None) => {
                if let Err(why) = endpoint_name(&http.endpoint) {
                    faults.push((".http.endpoint".to_owned(), why));
                }
                let path = http.path.clone().unwrap_or_default();
                if !plain_path(&path) {
                    let message = "begins with / and has letters, digits and -._~%/ alone, without .. and //";
                    faults.push((".http.path".to_owned(), message.to_owned()));
                }
                let body = http.body.as_ref().map(|body| Expression::compile(body, &SCOPE)).transpose();
                let body = body.map_err(|why| faults.push((".http.body".to_owned(), why)));
                let (endpoint, method) = (http.endpoint.clone(), http.method);
                body.ok().map(|body| Kind::Http { endpoint, method, path, body })
            }
            (None, None, None, None, Some(job)) => {
                let namespace = template(&json!(job.namespace), ".job.namespace", &mut faults);
                if job.spec.get("template").is_none() {
                    let message = "is missing; write the Pods of the Job as in batch/v1";
                    faults.push((".job.spec.template".to_owned(), message.to_owned()));
                }
                let spec = template(&job.spec, ".job.spec", &mut faults);
                namespace.zip(spec).map(|(namespace, spec)| Kind::Job { namespace, spec })
            }
            _ => {
                let message = "an action is exactly one of apply, patch, delete, http, job";
                faults.push((String::new(), message.to_owned()));
                None
            }
        };
        match kind {
            Some(kind) if faults.is_empty() => Ok(Self { kind, timeout }),
            _ => Err(faults),
        }
    }

    /// Every expression in it.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        match &self.kind {
            Kind::Apply { object, .. } => object.expressions(),
            Kind::Patch { target, patch } => [target.expressions(), patch.expressions()].concat(),
            Kind::Delete { target } => target.expressions(),
            Kind::Http { body, .. } => body.iter().collect(),
            Kind::Job { namespace, spec } => [namespace.expressions(), spec.expressions()].concat(),
        }
    }

    /// The endpoint that it calls.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match &self.kind {
            Kind::Http { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }

    /// Whether what people recorded goes into it. It never reaches the status then (rule 28).
    #[must_use]
    pub fn reads_decisions(&self) -> bool {
        self.expressions().into_iter().any(|expression| expression.references("decisions"))
    }

    /// What is wrong with it in this installation: the field within the action, and why.
    #[must_use]
    pub fn misfits(&self, home: Home<'_>, endpoints: &[String]) -> Option<(&'static str, String)> {
        let own =
            |target: &Template, content: Option<&Value>| forbidden(&literals(target.written()), content, Some(home));
        match &self.kind {
            Kind::Apply { object, .. } => Some((".apply.object", own(object, Some(object.written()))?)),
            Kind::Patch { target, patch } => Some((".patch.target", own(target, Some(patch.written()))?)),
            Kind::Delete { target } => Some((".delete.target", own(target, None)?)),
            Kind::Job { namespace, .. } => {
                let named = namespace.written().as_str() == Some(home.namespace);
                named.then(|| (".job.namespace", foreign_namespace(home.namespace)))
            }
            Kind::Http { endpoint, .. } => {
                let missing = !endpoints.contains(endpoint);
                missing.then(|| {
                    let known = if endpoints.is_empty() { "none".to_owned() } else { endpoints.join(", ") };
                    let message = format!(
                        "there is no endpoint {endpoint}; add it to the chart value activities.endpoints (known: {known})"
                    );
                    (".http.endpoint", message)
                })
            }
        }
    }

    /// What it does, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let of = |target: &Template| named(&literals(target.written()));
        match &self.kind {
            Kind::Apply { object, .. } => format!("applies {}", of(object)),
            Kind::Patch { target, .. } => format!("changes {}", of(target)),
            Kind::Delete { target } => format!("deletes {}", of(target)),
            Kind::Http { endpoint, .. } => format!("calls {endpoint}"),
            Kind::Job { namespace, .. } => {
                format!("runs a Job in {}", namespace.written().as_str().unwrap_or_default())
            }
        }
    }

    /// What is to be done for one request.
    pub(super) fn render(&self, input: &Input) -> Result<Deed, Unrendered> {
        let stalled = |at: &'static str| {
            move |Misfit { place, message }: Misfit| Unrendered::Stalled(format!("{at}{place}: {message}"))
        };
        let failed = |at: &'static str| move |why: String| Unrendered::Failed(format!("{at}: {why}"));
        match &self.kind {
            Kind::Apply { object, force } => {
                let object = object.render(input).map_err(stalled("apply.object"))?;
                let target = target(&object, &object["metadata"]).map_err(failed("apply.object"))?;
                refuse(&target, Some(&object)).map_err(failed("apply.object"))?;
                Ok(Deed::Apply { object, force: *force })
            }
            Kind::Patch { target: named, patch } => {
                let named = named.render(input).map_err(stalled("patch.target"))?;
                let patch = patch.render(input).map_err(stalled("patch.patch"))?;
                let target = target(&named, &named).map_err(failed("patch.target"))?;
                refuse(&target, Some(&patch)).map_err(failed("patch.target"))?;
                Ok(Deed::Patch { target, patch })
            }
            Kind::Delete { target: named } => {
                let named = named.render(input).map_err(stalled("delete.target"))?;
                let target = target(&named, &named).map_err(failed("delete.target"))?;
                refuse(&target, None).map_err(failed("delete.target"))?;
                Ok(Deed::Delete { target })
            }
            Kind::Http { endpoint, method, path, body } => {
                let body = body.as_ref().map(|body| body.evaluate(input)).transpose();
                let body = body.map_err(|why| Unrendered::Stalled(format!("http.body: {why}")))?;
                Ok(Deed::Http { endpoint: endpoint.clone(), method: *method, path: path.clone(), body })
            }
            Kind::Job { namespace, spec } => {
                let namespace = namespace.render(input).map_err(stalled("job.namespace"))?;
                let namespace = namespace.as_str().map(str::to_owned).filter(|namespace| plain_name(namespace));
                let namespace = namespace.ok_or_else(|| failed("job.namespace")("is no namespace".to_owned()))?;
                let spec = spec.render(input).map_err(stalled("job.spec"))?;
                Ok(Deed::Job { namespace, spec })
            }
        }
    }
}

impl Deed {
    /// The object that it is about.
    ///
    /// # Errors
    /// Why there is none.
    pub fn target(&self) -> Result<Option<Target>, String> {
        match self {
            Self::Apply { object, .. } => target(object, &object["metadata"]).map(Some),
            Self::Patch { target, .. } | Self::Delete { target } => Ok(Some(target.clone())),
            Self::Http { .. } | Self::Job { .. } => Ok(None),
        }
    }

    /// Why it may never be done here, whatever rights the operator has.
    #[must_use]
    pub fn refused(&self, home: Home<'_>) -> Option<String> {
        match self {
            Self::Apply { object, .. } => forbidden(&self.target().ok()??, Some(object), Some(home)),
            Self::Patch { target, patch } => forbidden(target, Some(patch), Some(home)),
            Self::Delete { target } => forbidden(target, None, Some(home)),
            Self::Job { namespace, .. } => (namespace == home.namespace).then(|| foreign_namespace(home.namespace)),
            Self::Http { .. } => None,
        }
    }
}

impl Target {
    /// The API group; empty for the core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

fn template(written: &Value, place: &str, faults: &mut Vec<(String, String)>) -> Option<Template> {
    let compiled = Template::compile(written, &SCOPE);
    let told = |misfits: Vec<Misfit>| {
        faults.extend(misfits.into_iter().map(|misfit| (format!("{place}{}", misfit.place), misfit.message)));
    };
    compiled.map_err(told).ok()
}

/// A target as JSON.
fn written(target: &TargetObject) -> Value {
    serde_json::to_value(target).unwrap_or_default()
}

/// What is wrong with a target as it is written: nothing is missing, and what is no expression is no forbidden object.
fn whole(written: &Value, place: &str, content: Option<&Value>, object: bool) -> Vec<(String, String)> {
    let metadata = if object { &written["metadata"] } else { written };
    let within = if object { ".metadata" } else { "" };
    let fields = [
        (written, "apiVersion", String::new()),
        (written, "kind", String::new()),
        (metadata, "name", within.to_owned()),
    ];
    let missing = fields.into_iter().filter(|(value, field, _)| !value[*field].is_string());
    let mut faults: Vec<_> =
        missing.map(|(_, field, within)| (format!("{place}{within}.{field}"), "is missing".to_owned())).collect();
    if let Some(why) = forbidden(&literals(written), content, None) {
        faults.push((place.to_owned(), why));
    }
    faults
}

/// A target as far as it is written without expressions.
fn literals(written: &Value) -> Target {
    let text = |value: &Value| value.as_str().filter(|text| !text.contains("${")).map(str::to_owned);
    let metadata = if written["metadata"].is_object() { &written["metadata"] } else { written };
    Target {
        api_version: text(&written["apiVersion"]).unwrap_or_default(),
        kind: text(&written["kind"]).unwrap_or_default(),
        namespace: text(&metadata["namespace"]),
        name: text(&metadata["name"]).unwrap_or_default(),
    }
}

/// `ConfigMap prod/site`, as far as it is known.
fn named(target: &Target) -> String {
    let Target { kind, namespace, name, .. } = target;
    let kind = if kind.is_empty() { "an object" } else { kind };
    match namespace {
        _ if name.is_empty() => kind.to_owned(),
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The target that rendered JSON names. Every part becomes a part of a path, so that it is made of harmless letters.
fn target(named: &Value, metadata: &Value) -> Result<Target, String> {
    let text = |value: &Value, field: &str| match &value[field] {
        Value::String(text) if plain_name(text) => Ok(text.clone()),
        Value::String(text) => Err(format!("{field} {text:?} is no such name")),
        _ => Err(format!("{field} is missing or no text")),
    };
    let api_version = match &named["apiVersion"] {
        Value::String(text) if text.split('/').count() <= 2 && text.split('/').all(plain_name) => text.clone(),
        _ => return Err("apiVersion is no such as v1 or apps/v1".to_owned()),
    };
    let namespace = match &metadata["namespace"] {
        Value::Null => None,
        Value::String(empty) if empty.is_empty() => None,
        _ => Some(text(metadata, "namespace")?),
    };
    Ok(Target { api_version, kind: text(named, "kind")?, namespace, name: text(metadata, "name")? })
}

/// Whether a text can be a part of a path and nothing more.
#[must_use]
pub fn plain_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    letters && !text.is_empty() && text.len() <= 253 && text != "." && text != ".."
}

fn plain_path(path: &str) -> bool {
    let letters = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte));
    let dots = |segment: &str| segment == "." || segment == "..";
    path.is_empty() || letters && path.starts_with('/') && !path.contains("//") && !path.split('/').any(dots)
}

/// Whether a text can be the name of an endpoint.
///
/// # Errors
/// Why it cannot.
pub fn endpoint_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if letters && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    if name.contains("://") {
        return Err("a definition has no URL; name an endpoint of the chart value activities.endpoints".to_owned());
    }
    Err(format!("{name:?} is no name of an endpoint: small letters, digits and - such as ca-revoke"))
}

fn refuse(target: &Target, content: Option<&Value>) -> Result<(), String> {
    forbidden(target, content, None).map_or(Ok(()), Err)
}

fn foreign_namespace(namespace: &str) -> String {
    format!("nothing in {namespace}, the operator's own namespace, is touched by an activity")
}

/// Why an activity may never touch this, whatever rights the operator has: the policies that prove decisions trust the operator,
/// so a definition could otherwise forge them, or have it give itself rights. What is not known yet is empty.
fn forbidden(target: &Target, content: Option<&Value>, home: Option<Home<'_>>) -> Option<String> {
    let Target { kind, namespace, name, .. } = target;
    let group = target.group();
    let ours = |name: &str| name == "quorate.dev" || name.ends_with(".quorate.dev");
    if ours(group) {
        return Some("objects of quorate.dev are evidence, which no activity touches".to_owned());
    }
    if group == "admissionregistration.k8s.io" {
        return Some("admission policies and webhooks guard decisions, so that no activity touches them".to_owned());
    }
    if matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") && ours(name) {
        return Some("the kinds of quorate.dev are touched by no activity".to_owned());
    }
    if let Some(home) = home {
        let namespace_itself = group.is_empty() && kind == "Namespace" && name == home.namespace;
        if namespace.as_deref() == Some(home.namespace) || namespace_itself {
            return Some(foreign_namespace(home.namespace));
        }
    }
    if group != "rbac.authorization.k8s.io" {
        return None;
    }
    if name.starts_with("quorate-") {
        return Some(
            "roles and bindings named quorate-… are those of the installation, which no activity touches".to_owned(),
        );
    }
    if kind.ends_with("Binding") || kind.is_empty() {
        // A JSON patch could name somebody letter by letter.
        if content.is_some_and(Value::is_array) {
            return Some("a binding is changed by apply or by a merge patch, not by a JSON patch".to_owned());
        }
        let subjects = content.and_then(|content| content["subjects"].as_array()).into_iter().flatten();
        if subjects.into_iter().any(|subject| home.is_some_and(|home| names_operator(subject, home))) {
            return Some(
                "it would give the operator itself a role; activities.rules of the chart does that".to_owned(),
            );
        }
    }
    None
}

/// Whether a subject of a binding is the operator.
fn names_operator(subject: &Value, home: Home<'_>) -> bool {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    let own_group = format!("system:serviceaccounts:{}", home.namespace);
    match text("kind") {
        "ServiceAccount" => text("namespace") == home.namespace,
        "User" => {
            text("name") == home.username
                || text("name").starts_with(&format!("system:serviceaccount:{}:", home.namespace))
        }
        "Group" => text("name") == "system:serviceaccounts" || text("name") == own_group,
        _ => false,
    }
}

/// Labels and annotations that tell what a Job was started for.
#[must_use]
pub fn job(activity: &Activity, spec: &Value, instance: (&str, &str)) -> Value {
    let (namespace, name) = instance;
    let mut labels = Map::new();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), json!("quorate"));
    labels.insert("quorate.dev/activity".to_owned(), json!(activity.id));
    if name.len() <= 63 {
        labels.insert("quorate.dev/instance".to_owned(), json!(name));
    }
    let annotations = json!({"quorate.dev/instance": format!("{namespace}/{name}"), "quorate.dev/node": activity.node});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": job_name(activity), "labels": labels, "annotations": annotations},
        "spec": spec
    })
}

/// The name of the Job of an activity.
#[must_use]
pub fn job_name(activity: &Activity) -> String {
    format!("quorate-{}", activity.id)
}
