//! What may be sent twice, and what is believed about what is there.

use super::super::execute::{APPLY, Call, JSON, JSON_PATCH, MERGE_PATCH};
use super::{Carried, after, was_made};
use crate::api::{Change, Held, Operation};
use crate::change::{Attempt, held};
use http::Method;
use kube::core::Status;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn call(method: Method, content_type: &'static str, body: Value) -> Call {
    Call { method, path: "/api/v1/namespaces/shop/configmaps".to_owned(), content_type, body }
}

fn answer(code: u16, reason: &str, message: &str) -> kube::Error {
    let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message});
    let status: Status = serde_json::from_value(status).expect("a status");
    kube::Error::Api(status.into())
}

fn again(error: &kube::Error, call: &Call) -> bool {
    match after(error, &Change::default(), call) {
        Carried::Refused { message, again } => {
            let unknown = message.starts_with("whether it was carried out is not known; look at /api/v1");
            assert!(!(unknown && again), "{message}");
            again
        }
        Carried::Done(message) => panic!("{message}"),
    }
}

#[test]
fn attack_33_what_would_be_done_twice_is_repeated_only_where_nothing_was_written() {
    let patch = call(Method::PATCH, JSON_PATCH, json!([{"op": "add", "path": "/data/list/-", "value": "x"}]));
    let generated = call(Method::POST, JSON, json!({"metadata": {"generateName": "job-"}}));
    for once in [patch, generated] {
        for (code, reason, message) in [
            (500, "InternalError", "etcdserver: request timed out"),
            (503, "ServiceUnavailable", "later"),
            (504, "Timeout", "request did not complete within the allotted timeout"),
        ] {
            assert!(!again(&answer(code, reason, message), &once), "{code} {}", once.method);
        }
        assert!(!again(&kube::Error::Service("the API server did not answer in time".into()), &once));
        for (code, reason, message) in [
            (409, "Conflict", "the object has been modified"),
            (429, "TooManyRequests", "slow down"),
            (500, "InternalError", "Internal error occurred: failed calling webhook \"a.gate.quorate.dev\": refused"),
        ] {
            assert!(again(&answer(code, reason, message), &once), "{code} {}", once.method);
        }
    }
}

#[test]
fn what_comes_to_the_same_when_it_is_done_twice_is_repeated() {
    let named = json!({"metadata": {"name": "one"}});
    for twice in [
        call(Method::POST, JSON, named.clone()),
        call(Method::PATCH, APPLY, named.clone()),
        call(Method::PATCH, MERGE_PATCH, json!({"data": {"a": "b"}})),
        call(Method::PUT, JSON, named),
    ] {
        assert!(again(&answer(504, "Timeout", "too late"), &twice), "{}", twice.method);
        assert!(!again(&answer(403, "Forbidden", "no"), &twice), "{}", twice.method);
    }
}

#[test]
fn attack_33_the_field_manager_alone_proves_nothing() {
    let object = |data: &str| {
        json!({"metadata": {"name": "one", "creationTimestamp": "2026-01-01T00:00:10Z",
            "managedFields": [{"manager": "quorate"}]}, "data": {"of": data}})
    };
    let approved = object("approved");
    let attempt = Attempt {
        operation: Operation::Create,
        group: "",
        version: "v1",
        resource: "configmaps",
        subresource: "",
        kind: "ConfigMap",
        namespace: Some("shop"),
        namespace_labels: &BTreeMap::new(),
        name: "one",
        object: Some(&approved),
        old_object: None,
        request: None,
        user: &crate::api::Actor::default(),
    };
    let (held, _): (Held, _) = held(&attempt, &[], Vec::new(), b"key");
    let (before, after) = ("2026-01-01T00:00:00Z".parse().ok(), "2026-01-01T00:00:20Z".parse().ok());
    assert!(was_made(&held, &approved, before, b"key"));
    assert!(!was_made(&held, &object("something else"), before, b"key"), "what is there is not what was approved");
    assert!(!was_made(&held, &approved, after, b"key"), "it was there before anybody asked");
}
