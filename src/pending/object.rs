//! Objects of any kind that wait: what is to be approved of them, whether they still wait, what an instance sees of its object.

use super::{Nature, cert_manager, mark, write_back};
use crate::api::{Outcome, PendingEvent, WorkflowInstance};
use crate::engine::Object;
use crate::hex::hex;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use write_back::Written;

/// What kubectl keeps of the last apply: no part of an object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How an object stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nobody has decided it.
    Waits,
    /// It was decided: approved or not, and what the decision says of whose it is, where it does.
    Decided(bool, Option<String>),
    /// There is nothing to decide any more: what happened, for people.
    Over(String),
}

/// How an object stands under a process.
///
/// # Errors
/// Why that cannot be told.
pub fn standing(object: &Value, pending: &PendingEvent) -> Result<Standing, String> {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Standing::Over("it is being deleted".to_owned()));
    }
    if Nature::of_object(object) == Nature::CertManager {
        let decided = cert_manager::decision(object).map(|(approved, told)| Standing::Decided(approved, Some(told)));
        let over = || cert_manager::over(object).map(Standing::Over);
        return Ok(decided.or_else(over).unwrap_or(Standing::Waits));
    }
    let Some(write_back) = &pending.write_back else {
        return Err("the process has no writeBack".to_owned());
    };
    let seen = write_back::seen(write_back, object)?;
    Ok(seen.map_or(Standing::Waits, |approved| Standing::Decided(approved, None)))
}

/// The object as an instance remembers it: without what the server keeps about it, and without its status.
#[must_use]
pub fn remembered(object: &Value) -> Value {
    let mut kept: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    kept.remove("status");
    let metadata = &object["metadata"];
    let mut fields = Map::new();
    for field in ["name", "namespace", "uid", "labels"] {
        if let Some(value) = metadata.get(field) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let annotations: Map<_, _> = annotations
        .filter(|(name, _)| *name != LAST_APPLIED)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !annotations.is_empty() {
        fields.insert("annotations".to_owned(), Value::Object(annotations));
    }
    kept.insert("metadata".to_owned(), Value::Object(fields));
    Value::Object(kept)
}

/// What is to be approved: what is remembered, without the fields that tell the outcome.
fn content(object: &Value, pending: &PendingEvent) -> Value {
    let mut content = remembered(object);
    if let Some(write_back) = pending.write_back.as_ref().filter(|_| Nature::of_object(object) == Nature::Other) {
        write_back::take_out(write_back, &mut content);
    }
    content
}

/// SHA-256 over uid and content: an object that changes is another thing to approve.
#[must_use]
pub fn digest(object: &Value, pending: &PendingEvent) -> String {
    hex(&Sha256::digest(content(object, pending).to_string()))
}

/// The name of an object for people: `Box shop/cart`.
#[must_use]
pub fn shown(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// What an instance sees of its object, as its process knows it; none of it where the process is not known: then only whether
/// the object is still there.
#[must_use]
pub fn observe(instance: &WorkflowInstance, object: Option<&Value>, pending: Option<&PendingEvent>) -> Object {
    let Some(remembered) = &instance.spec.object else { return Object::None };
    let shown = shown(remembered);
    let Some(object) = object else {
        return Object::Gone(format!("{shown} is gone"));
    };
    if object["metadata"]["uid"] != remembered["metadata"]["uid"] {
        return Object::Gone(format!("{shown} was deleted and made again"));
    }
    let Some(pending) = pending else { return Object::Waiting };
    if content(object, pending) != content(remembered, pending) {
        return Object::Gone(format!("{shown} is not what was to be approved"));
    }
    match standing(object, pending) {
        // What cannot be told takes nothing from people; before anything is written it is asked again.
        Ok(Standing::Waits) | Err(_) => Object::Waiting,
        Ok(Standing::Decided(approved, None)) => Object::Decided(approved),
        Ok(Standing::Decided(approved, Some(told))) if told.contains(&mark(instance)) => Object::Decided(approved),
        Ok(Standing::Decided(approved, Some(_))) => {
            let verb = if approved { "approved" } else { "denied" };
            Object::Gone(format!("{shown} was {verb} by somebody else"))
        }
        Ok(Standing::Over(why)) => Object::Gone(format!("{shown}: {why}")),
    }
}

/// What is written to an object for an outcome, as long as it is the one of this uid and resourceVersion.
///
/// # Errors
/// The expression that cannot be told, and why.
pub fn written(
    object: &Value,
    pending: &PendingEvent,
    instance: &WorkflowInstance,
    outcome: Outcome,
    told: &str,
    now: Timestamp,
) -> Result<Written, String> {
    let message = format!("{told} ({})", mark(instance));
    let written = match (Nature::of_object(object), &pending.write_back) {
        (Nature::CertManager, _) => cert_manager::written(object, outcome, &message, now),
        (_, Some(write_back)) => write_back::render(write_back, object, outcome, &message, now)?,
        (_, None) => return Err("the process has no writeBack".to_owned()),
    };
    Ok(bind(written, object))
}

/// The same, but refused by the API server unless the object is still the one that was read.
#[must_use]
pub fn bind(mut written: Written, object: &Value) -> Written {
    let metadata = &object["metadata"];
    let same = json!({"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]});
    match written.patch.get_mut("metadata").and_then(Value::as_object_mut) {
        Some(fields) => fields.extend(same.as_object().cloned().unwrap_or_default()),
        None => written.patch["metadata"] = same,
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{digest, observe, remembered, written};
    use crate::api::{Outcome, PendingEvent, WorkflowInstance, WorkflowInstanceSpec};
    use crate::engine::Object;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn pending() -> PendingEvent {
        let patch = |phase: &str| json!({"subresource": "status", "patch": {"status": {"phase": phase}}});
        let write_back = json!({"approved": patch("Go"), "rejected": patch("Stop")});
        serde_json::from_value(json!({"resources": [], "writeBack": write_back})).expect("a pending event")
    }

    fn parcel() -> Value {
        let metadata = json!({
            "name": "cart", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 2,
            "managedFields": [{}], "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        });
        json!({"apiVersion": "example.com/v1", "kind": "Parcel", "metadata": metadata, "spec": {"size": 3}})
    }

    fn instance() -> WorkflowInstance {
        let spec = WorkflowInstanceSpec { object: Some(remembered(&parcel())), ..WorkflowInstanceSpec::default() };
        WorkflowInstance::new("cart-1", spec)
    }

    fn seen(change: impl Fn(&mut Value)) -> Object {
        let mut object = parcel();
        change(&mut object);
        observe(&instance(), Some(&object), Some(&pending()))
    }

    #[test]
    fn r29_what_the_server_keeps_is_no_change_and_everything_else_is() {
        assert_eq!(seen(|_| ()), Object::Waiting);
        assert_eq!(seen(|object| object["metadata"]["resourceVersion"] = json!("9")), Object::Waiting);
        assert_eq!(seen(|object| object["status"] = json!({"seen": true})), Object::Waiting);
        let gone =
            |object, why: &str| assert!(matches!(&object, Object::Gone(told) if told.contains(why)), "{object:?}");
        gone(seen(|object| object["spec"]["size"] = json!(4)), "Parcel shop/cart is not what was to be approved");
        gone(seen(|object| object["metadata"]["labels"] = json!({"a": "b"})), "is not what was to be approved");
        gone(seen(|object| object["metadata"]["uid"] = json!("2")), "was deleted and made again");
        gone(seen(|object| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")), "being deleted");
        gone(observe(&instance(), None, Some(&pending())), "Parcel shop/cart is gone");
    }

    #[test]
    fn r29_the_outcome_is_seen_and_a_change_beside_it_is_noticed() {
        assert_eq!(seen(|object| object["status"] = json!({"phase": "Go"})), Object::Decided(true));
        assert_eq!(seen(|object| object["status"] = json!({"phase": "Stop"})), Object::Decided(false));
        let both = seen(|object| {
            object["status"] = json!({"phase": "Go"});
            object["spec"]["size"] = json!(400);
        });
        assert!(matches!(both, Object::Gone(_)), "{both:?}");
    }

    #[test]
    fn a_write_is_bound_to_what_was_read() {
        let patch = written(&parcel(), &pending(), &instance(), Outcome::Rejected, "no", Timestamp::UNIX_EPOCH)
            .expect("written")
            .patch;
        assert_eq!(patch, json!({"metadata": {"uid": "1", "resourceVersion": "7"}, "status": {"phase": "Stop"}}));
    }

    #[test]
    fn another_content_is_another_thing_to_approve() {
        let mut changed = parcel();
        changed["status"] = json!({"phase": "Go"});
        assert_eq!(digest(&parcel(), &pending()), digest(&changed, &pending()));
        changed["spec"]["size"] = json!(4);
        assert_ne!(digest(&parcel(), &pending()), digest(&changed, &pending()));
    }
}
