//! What the API server is told about the gate: processes → `ValidatingWebhookConfiguration`. Pure.
//!
//! Each process has a webhook of its own, with rules, selectors and conditions that let only what the process is about reach the
//! operator: everything else neither waits for it nor depends on it. They may let too much through, never too little: the
//! operator judges again what arrives.

use crate::api::{ApprovalProcess, GateEvent, Initiators, Namespaces, Operation};
use crate::change::cover::{CHANGING, CONTROLLER_GROUPS, CONTROLLERS, FOLLOWING, path_fault, segments};
use crate::change::differences::moves;
use crate::hex::hex;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the configuration.
pub const NAME: &str = "quorate-gate";

/// What the name of the object begins with by which the operator finds out whether the API server has a configuration.
pub const PROBE: &str = "quorate-gate-probe-";

/// Where a cluster is mended from, beside the operator's own namespace: never gated.
pub const EXEMPT: &str = "kube-system";

/// The webhook's time limit in seconds, of which the gate uses a little less.
pub const TIMEOUT_SECONDS: u32 = 10;

/// How a resource is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Served {
    /// The version that the gate reads it in: the one that its group prefers.
    pub version: String,
}

/// Every resource that was found, by group and plural.
pub type Resources = BTreeMap<(String, String), Served>;

/// The installation, as far as the configuration says it.
#[derive(Clone, Debug)]
pub struct Installation<'a> {
    /// The operator's namespace.
    pub namespace: &'a str,
    /// The operator's username.
    pub operator: &'a str,
    /// Where the gate is reached, with its secret path.
    pub client: Value,
    /// The authorities that the API server is to trust, PEM.
    pub authorities: &'a str,
}

/// A configuration, and what it says about which process.
#[derive(Clone, Debug)]
pub struct Built {
    /// The webhooks.
    pub webhooks: Vec<Value>,
    /// The process of each webhook, and how many conditions come before those that its author wrote.
    pub of: Vec<Option<(String, usize)>>,
    /// What is wrong with a process in this cluster.
    pub faults: BTreeMap<String, Vec<String>>,
    /// The name of the object that shows whether the API server has it.
    pub probe: String,
}

/// Conditions that the API server refuses, by process and position: the operator alone evaluates them.
pub type Refused = BTreeSet<(String, usize)>;

impl Built {
    /// As it is written.
    ///
    /// # Errors
    /// When a webhook is not the shape that Kubernetes has.
    pub fn configuration(&self) -> Result<ValidatingWebhookConfiguration, serde_json::Error> {
        let metadata = json!({"name": NAME, "labels": {"app.kubernetes.io/name": "quorate", "app.kubernetes.io/component": "gate"}});
        serde_json::from_value(json!({"metadata": metadata, "webhooks": self.webhooks}))
    }
}

/// The webhooks of these processes.
#[must_use]
pub fn build(
    processes: &[impl AsRef<ApprovalProcess>],
    resources: &Resources,
    refused: &Refused,
    installation: &Installation<'_>,
) -> Built {
    let mut ordered: Vec<&ApprovalProcess> = processes.iter().map(AsRef::as_ref).collect();
    ordered.sort_by_key(|process| process.name_any());
    let mut built = Built { webhooks: Vec::new(), of: Vec::new(), faults: BTreeMap::new(), probe: String::new() };
    let mut labelled = false;
    for process in ordered {
        let Some(gate) = process.spec.event.gate.as_ref().filter(|gate| faults(gate).is_empty()) else { continue };
        let name = process.name_any();
        let mut missing = Vec::new();
        let rules = rules(gate, resources, &mut missing);
        if !missing.is_empty() {
            built.faults.insert(name.clone(), missing);
        }
        // A namespace may enter what needs no approval, and so leave what does.
        labelled |= gate.namespaces.as_ref().is_some_and(|namespaces| namespaces.names.is_empty());
        // What needs no approval is not held: nobody has to be asked about it.
        if process.spec.skip {
            continue;
        }
        let mut conditions = own_conditions(gate, installation.operator);
        let own = conditions.len();
        let written = gate.match_conditions.iter().enumerate();
        let written = written.filter(|(position, _)| !refused.contains(&(name.clone(), *position)));
        conditions.extend(written.map(|(position, condition)| {
            json!({"name": format!("condition-{position}"), "expression": condition.expression})
        }));
        let selector = selector(gate.namespaces.as_ref(), installation.namespace);
        built.webhooks.push(webhook(&webhook_name(&name), &rules, &selector, &conditions, installation));
        built.of.push(Some((name, own)));
    }
    if labelled && !built.webhooks.is_empty() {
        built.webhooks.push(leaving(installation));
        built.of.push(None);
    }
    built.probe = format!("{PROBE}{}", hash(&json!(built.webhooks)));
    built.webhooks.push(probe(&built.probe, installation));
    built.of.push(None);
    built
}

/// What can never be gated, and what is written so that it means nothing.
#[must_use]
pub fn faults(gate: &GateEvent) -> Vec<String> {
    let named = gate.resources.iter().flat_map(|listed| &listed.resources);
    let status = named.into_iter().any(|resource| {
        resource.ends_with("/status") || resource.ends_with("/approval") || resource == "certificatesigningrequests"
    });
    let paths = gate.fields.iter().enumerate();
    let paths = paths.filter_map(|(position, path)| Some((position, path, path_fault(path, status)?)));
    let mut faults: Vec<String> =
        paths.map(|(position, path, why)| format!("spec.event.gate.fields[{position}]: {path} {why}")).collect();
    for (position, listed) in gate.resources.iter().enumerate() {
        let place = format!("spec.event.gate.resources[{position}]");
        for group in &listed.api_groups {
            if group == "admissionregistration.k8s.io" {
                faults.push(format!(
                    "{place}.apiGroups: Kubernetes calls no webhook for objects of {group}, so that nobody can lock himself out; limit by RBAC who may change them"
                ));
            }
            for resource in &listed.resources {
                let plain = resource.split('/').next().unwrap_or_default();
                if group == "quorate.dev" && ["approvalsignals", "workflowinstances", "changerequests"].contains(&plain)
                {
                    faults.push(format!(
                        "{place}.resources: {plain} of quorate.dev cannot be gated: approving needs them"
                    ));
                }
                if group.contains('*') || resource.contains('*') {
                    faults.push(format!(
                        "{place}: {resource} of API group \"{group}\" has a wildcard; name what is gated"
                    ));
                }
            }
        }
    }
    for (position, pointer) in gate.redact.iter().enumerate() {
        faults.extend(moves(pointer).map(|why| format!("spec.event.gate.redact[{position}]: {why}")));
    }
    faults
}

/// The rules of a gate; resources that nobody serves are told, and gated should they come.
fn rules(gate: &GateEvent, resources: &Resources, missing: &mut Vec<String>) -> Vec<Value> {
    let mut operations: BTreeSet<Operation> = gate.operations.iter().copied().collect();
    let (deletes, updates) = (operations.contains(&Operation::Delete), operations.contains(&Operation::Update));
    if deletes {
        // Other owners have an object collected: conditions let only those changes through.
        operations.insert(Operation::Update);
    }
    let mut listed: BTreeMap<(String, String, &str, bool), BTreeSet<String>> = BTreeMap::new();
    for (position, group_resources) in gate.resources.iter().enumerate() {
        for group in &group_resources.api_groups {
            for resource in &group_resources.resources {
                let plain = resource.split('/').next().unwrap_or_default();
                let served = resources.get(&(group.clone(), plain.to_owned()));
                if served.is_none() {
                    missing.push(format!(
                        "spec.event.gate.resources[{position}]: this cluster serves no {plain} of API group \"{group}\"; install what defines it, or correct the name (kubectl api-resources lists them)"
                    ));
                }
                let version = served.map_or("*", |served| served.version.as_str()).to_owned();
                // A Namespace is in no namespace, and is judged by itself.
                let inside = gate.namespaces.is_some() && plain != "namespaces";
                let scope = if inside { "Namespaced" } else { "*" };
                let names = listed.entry((group.clone(), version.clone(), scope, false)).or_default();
                names.insert(resource.clone());
                if resource == plain {
                    let changing = CHANGING.iter().filter(|changing| **changing != "eviction");
                    names.extend(changing.map(|changing| format!("{plain}/{changing}")));
                }
                let evicts = deletes && group.is_empty() && resource == "pods";
                let mut created = evicts.then(|| "pods/eviction".to_owned());
                // What is created below an object changes it: bindings, tokens.
                if let Some((_, subresource)) = resource.split_once('/')
                    && (subresource == "eviction" || (updates && !CHANGING.contains(&subresource)))
                {
                    created = Some(resource.clone());
                }
                if let Some(created) = created {
                    listed.entry((group.clone(), version, scope, true)).or_default().insert(created);
                }
            }
        }
    }
    let rules = listed.into_iter().map(|((group, version, scope, created), names)| {
        let operations = if created { BTreeSet::from([Operation::Create]) } else { operations.clone() };
        json!({"apiGroups": [group], "apiVersions": [version], "resources": names, "operations": operations, "scope": scope})
    });
    rules.collect()
}

fn selector(namespaces: Option<&Namespaces>, own: &str) -> Value {
    let mut expressions =
        vec![json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [EXEMPT, own]})];
    let Some(Namespaces { names, match_labels, match_expressions }) = namespaces else {
        return json!({"matchExpressions": expressions});
    };
    if !names.is_empty() {
        expressions.push(json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}));
    }
    expressions.extend(match_expressions.iter().map(|asked| json!(asked)));
    let mut selector = json!({"matchExpressions": expressions});
    if !match_labels.is_empty() {
        selector["matchLabels"] = json!(match_labels);
    }
    selector
}

/// The conditions of ours: what a process is not about stays away.
fn own_conditions(gate: &GateEvent, operator: &str) -> Vec<Value> {
    let mut conditions = vec![not_the_operator(operator)];
    let mut add = |name: &str, expression: String| {
        conditions.push(json!({"name": format!("quorate.dev/{name}"), "expression": expression}));
    };
    let initiators = gate.initiators.clone().unwrap_or_default();
    let Initiators { users, groups, service_accounts, exclude } = initiators;
    if users.is_empty() && groups.is_empty() && service_accounts.is_empty() {
        let controllers = by(&CONTROLLERS.map(str::to_owned), &CONTROLLER_GROUPS.map(str::to_owned), &[]);
        let follows = format!("(request.operation == \"DELETE\" || {})", at_subresource(&FOLLOWING));
        add("controllers", format!("!{follows} || !({controllers})"));
    } else {
        add("initiators", by(&users, &groups, &service_accounts));
    }
    if let Some(exclude) = exclude {
        add("exclude", format!("!({})", by(&exclude.users, &exclude.groups, &exclude.service_accounts)));
    }
    let deletes = gate.operations.contains(&Operation::Delete);
    let updates = gate.operations.contains(&Operation::Update);
    let named = gate.resources.iter().flat_map(|listed| &listed.resources);
    let named = named.filter_map(|resource| resource.split_once('/')).map(|(_, subresource)| subresource);
    let whole: BTreeSet<&str> = named.chain(["approval"]).collect();
    let whole = at_subresource(&whole.into_iter().collect::<Vec<_>>());
    let mut changes = Vec::new();
    if updates && gate.fields.is_empty() {
        changes.push(whole.clone());
        changes.push(means_something(&[&MEANT[..], &["finalizers"]].concat()));
    } else if updates {
        changes.extend(gate.fields.iter().map(|path| field_changes(path)));
        // The scale of a custom resource has fields of its own.
        if gate.fields.iter().any(|path| segments(path)[0] == "spec") {
            changes.push(format!("({} && object.spec != oldObject.spec)", at_subresource(&["scale"])));
        }
    }
    if deletes {
        changes.push(metadata_changes(&["ownerReferences"]));
    }
    if updates || deletes {
        add("changes", format!("request.operation != \"UPDATE\" || {}", changes.join(" || ")));
        // Fewer finalizers finish a deletion, whoever is up or down.
        let more = r#"("finalizers" in object.metadata && !object.metadata.finalizers.all(f, "finalizers" in oldObject.metadata && f in oldObject.metadata.finalizers))"#;
        let other = means_something(&MEANT);
        let lives = r#"!("deletionTimestamp" in oldObject.metadata)"#;
        add("finishes", format!("request.operation != \"UPDATE\" || {lives} || {whole} || {more} || {other}"));
    }
    conditions
}

fn not_the_operator(operator: &str) -> Value {
    json!({"name": "quorate.dev/operator", "expression": format!("request.userInfo.username != {}", json!(operator))})
}

/// What means something below metadata, beside finalizers.
const MEANT: [&str; 4] = ["labels", "annotations", "ownerReferences", "generateName"];

/// Whether anything but the status and what the server sets changes; of metadata these.
fn means_something(metadata: &[&str]) -> String {
    let same = r#"object.all(k, k in ["metadata", "status"] || (k in oldObject && object[k] == oldObject[k]))"#;
    let gone = r#"oldObject.all(k, k in ["metadata", "status"] || k in object)"#;
    format!("!{same} || !{gone} || {}", metadata_changes(metadata))
}

/// Whether it is one of these subresources. What is empty is missing in what the API server shows to conditions.
fn at_subresource(names: &[&str]) -> String {
    format!("(has(request.subResource) && request.subResource in {})", json!(names))
}

fn metadata_changes(names: &[&str]) -> String {
    format!(
        "{}.exists(k, (k in object.metadata) != (k in oldObject.metadata) || (k in object.metadata && object.metadata[k] != oldObject.metadata[k]))",
        json!(names)
    )
}

fn field_changes(path: &str) -> String {
    let keys = segments(path);
    format!("{} != {}", at("object", &keys), at("oldObject", &keys))
}

/// What is at a path, as an expression that never fails; what is no map on the way is taken whole.
fn at(root: &str, keys: &[String]) -> String {
    let Some((key, rest)) = keys.split_first() else { return format!("dyn({root})") };
    let key = json!(key);
    let below = format!("{root}[{key}]");
    let inside = at(&below, rest);
    let inside = if rest.is_empty() { inside } else { format!("(type({below}) != map ? dyn({below}) : {inside})") };
    format!("({key} in {root} ? {inside} : dyn(null))")
}

/// Whether one of these asks.
fn by(users: &[String], groups: &[String], accounts: &[String]) -> String {
    let accounts = accounts.iter().map(|account| format!("system:serviceaccount:{}", account.replacen('/', ":", 1)));
    let users: Vec<String> = users.iter().cloned().chain(accounts).collect();
    let mut ways = Vec::new();
    if !users.is_empty() {
        ways.push(format!("request.userInfo.username in {}", json!(users)));
    }
    if !groups.is_empty() {
        ways.push(format!(
            "(has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {}))",
            json!(groups)
        ));
    }
    if ways.is_empty() { "false".to_owned() } else { ways.join(" || ") }
}

fn webhook(
    name: &str,
    rules: &[Value],
    selector: &Value,
    conditions: &[Value],
    installation: &Installation<'_>,
) -> Value {
    use base64::Engine as _;
    let mut client = installation.client.clone();
    client["caBundle"] = json!(base64::engine::general_purpose::STANDARD.encode(installation.authorities));
    json!({
        "name": name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": client,
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": TIMEOUT_SECONDS,
        "namespaceSelector": selector,
        "objectSelector": {},
        "rules": rules,
        "matchConditions": conditions,
    })
}

/// Namespaces whose labels change may leave the selection of a process, or enter one that ends the search before it.
fn leaving(installation: &Installation<'_>) -> Value {
    let names = ["namespaces", "namespaces/status", "namespaces/finalize"];
    let rules =
        [json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": names, "operations": ["UPDATE"], "scope": "*"})];
    let changes = json!({"name": "quorate.dev/labels", "expression": metadata_changes(&["labels"])});
    let conditions = [not_the_operator(installation.operator), changes];
    webhook("namespaces.quorate.dev", &rules, &selector(None, installation.namespace), &conditions, installation)
}

/// Matches one object that is never made.
fn probe(name: &str, installation: &Installation<'_>) -> Value {
    let rules = [
        json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"], "scope": "Namespaced"}),
    ];
    let own = json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [installation.namespace]}]);
    let named = json!({"name": "quorate.dev/probe", "expression": format!("object.metadata.name == {}", json!(name))});
    webhook("probe.quorate.dev", &rules, &json!({"matchExpressions": own}), &[named], installation)
}

/// The name of the webhook of a process: Kubernetes allows 253 characters.
fn webhook_name(process: &str) -> String {
    let name = format!("{process}.gate.quorate.dev");
    if name.len() <= 253 { name } else { format!("{}.gate.quorate.dev", hash(&json!(process))) }
}

fn hash(value: &Value) -> String {
    hex(&Sha256::digest(value.to_string().as_bytes())[..10])
}
