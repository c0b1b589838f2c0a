//! Asks the API server in the name of a requester, by impersonation: to try a change out, and to carry it out.

use crate::api::Actor;
use crate::controllers::Context;
use http::{HeaderValue, Method, Request};
use serde_json::Value;
use std::time::Duration;

/// The field manager of what is carried out.
pub const MANAGER: &str = "quorate";

/// How long one request may take: less than what an attempt is given.
const PATIENCE: Duration = Duration::from_secs(40);

/// One request to the API server.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path of the collection, the object or its subresource.
    pub path: String,
    /// Whether the server is to apply: what it may not do to fields of others it refuses.
    pub content_type: &'static str,
    /// What is sent.
    pub body: Value,
}

/// The content type of whole objects.
pub const JSON: &str = "application/json";
/// The content type of merge patches.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The content type of JSON patches.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// The content type of server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

/// Sends a request as that user.
///
/// # Errors
/// What the API server refused, or that it did not answer.
pub async fn send(call: &Call, actor: &Actor, dry_run: bool, context: &Context) -> kube::Result<Value> {
    let mut query = Vec::new();
    if call.method != Method::GET && call.method != Method::DELETE {
        query.push(format!("fieldManager={MANAGER}"));
    }
    if dry_run {
        query.push("dryRun=All".to_owned());
    }
    let request = Request::builder().method(call.method.clone()).uri(format!("{}?{}", call.path, query.join("&")));
    let body = if call.body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(&call.body).map_err(kube::Error::SerdeError)?
    };
    let mut request = request.header("Content-Type", call.content_type).body(body).map_err(kube::Error::HttpError)?;
    impersonate(&mut request, actor)?;
    let answer = tokio::time::timeout(PATIENCE, context.client.request::<Value>(request)).await;
    answer.map_err(|_| kube::Error::Service("the API server did not answer in time".into()))?
}

/// Names the user in the headers. Of a service account the server knows the groups itself, and takes no others.
fn impersonate(request: &mut Request<Vec<u8>>, actor: &Actor) -> kube::Result<()> {
    let value =
        |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|error| kube::Error::HttpError(error.into()));
    let headers = request.headers_mut();
    headers.insert("Impersonate-User", value(&actor.username)?);
    if actor.username.starts_with("system:serviceaccount:") {
        return Ok(());
    }
    if !actor.uid.is_empty() {
        headers.insert("Impersonate-Uid", value(&actor.uid)?);
    }
    for group in &actor.groups {
        headers.append("Impersonate-Group", value(group)?);
    }
    Ok(())
}

/// Whether the API server may answer otherwise later.
pub fn is_passing(error: &kube::Error) -> bool {
    match error {
        // A conflict that another try does not resolve is told apart by its reason.
        kube::Error::Api(status) => {
            (status.code == 409 && status.reason == "Conflict")
                || status.code == 429
                || status.code >= 500
                // The gate of another replica may not have seen the grant yet.
                || status.message.contains(".gate.quorate.dev\"")
        }
        _ => true,
    }
}

/// What an error says, for people.
pub fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A JSON merge patch that makes one object of the other.
#[must_use]
pub fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch = serde_json::Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(known) if known == value => {}
            Some(known) if known.is_object() && value.is_object() => {
                patch.insert(key.clone(), difference(known, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::difference;
    use serde_json::json;

    #[test]
    fn a_difference_names_what_changes_and_nothing_else() {
        let old = json!({"spec": {"replicas": 1, "paused": true, "template": {"image": "a"}}, "kind": "Deployment"});
        let new = json!({"spec": {"replicas": 2, "template": {"image": "a"}}, "kind": "Deployment"});
        assert_eq!(difference(&old, &new), json!({"spec": {"replicas": 2, "paused": null}}));
    }
}
