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
    request: Option<Value>,
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
    /// The name that the server made up for an object that is created; it may make up another one. `name` is empty then.
    #[serde(skip)]
    pub generated_name: Option<String>,
    /// The question as the API server shows it to conditions under the name `request`: without the objects.
    #[serde(skip)]
    shown: Value,
}

/// How many characters the server makes up at the end of a name, and of which: too few to write words with.
const MADE_UP: usize = 5;
/// Where it cuts longer prefixes.
const LONGEST_PREFIX: usize = 58;
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";

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
        let request = review.request.ok_or("the AdmissionReview has no request")?;
        let shown = request.as_object().into_iter().flatten();
        let shown = shown.filter(|(field, _)| !["uid", "object", "oldObject"].contains(&field.as_str()));
        let shown = shown.map(|(field, value)| (field.clone(), value.clone())).collect();
        let question = serde_json::from_value(request).map_err(|error| format!("no AdmissionReview: {error}"))?;
        let mut question = Self { shown, ..question };
        question.complete();
        Ok(question)
    }

    /// Deleting a collection leaves the name out; a name that the server makes up is there already, and means nothing.
    fn complete(&mut self) {
        let text = |object: &Value, field: &str| object["metadata"][field].as_str().map(str::to_owned);
        if self.name.is_empty() {
            let named = text(&self.old_object, "name").or_else(|| text(&self.object, "name"));
            self.name = named.unwrap_or_default();
        }
        if self.operation == "CREATE"
            && let Some(prefix) = text(&self.object, "generateName").filter(|prefix| !prefix.is_empty())
            && is_made_up(&prefix, &self.name)
        {
            self.generated_name = Some(std::mem::take(&mut self.name));
        }
    }

    /// Who asks.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let User { username, uid, groups } = self.user_info.clone();
        Actor { username, uid, groups }
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
            request: Some(&self.shown),
        })
    }
}

/// Whether the server may have made this name of that prefix, which it cuts where it is long. Who writes such a name by hand is
/// granted no more than the prefix was approved for.
fn is_made_up(prefix: &str, name: &str) -> bool {
    let (Some(start), Some(end)) =
        (name.get(..name.len().saturating_sub(MADE_UP)), name.get(name.len().saturating_sub(MADE_UP)..))
    else {
        return false;
    };
    end.len() == MADE_UP
        && (start == prefix || prefix.get(..LONGEST_PREFIX) == Some(start))
        && !start.is_empty()
        && end.chars().all(|made| ALPHABET.contains(made))
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

#[cfg(test)]
mod tests {
    use super::{Answer, Question, is_made_up};
    use crate::api::Actor;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    #[allow(clippy::needless_pass_by_value, reason = "it is written at the call: read(json!(…))")]
    fn read(request: Value) -> Result<Question, String> {
        let mut whole = json!({"uid": "one", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"}, "operation": "CREATE", "userInfo": {}});
        whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": whole});
        Question::read(review.to_string().as_bytes())
    }

    #[test]
    fn attack_43_what_is_no_question_is_refused() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"apiVersion":"v1","kind":"AdmissionReview"}"#,
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        ] {
            assert!(Question::read(body.as_bytes()).is_err(), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Question::read(deep.as_bytes()).is_err(), "attack 37: deep nesting ends soon");
    }

    #[test]
    fn attack_14_a_made_up_name_means_nothing_and_a_written_one_does() {
        let create = |prefix: &str, name: &str| {
            let object = json!({"metadata": {"generateName": prefix, "name": name}});
            let question = read(json!({"name": name, "object": object})).unwrap();
            (question.name, question.generated_name)
        };
        assert_eq!(create("web-", "web-b2c4d"), (String::new(), Some("web-b2c4d".to_owned())));
        assert_eq!(create("web-", "web-admin"), ("web-admin".to_owned(), None));
        assert_eq!(create("web-", "other-b2c4d"), ("other-b2c4d".to_owned(), None));
        let long = "x".repeat(100);
        assert!(is_made_up(&long, &format!("{}b2c4d", "x".repeat(58))));
        assert!(!is_made_up("web-", "b2c4d") && !is_made_up("web-", ""));
        assert!(!is_made_up("web-server-", "web-b2c4d") && !is_made_up(&long, &format!("{}b2c4d", "x".repeat(57))));
    }

    #[test]
    fn r26_conditions_see_the_request_as_it_was_sent() {
        let old = json!({"metadata": {"name": "web"}});
        let sent = json!({"operation": "DELETE", "oldObject": old, "dryRun": false, "options": {"kind": "DeleteOptions"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"}});
        let (question, user, labels) = (read(sent).unwrap(), Actor::default(), BTreeMap::new());
        let attempt = question.attempt(&user, &labels).unwrap();
        let shown = attempt.request.unwrap();
        let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["dryRun", "kind", "operation", "options", "requestKind", "resource", "userInfo"]);
    }

    #[test]
    fn a_collection_is_deleted_object_by_object() {
        let old = json!({"metadata": {"name": "web"}});
        assert_eq!(read(json!({"operation": "DELETE", "oldObject": old})).unwrap().name, "web");
    }

    #[test]
    fn a_refusal_is_forbidden_and_a_warning_is_short() {
        let refused = Answer::Refuse("no".to_owned()).review("one");
        assert_eq!(refused["response"]["status"]["code"], 403);
        let warned = Answer::Allow(vec!["x".repeat(1000)]).review("one");
        assert!(warned["response"]["warnings"][0].as_str().unwrap().len() <= 256);
    }
}
