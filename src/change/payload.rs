//! What of an operation means something, and its hash: an approval is for exactly this.
//!
//! The *canonical* form of an object is without what the server sets, without kubectl's copy of what was last applied, without
//! the reason of a break-glass, and without what the processes ignore. Keys are sorted (a `serde_json::Value` sorts them), so
//! that the same content has the same hash. Where something is redacted the hash is keyed: a short secret cannot be guessed
//! from it.

use super::cover::{Attempt, field, names_subresource};
use super::differences::{differences, redact};
use crate::api::{GateEvent, Held, Operation, PlannedProcess};
use crate::hex::hex;
use ring::hmac;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The annotation by which somebody passes without approval: why.
pub const BYPASS_REASON: &str = "quorate.dev/bypass-reason";

/// Where kubectl keeps what was last applied: a copy of everything, secrets too.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object that is larger than this, as JSON, is not kept.
const LARGEST: usize = 256 * 1024;

/// What the server sets, below metadata.
const SERVER_SET: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Everything about an operation that is recorded, and the object to keep: the one that is to be, for DELETE none; without
/// what is redacted, and none where it is too large.
#[must_use]
pub fn held(
    attempt: &Attempt<'_>,
    gates: &[&GateEvent],
    planned: Vec<PlannedProcess>,
    key: &[u8],
) -> (Held, Option<Value>) {
    let (ignore, redact_at) = (ignored(gates, attempt), redacted(gates, attempt));
    let mut held = Held {
        operation: attempt.operation,
        group: attempt.group.to_owned(),
        version: attempt.version.to_owned(),
        resource: attempt.resource.to_owned(),
        subresource: attempt.subresource.to_owned(),
        kind: attempt.kind.to_owned(),
        namespace: attempt.namespace.unwrap_or_default().to_owned(),
        name: name_or_prefix(attempt).to_owned(),
        generated_name: generates_name(attempt),
        fields: fields(gates, attempt),
        ignore,
        redact: redact_at,
        processes: planned,
        ..Held::default()
    };
    let (old, new) = (attempt.old_object, attempt.object);
    let (stripped_old, stripped_new) = (old.map(|old| strip(old, &held)), new.map(|new| strip(new, &held)));
    held.digest = match new {
        Some(new) => whole(new, &held, key),
        None => {
            let what = json!([attempt.operation, attempt.group, attempt.resource, attempt.subresource]);
            hash(&json!([what, deletion(attempt)]), None)
        }
    };
    held.base = match attempt.operation {
        Operation::Create => held.name.clone(),
        Operation::Update => old.map_or_else(|| "nothing".to_owned(), |old| gated(old, &held, key)),
        Operation::Delete => uid(old),
    };
    held.effect = new.filter(|_| attempt.operation == Operation::Update).map(|new| gated(new, &held, key));
    let kept = |object: Option<Value>| object.filter(small).map(|object| redact(object, &held.redact));
    if attempt.operation == Operation::Update {
        let empty = Value::Null;
        let (old, new) = (stripped_old.as_ref().unwrap_or(&empty), stripped_new.as_ref().unwrap_or(&empty));
        held.differences = differences(old, new, &held.redact);
    } else if stripped_new.as_ref().is_some_and(|new| !small(new)) {
        held.differences = differences(&json!({}), stripped_new.as_ref().unwrap_or(&Value::Null), &held.redact);
    }
    let (kept_old, kept_new) = (kept(stripped_old), kept(stripped_new));
    held.old_object = kept_old;
    (held, kept_new)
}

/// How an object is deleted: what becomes of what it owns, and how long it is waited for. What is left out counts as what the API
/// server takes for it, so that a change written by hand stands for the plain command.
fn deletion(attempt: &Attempt<'_>) -> Value {
    let empty = Value::Null;
    let options = attempt.request.map_or(&empty, |request| &request["options"]);
    let by_default = match (attempt.group, attempt.resource) {
        ("batch", "jobs") | ("", "replicationcontrollers") => "Orphan",
        _ => "Background",
    };
    let policy = match (options["propagationPolicy"].as_str(), options["orphanDependents"].as_bool()) {
        (Some(policy), _) => policy,
        (None, Some(true)) => "Orphan",
        (None, Some(false)) => "Background",
        (None, None) => by_default,
    };
    // Of a pod the server fills in what the pod says, and 0 where nothing runs.
    let old = attempt.old_object.unwrap_or(&empty);
    let is_pod = (attempt.group, attempt.resource) == ("", "pods");
    let runs = old["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
        && !["Succeeded", "Failed"].contains(&old["status"]["phase"].as_str().unwrap_or_default());
    let own = if runs { old["spec"]["terminationGracePeriodSeconds"].as_i64() } else { Some(0) };
    let grace = options["gracePeriodSeconds"].as_i64().filter(|grace| !is_pod || own != Some(*grace));
    json!([policy, grace])
}

/// Whether what was held has happened, as far as the object shows it that is there now: none where there is none.
#[must_use]
pub fn happened(held: &Held, now: Option<&Value>, key: &[u8]) -> bool {
    match (held.operation, now) {
        (Operation::Delete, now) => {
            now.is_none_or(|now| uid(Some(now)) != held.base || !now["metadata"]["deletionTimestamp"].is_null())
        }
        (Operation::Create, Some(now)) => !held.generated_name && whole(now, held, key) == held.digest,
        (Operation::Update, Some(now)) => held.effect.as_ref() == Some(&gated(now, held, key)),
        (_, None) => false,
    }
}

/// Whether an object is what was asked for.
#[must_use]
pub fn is_asked(held: &Held, object: &Value, key: &[u8]) -> bool {
    whole(object, held, key) == held.digest
}

/// Whether an UPDATE changes anything that means something.
#[must_use]
pub fn changes_something(attempt: &Attempt<'_>, ignored: &[String]) -> bool {
    let held = Held { ignore: ignored.to_vec(), ..Held::default() };
    match (attempt.old_object, attempt.object) {
        (Some(old), Some(new)) => canonical(old, &held) != canonical(new, &held),
        _ => true,
    }
}

/// Why somebody wants to pass without approval: the annotation, where this operation sets it.
#[must_use]
pub fn bypass_reason(attempt: &Attempt<'_>) -> Option<String> {
    let reason = |object: &Value| object["metadata"]["annotations"][BYPASS_REASON].as_str().map(str::to_owned);
    let told = reason(attempt.object?).filter(|told| !told.trim().is_empty())?;
    (attempt.old_object.and_then(reason).as_ref() != Some(&told)).then_some(told)
}

/// What is no part of the digest: what all of the gates ignore, so that none answers for another; and the status, except where
/// the operation is about it.
#[must_use]
pub fn ignored(gates: &[&GateEvent], attempt: &Attempt<'_>) -> Vec<String> {
    let mut ignored = gates.first().map(|gate| gate.ignore.clone()).unwrap_or_default();
    ignored.retain(|pointer| gates.iter().all(|gate| gate.ignore.contains(pointer)));
    let about_status = match attempt.subresource {
        "approval" => true,
        "status" => gates.iter().any(|gate| names_subresource(gate, attempt)),
        _ => false,
    };
    if !about_status {
        ignored.push("/status".to_owned());
    }
    ignored
}

/// What is shown and stored nowhere: what any of the gates says, and the content of Secrets.
#[must_use]
pub fn redacted(gates: &[&GateEvent], attempt: &Attempt<'_>) -> Vec<String> {
    let mut redacted: Vec<String> = gates.iter().flat_map(|gate| gate.redact.iter().cloned()).collect();
    if (attempt.group, attempt.resource) == ("", "secrets") {
        redacted.extend(["/data".to_owned(), "/stringData".to_owned()]);
    }
    if !redacted.is_empty() {
        redacted.push(format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1")));
    }
    redacted.sort();
    redacted.dedup();
    redacted
}

/// Whether the server makes up the name.
fn generates_name(attempt: &Attempt<'_>) -> bool {
    attempt.operation == Operation::Create && attempt.name.is_empty()
}

fn name_or_prefix<'a>(attempt: &Attempt<'a>) -> &'a str {
    if generates_name(attempt) {
        return attempt.object.and_then(|object| object["metadata"]["generateName"].as_str()).unwrap_or_default();
    }
    attempt.name
}

/// Which fields are gated: all, where any of the gates names none. A scale is small, and its fields are not those of the object
/// that it belongs to.
fn fields(gates: &[&GateEvent], attempt: &Attempt<'_>) -> Vec<String> {
    if attempt.operation != Operation::Update
        || attempt.subresource == "scale"
        || gates.iter().any(|gate| gate.fields.is_empty())
    {
        return Vec::new();
    }
    let mut fields: Vec<String> = gates.iter().flat_map(|gate| gate.fields.iter().cloned()).collect();
    if attempt.changes_owners() {
        fields.push("metadata.ownerReferences".to_owned());
    }
    fields.sort();
    fields.dedup();
    fields
}

/// An object without what the server sets and what means nothing.
fn strip(object: &Value, held: &Held) -> Value {
    let mut object = object.clone();
    if held.ignore.iter().any(|pointer| pointer == "/status") {
        remove(&mut object, "/status");
    }
    if held.subresource == "approval" {
        // Whoever approves writes the time of it, another one at each attempt.
        for condition in object.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            remove(condition, "/lastUpdateTime");
            remove(condition, "/lastTransitionTime");
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !SERVER_SET.contains(&name.as_str()));
        if held.generated_name {
            metadata.remove("name");
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| name != LAST_APPLIED && name != BYPASS_REASON);
        }
    }
    drop_empty(&mut object);
    object
}

fn drop_empty(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        metadata.retain(|name, value| !(matches!(name.as_str(), "annotations" | "labels") && empty(value)));
    }
}

fn canonical(object: &Value, held: &Held) -> Value {
    let mut object = strip(object, held);
    for pointer in &held.ignore {
        remove(&mut object, pointer);
    }
    drop_empty(&mut object);
    object
}

/// Removes what a JSON pointer points at. Items of lists become null: their neighbours keep their places.
fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(&key);
        }
        Some(Value::Array(items)) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = Value::Null;
            }
        }
        _ => {}
    }
}

fn whole(object: &Value, held: &Held, key: &[u8]) -> String {
    hash(&canonical(object, held), (!held.redact.is_empty()).then_some(key))
}

fn gated(object: &Value, held: &Held, key: &[u8]) -> String {
    if held.fields.is_empty() {
        return whole(object, held, key);
    }
    let canonical = canonical(object, held);
    let gated: Map<String, Value> =
        held.fields.iter().map(|path| (path.clone(), field(&canonical, path).clone())).collect();
    hash(&Value::Object(gated), (!held.redact.is_empty()).then_some(key))
}

fn uid(object: Option<&Value>) -> String {
    object.and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default().to_owned()
}

fn small(object: &Value) -> bool {
    object.to_string().len() <= LARGEST
}

fn hash(value: &Value, key: Option<&[u8]>) -> String {
    let text = value.to_string();
    let (word, bytes) = match key {
        None => ("sha256", Sha256::digest(text.as_bytes()).to_vec()),
        Some(key) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            ("hmac-sha256", hmac::sign(&key, text.as_bytes()).as_ref().to_vec())
        }
    };
    format!("{word}:{}", hex(&bytes))
}
