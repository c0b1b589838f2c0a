//! Whether the gate of a process is about an operation: the operation, the resource, the fields, who, and where. Everything but
//! its expressions.

use super::payload;
use crate::api::{Actor, GateEvent, GroupResources, Initiators, LabelOperator, Namespaces, Operation};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One operation on one object, as admission shows it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What is done.
    pub operation: Operation,
    /// The API group; empty for the core.
    pub group: &'a str,
    /// The version of the object.
    pub version: &'a str,
    /// The resource in the plural.
    pub resource: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The kind of the object (that of `scale` is `Scale`).
    pub kind: &'a str,
    /// The namespace; none outside of namespaces.
    pub namespace: Option<&'a str>,
    /// Its labels.
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// The name; empty where the server makes one up.
    pub name: &'a str,
    /// The object as it is to be; none for DELETE.
    pub object: Option<&'a Value>,
    /// The object as it is; none for CREATE.
    pub old_object: Option<&'a Value>,
    /// Who asks.
    pub user: &'a Actor,
    /// What the API server shows to conditions as `request`; none where nobody asked it yet.
    pub request: Option<&'a Value>,
}

/// The subresources by which an object itself is changed: a resource stands for them too. What creates `eviction` deletes.
pub const CHANGING: [&str; 7] =
    ["scale", "status", "approval", "resize", "ephemeralcontainers", "finalize", "eviction"];

/// The subresources by which controllers follow what somebody else did.
pub const FOLLOWING: [&str; 2] = ["status", "finalize"];

/// Accounts of Kubernetes' own controllers: what they remove follows from what somebody else did.
pub const CONTROLLERS: [&str; 3] = ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"];
/// The groups of such accounts.
pub const CONTROLLER_GROUPS: [&str; 2] = ["system:serviceaccounts:kube-system", "system:nodes"];

impl Attempt<'_> {
    /// Whether something is removed by it: deletion, and eviction, which is created.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.operation == Operation::Delete || self.evicts()
    }

    fn evicts(&self) -> bool {
        self.subresource == "eviction" && self.operation == Operation::Create
    }

    /// Whether other owners would have the object removed.
    #[must_use]
    pub fn changes_owners(&self) -> bool {
        let owners = |object: Option<&Value>| {
            let owners = object.map(|object| object["metadata"]["ownerReferences"].clone()).unwrap_or_default();
            if owners.is_null() { json!([]) } else { owners }
        };
        self.operation == Operation::Update && owners(self.object) != owners(self.old_object)
    }

    /// Whether a controller of Kubernetes removes it, after its owner or its namespace, or says how it stands: some write notes
    /// for themselves into annotations with that.
    #[must_use]
    fn cleans_up(&self) -> bool {
        let groups = &self.user.groups;
        (self.removes() || self.changes_owners() || FOLLOWING.contains(&self.subresource))
            && (CONTROLLERS.contains(&self.user.username.as_str())
                || groups.iter().any(|group| CONTROLLER_GROUPS.contains(&group.as_str())))
    }

    /// Whether an object that is being deleted only has fewer finalizers after it: that finishes what was agreed to before, or
    /// follows from it.
    fn finishes(&self, ignored: &[String]) -> bool {
        let (Some(old), Some(new)) = (self.old_object, self.object) else { return false };
        let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let before = finalizers(old);
        if old["metadata"]["deletionTimestamp"].is_null() || !finalizers(new).iter().all(|one| before.contains(one)) {
            return false;
        }
        let others: Vec<String> = ignored.iter().cloned().chain(["/metadata/finalizers".to_owned()]).collect();
        !payload::changes_something(self, &others)
    }

    /// The namespace whose name and labels count: that of the object, or the object itself when it is one.
    fn place(&self) -> Option<(&str, BTreeMap<String, String>)> {
        if (self.group, self.resource) != ("", "namespaces") {
            return self.namespace.map(|name| (name, self.namespace_labels.clone()));
        }
        let object = self.old_object.or(self.object)?;
        Some((self.name, labels(object)))
    }
}

/// The labels of an object.
#[must_use]
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether a gate is about an attempt, its conditions aside.
#[must_use]
pub fn covers(gate: &GateEvent, attempt: &Attempt<'_>) -> bool {
    gate.resources.iter().any(|resources| covers_resource(resources, attempt))
        && covers_operation(gate, attempt)
        && covers_initiator(gate.initiators.as_ref(), attempt)
        && gate.namespaces.as_ref().is_none_or(|namespaces| covers_place(namespaces, attempt))
}

fn covers_resource(resources: &GroupResources, attempt: &Attempt<'_>) -> bool {
    let covers = |covered: &String| match covered.split_once('/') {
        Some((resource, subresource)) => (resource, subresource) == (attempt.resource, attempt.subresource),
        None => {
            covered == attempt.resource && (attempt.subresource.is_empty() || CHANGING.contains(&attempt.subresource))
        }
    };
    resources.api_groups.iter().any(|group| group == attempt.group) && resources.resources.iter().any(covers)
}

/// Whether a gate names this subresource by itself, and not only the resource it belongs to.
#[must_use]
pub fn names_subresource(gate: &GateEvent, attempt: &Attempt<'_>) -> bool {
    let whole = format!("{}/{}", attempt.resource, attempt.subresource);
    gate.resources.iter().any(|resources| {
        resources.api_groups.iter().any(|group| group == attempt.group) && resources.resources.contains(&whole)
    })
}

fn covers_operation(gate: &GateEvent, attempt: &Attempt<'_>) -> bool {
    let asked = |operation| gate.operations.contains(&operation);
    match attempt.operation {
        Operation::Create if attempt.evicts() => {
            asked(Operation::Delete) || (asked(Operation::Create) && names_subresource(gate, attempt))
        }
        // Whatever else is created below an object that is there changes it.
        Operation::Create if !attempt.subresource.is_empty() => {
            asked(Operation::Update) || (asked(Operation::Create) && names_subresource(gate, attempt))
        }
        Operation::Create => asked(Operation::Create),
        Operation::Delete => asked(Operation::Delete),
        Operation::Update => {
            let ignored = payload::ignored(std::slice::from_ref(&gate), attempt);
            payload::changes_something(attempt, &ignored)
                && !attempt.finishes(&ignored)
                && ((asked(Operation::Update) && changes_field(gate, attempt))
                    || (asked(Operation::Delete) && attempt.changes_owners()))
        }
    }
}

fn changes_field(gate: &GateEvent, attempt: &Attempt<'_>) -> bool {
    let (Some(old), Some(new)) = (attempt.old_object, attempt.object) else { return true };
    let differs = |path: &str| field(old, path) != field(new, path);
    gate.fields.is_empty()
        || gate.fields.iter().any(|path| {
            differs(path)
                // A custom resource says itself which of its fields its scale stands for: any below spec may be.
                || (attempt.subresource == "scale"
                    && attempt.group.contains('.')
                    && segments(path)[0] == "spec"
                    && differs("spec.replicas"))
        })
}

/// The fields whose keys may have dots: below them the rest of a path is one key.
const FREE_KEYS: [&str; 3] = ["data", "stringData", "binaryData"];

/// Maps whose keys often have dots, though other kinds have fields of those names.
const DOTTED: [&str; 2] = ["nodeSelector", "matchLabels"];

/// The keys that a path leads through: `spec.replicas`, `metadata.labels.example.com/tier`, or a JSON pointer
/// (`/spec/nodeSelector/kubernetes.io~1arch`).
#[must_use]
pub fn segments(path: &str) -> Vec<String> {
    if let Some(pointer) = path.strip_prefix('/') {
        return pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    }
    let plain: Vec<&str> = path.split('.').collect();
    // Those of the object itself, and of a template in it.
    let labelled =
        plain.windows(2).position(|keys| keys[0] == "metadata" && ["labels", "annotations"].contains(&keys[1]));
    let free = labelled.map(|at| at + 2).or(FREE_KEYS.contains(&plain[0]).then_some(1));
    path.splitn(free.map_or(plain.len(), |free| free + 1), '.').map(str::to_owned).collect()
}

/// Why no difference would ever be seen at a path; `status` tells whether the status counts.
#[must_use]
pub fn path_fault(path: &str, status: bool) -> Option<&'static str> {
    let keys = segments(path);
    if keys.iter().any(String::is_empty) {
        return Some("has an empty key; write spec.replicas, or a JSON pointer such as /spec/replicas");
    }
    if keys[0] == "status" && !status {
        return Some(
            "is of the status, which is not gated with the object: name the subresource in resources, as deployments/status",
        );
    }
    if path.starts_with('/') {
        let escaped = path.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        return (!escaped).then_some("is no JSON pointer: ~ is written ~0, and / in a key ~1");
    }
    let free = |at: usize| {
        FREE_KEYS.contains(&keys[0].as_str())
            || (at > 1 && keys[at - 2] == "metadata" && ["labels", "annotations"].contains(&keys[at - 1].as_str()))
    };
    let slash = keys.iter().enumerate().any(|(at, key)| key.contains('/') && !free(at));
    let dotted = keys.iter().position(|key| DOTTED.contains(&key.as_str())).is_some_and(|at| keys.len() > at + 2);
    (slash || dotted).then_some(
        "seems to have a key with dots: write it as a JSON pointer, as /spec/nodeSelector/kubernetes.io~1arch",
    )
}

/// What is at a path; a list on the way is taken whole.
#[must_use]
pub fn field<'a>(object: &'a Value, path: &str) -> &'a Value {
    let mut at = object;
    for key in segments(path) {
        match at {
            Value::Object(fields) => at = fields.get(&key).unwrap_or(&Value::Null),
            Value::Array(_) => return at,
            _ => return &Value::Null,
        }
    }
    at
}

fn covers_initiator(initiators: Option<&Initiators>, attempt: &Attempt<'_>) -> bool {
    let named = |users: &[String], groups: &[String], accounts: &[String]| {
        let account = attempt.user.username.strip_prefix("system:serviceaccount:").unwrap_or_default();
        users.contains(&attempt.user.username)
            || attempt.user.groups.iter().any(|group| groups.contains(group))
            || accounts.iter().any(|named| named.replacen('/', ":", 1) == account)
    };
    let Some(initiators) = initiators else { return !attempt.cleans_up() };
    let Initiators { users, groups, service_accounts, exclude } = initiators;
    let excluded = exclude.as_ref();
    if excluded.is_some_and(|excluded| named(&excluded.users, &excluded.groups, &excluded.service_accounts)) {
        return false;
    }
    if users.is_empty() && groups.is_empty() && service_accounts.is_empty() {
        return !attempt.cleans_up();
    }
    named(users, groups, service_accounts)
}

fn covers_place(namespaces: &Namespaces, attempt: &Attempt<'_>) -> bool {
    attempt.place().is_some_and(|(name, labels)| takes(namespaces, name, &labels))
}

/// Whether a selection of namespaces takes one of this name with these labels.
#[must_use]
pub fn takes(namespaces: &Namespaces, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let Namespaces { names, match_labels, match_expressions } = namespaces;
    if !names.is_empty() {
        return names.iter().any(|named| named == name);
    }
    let holds = |key: &str, operator: LabelOperator, values: &[String]| {
        let value = labels.get(key);
        match operator {
            LabelOperator::In => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    };
    match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && match_expressions.iter().all(|asked| holds(&asked.key, asked.operator, &asked.values))
}
