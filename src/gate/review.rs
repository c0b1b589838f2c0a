//! What the API server asks the gate, and what it is answered: `AdmissionReview`, as far as the gate reads it.

use crate::api::{Actor, Operation};
use crate::change::Attempt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The API version of reviews.
const API_VERSION: &str = "admission.k8s.io/v1";

/// A review with a question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Question>,
}

/// One operation that the API server wants judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// What the answer repeats.
    pub uid: String,
    /// The kind of the object.
    pub kind: Kind,
    /// The resource.
    pub resource: Resource,
    /// The subresource; empty for the object itself.
    #[serde(default)]
    pub sub_resource: String,
    /// The name; empty where the server makes one up, and when a collection is deleted.
    #[serde(default)]
    pub name: String,
    /// The namespace; empty outside of namespaces.
    #[serde(default)]
    pub namespace: String,
    /// CREATE, UPDATE, DELETE, CONNECT.
    pub operation: String,
    /// Who asks.
    pub user_info: User,
    /// The object as it is to be.
    #[serde(default)]
    object: Value,
    /// The object as it is.
    #[serde(default)]
    old_object: Value,
    /// Whether nothing will be written.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// A kind.
#[derive(Clone, Debug, Deserialize)]
pub struct Kind {
    /// Its name.
    pub kind: String,
}

/// A resource.
#[derive(Clone, Debug, Deserialize)]
pub struct Resource {
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural.
    pub resource: String,
}

/// A user, as the API server authenticated them.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// The username.
    #[serde(default)]
    pub username: String,
    /// The uid.
    #[serde(default)]
    pub uid: String,
    /// The groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Question {
    /// Reads what was posted.
    ///
    /// # Errors
    /// Why it is no question that the gate can answer.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let review: Review = serde_json::from_slice(body).map_err(|error| format!("no AdmissionReview: {error}"))?;
        if (review.api_version.as_str(), review.kind.as_str()) != (API_VERSION, "AdmissionReview") {
            return Err(format!("{} {} is no AdmissionReview of {API_VERSION}", review.api_version, review.kind));
        }
        let mut question = review.request.ok_or("the AdmissionReview has no request")?;
        question.complete();
        Ok(question)
    }

    /// Deleting a collection leaves the name out; where the server makes one up it is in the object already, and means nothing.
    fn complete(&mut self) {
        let generates = self.operation == "CREATE" && self.object["metadata"]["generateName"].is_string();
        if self.name.is_empty() && !generates {
            let named = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
            self.name = named(&self.old_object).or_else(|| named(&self.object)).unwrap_or_default();
        }
    }

    /// Who asks.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let User { username, uid, groups } = self.user_info.clone();
        Actor { username, uid, groups }
    }

    /// The name that the server made up for an object that is created; it may make up another one.
    #[must_use]
    pub fn generated_name(&self) -> Option<String> {
        self.name.is_empty().then(|| self.object["metadata"]["name"].as_str().map(str::to_owned)).flatten()
    }

    /// Whether nothing will be written.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or_default()
    }

    /// The question as an attempt of `user` in a namespace with these labels; none for operations that are never gated.
    #[must_use]
    pub fn attempt<'a>(
        &'a self,
        user: &'a Actor,
        namespace_labels: &'a BTreeMap<String, String>,
    ) -> Option<Attempt<'a>> {
        let operation = match self.operation.as_str() {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => return None,
        };
        // A Namespace names itself as the namespace that it is in.
        let is_namespace = self.resource.group.is_empty() && self.resource.resource == "namespaces";
        let some = |object: &'a Value| (!object.is_null()).then_some(object);
        Some(Attempt {
            operation,
            group: &self.resource.group,
            version: &self.resource.version,
            resource: &self.resource.resource,
            subresource: &self.sub_resource,
            kind: &self.kind.kind,
            namespace: Some(self.namespace.as_str()).filter(|name| !name.is_empty() && !is_namespace),
            namespace_labels,
            name: &self.name,
            object: some(&self.object),
            old_object: some(&self.old_object),
            user,
        })
    }
}

/// What the API server is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The operation goes on; people are shown the warnings.
    Allow(Vec<String>),
    /// It is refused, with this message.
    Refuse(String),
}

/// How long a warning may be: Kubernetes cuts longer ones.
const WARNING: usize = 256;

impl Answer {
    /// The review that is sent back.
    #[must_use]
    pub fn review(&self, uid: &str) -> Value {
        let response = match self {
            Self::Allow(warnings) => {
                let warnings = warnings.iter().map(|warning| crate::change::differences::cut(warning.clone(), WARNING));
                json!({"uid": uid, "allowed": true, "warnings": warnings.collect::<Vec<_>>()})
            }
            Self::Refuse(message) => {
                let status = json!({"code": 403, "reason": "Forbidden", "message": message});
                json!({"uid": uid, "allowed": false, "status": status})
            }
        };
        json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})
    }
}
