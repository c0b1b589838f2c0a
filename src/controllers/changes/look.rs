//! Looks at a change that somebody wrote by hand, before anybody is asked: what it is to the API server, whether the requester may
//! do it, what it would come to, and who must agree.

use super::execute::{self, APPLY, Call, JSON, JSON_PATCH, MERGE_PATCH, told};
use super::{Error, digest_key};
use crate::api::{
    Actor, ApprovalProcess, Change, ChangeOperation, ChangeRequest, ExecutionMode, Held, Operation, PlannedProcess,
};
use crate::change::facts::{Found, Look};
use crate::change::{Attempt, Selection, held, select};
use crate::controllers::readiness::{candidates, known};
use crate::controllers::{Context, access, evaluate};
use crate::engine::activity::plain_name;
use http::Method;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, oneshot};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest request, in bytes, whose objects are kept beside it as they are and as they are to be.
const LARGE: usize = 256 * 1024;

/// The object of a change, as the API server serves it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kind.
    pub resource: ApiResource,
    /// Its namespace; none outside of namespaces.
    pub namespace: Option<String>,
    /// Its name; empty where the server makes one up.
    pub name: String,
    /// The subresource; empty for the object itself.
    pub subresource: String,
}

impl Place {
    /// The place of what the gate held.
    #[must_use]
    pub fn held(held: &Held) -> Self {
        let gvk = GroupVersionKind::gvk(&held.group, &held.version, &held.kind);
        Self {
            resource: ApiResource::from_gvk_with_plural(&gvk, &held.resource),
            namespace: Some(held.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: if held.generated_name { String::new() } else { held.name.clone() },
            subresource: held.subresource.clone(),
        }
    }

    /// The path of the collection, for an object that is to be made; else that of the object.
    #[must_use]
    pub fn path(&self, creates: bool) -> String {
        let collection = DynamicObject::url_path(&self.resource, self.namespace.as_deref());
        match (creates && self.subresource.is_empty(), self.subresource.as_str()) {
            (true, _) => collection,
            (false, "") => format!("{collection}/{}", self.name),
            (false, subresource) => format!("{collection}/{}/{subresource}", self.name),
        }
    }

    fn shown(&self) -> String {
        let group = if self.resource.group.is_empty() { String::new() } else { format!(".{}", self.resource.group) };
        let place = self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        format!("{}{group}{place}", self.resource.plural)
    }
}

/// Finds out what a change written by hand is about, and who must agree.
pub async fn look(change: &Change, request: &ChangeRequest, context: &Arc<Context>) -> Result<Look, Error> {
    let Some(requester) = &request.spec.requester else {
        return Ok(Look::Refused("spec.requester is missing".to_owned()));
    };
    if change.do_not_approve && request.spec.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        let why = "doNotApprove needs spec.reason: create it again and say why nobody is to be asked";
        return Ok(Look::Refused(why.to_owned()));
    }
    let place = match place(change, request, context).await? {
        Ok(place) => place,
        Err(why) => return Ok(Look::Refused(why)),
    };
    let asked = request.spec.execution.as_ref().and_then(|execution| execution.mode);
    let impersonates = context.options.automatic && asked != Some(ExecutionMode::OnRetry);
    let old = current(&place, requester, impersonates, context).await?;
    if let Some(why) = denied(change, &place, old.is_some(), requester, context).await? {
        return Ok(Look::Refused(why));
    }
    let object = if impersonates {
        let call = call(change, &place, old.as_ref(), None);
        match execute::send(&call, requester, true, context).await {
            Ok(object) => (change.operation != ChangeOperation::Delete).then_some(object),
            Err(error) if !execute::is_passing(&error) => {
                return Ok(Look::Refused(format!("the API server refuses it: {}", told(&error))));
            }
            Err(source) => return Err(Error::Api { name: request.name_any(), source }),
        }
    } else {
        as_written(change, &place, old.as_ref())
    };
    let labels = match &place.namespace {
        None => BTreeMap::new(),
        Some(name) => match labels_of(name, context).await? {
            Some(labels) => labels,
            None => return Ok(Look::Refused(format!("there is no namespace {name}"))),
        },
    };
    match choose(change, &place, requester, object.clone(), old, labels, context).await? {
        Err(why) => Ok(Look::Held(why)),
        Ok(mut found) => {
            if change.do_not_approve
                && let Some(why) = may_not_bypass(&found.processes, requester, context).await?
            {
                return Ok(Look::Refused(why));
            }
            // A request that is large already has no room for copies.
            let size = serde_json::to_vec(&request.spec).map_or(usize::MAX, |text| text.len());
            let open = found.held.as_ref().is_some_and(|held| held.redact.is_empty());
            if size > LARGE {
                found.object = None;
                if let Some(held) = &mut found.held {
                    held.old_object = None;
                }
            } else if change.operation == ChangeOperation::Patch && found.object.is_none() && open {
                let metadata = json!({"name": place.name, "namespace": place.namespace});
                let (version, kind) = (&place.resource.api_version, &place.resource.kind);
                found.object =
                    Some(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "patch": change.patch}));
            }
            Ok(Look::Found(Box::new(found)))
        }
    }
}

/// What the API server calls the object of a change written by hand; else what is wrong with it, for people.
pub async fn place(
    change: &Change,
    request: &ChangeRequest,
    context: &Context,
) -> Result<Result<Place, String>, Error> {
    // Rules of the CRD cannot see a field that may hold anything.
    if (change.operation == ChangeOperation::Patch) != change.patch.is_some() {
        return Ok(Err("patch goes with operation Patch, and that needs it".to_owned()));
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let field = |object: &Value, name: &str| text(object["metadata"].get(name));
    let (api_version, kind, namespace, name) = match (&change.object, &change.target) {
        (Some(object), _) => (
            text(object.get("apiVersion")),
            text(object.get("kind")),
            field(object, "namespace"),
            field(object, "name"),
        ),
        (None, Some(target)) => {
            let namespace = target.namespace.clone().unwrap_or_default();
            (target.api_version.clone(), target.kind.clone(), namespace, target.name.clone())
        }
        (None, None) => return Ok(Err("it has neither object nor target".to_owned())),
    };
    let at = if change.object.is_some() { "object" } else { "target" };
    if api_version.is_empty() || kind.is_empty() {
        return Ok(Err(format!("{at}.apiVersion and {at}.kind are needed")));
    }
    let generates = change.operation == ChangeOperation::Create
        && change.object.as_ref().is_some_and(|object| !field(object, "generateName").is_empty());
    if name.is_empty() && !generates {
        return Ok(Err(format!("{at}.metadata.name is missing")));
    }
    // They become parts of a path that is asked for with rights that the requester may not have.
    let parts = [("kind", &kind), ("namespace", &namespace), ("name", &name)];
    let odd = parts.into_iter().find(|(_, text)| !text.is_empty() && !plain_name(text));
    if let Some((field, text)) = odd {
        return Ok(Err(format!("{at}: {field} {text:?} is no such name")));
    }
    if api_version.split('/').count() > 2 || !api_version.split('/').all(plain_name) {
        return Ok(Err(format!("{at}.apiVersion {api_version:?} is no such as v1 or apps/v1")));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let unknown = || Ok(Err(format!("the API server knows no {kind} of {api_version}")));
    let (resource, capabilities) =
        match oneshot::pinned_kind(&context.client, &GroupVersionKind::gvk(group, version, &kind)).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return unknown(),
            Err(kube::Error::Api(status)) if status.is_not_found() => return unknown(),
            Err(source) => return Err(Error::Api { name: request.name_any(), source }),
        };
    let namespace = match capabilities.scope {
        Scope::Cluster => None,
        Scope::Namespaced if namespace.is_empty() => request.namespace(),
        Scope::Namespaced => Some(namespace),
    };
    // Whoever administers a namespace administers what is approved in it: for its own objects alone.
    let home = &context.options.namespace;
    if request.namespace().as_ref() != Some(home) && namespace != request.namespace() {
        let place = namespace.map_or_else(|| "outside of namespaces".to_owned(), |namespace| format!("in {namespace}"));
        let own = request.namespace().unwrap_or_default();
        return Ok(Err(format!(
            "{at} is {place}, and this request in {own}: ask in the namespace of the object, or in {home} for what is outside of namespaces or in several"
        )));
    }
    Ok(Ok(Place { resource, namespace, name, subresource: String::new() }))
}

/// The object as it is now, as far as it may be read: in the name of the requester, or as the operator.
async fn current(
    place: &Place,
    requester: &Actor,
    impersonates: bool,
    context: &Context,
) -> Result<Option<Value>, Error> {
    if place.name.is_empty() {
        return Ok(None);
    }
    let read = if impersonates {
        let call = Call { method: Method::GET, path: place.path(false), content_type: JSON, body: Value::Null };
        execute::send(&call, requester, false, context).await.map(Some)
    } else {
        // What the operator may read is shown to the requester only where they may read it themselves.
        let attributes = ResourceAttributes {
            group: Some(place.resource.group.clone()),
            version: Some(place.resource.version.clone()),
            resource: Some(place.resource.plural.clone()),
            namespace: place.namespace.clone(),
            name: Some(place.name.clone()),
            verb: Some("get".to_owned()),
            ..ResourceAttributes::default()
        };
        if !allowed(requester, attributes, context).await? {
            return Ok(None);
        }
        read(place, context).await
    };
    match read {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_forbidden() => Ok(None),
        Err(source) => Err(Error::Api { name: place.name.clone(), source }),
    }
}

/// The object as it is now, read by the operator.
pub async fn read(place: &Place, context: &Context) -> kube::Result<Option<Value>> {
    let request = http::Request::get(place.path(false)).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match context.client.request::<Value>(request).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn labels_of(namespace: &str, context: &Context) -> Result<Option<BTreeMap<String, String>>, Error> {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api.get_opt(namespace).await;
    let found = found.map_err(|source| Error::Api { name: namespace.to_owned(), source })?;
    Ok(found.map(|namespace| namespace.labels().clone()))
}

/// Why the requester may not do it, as the API server's authorizer says; none when they may.
async fn denied(
    change: &Change,
    place: &Place,
    exists: bool,
    requester: &Actor,
    context: &Context,
) -> Result<Option<String>, Error> {
    let verbs: &[&str] = match change.operation {
        ChangeOperation::Create => &["create"],
        // Server-side apply is a patch, and needs the right to create as well where there is nothing yet.
        ChangeOperation::Apply if exists => &["patch"],
        ChangeOperation::Apply => &["patch", "create"],
        ChangeOperation::Update => &["update"],
        ChangeOperation::Patch => &["patch"],
        ChangeOperation::Delete => &["delete"],
    };
    for verb in verbs {
        let attributes = ResourceAttributes {
            group: Some(place.resource.group.clone()),
            version: Some(place.resource.version.clone()),
            resource: Some(place.resource.plural.clone()),
            namespace: place.namespace.clone(),
            name: Some(place.name.clone()).filter(|name| *verb != "create" && !name.is_empty()),
            verb: Some((*verb).to_owned()),
            ..ResourceAttributes::default()
        };
        if !allowed(requester, attributes, context).await? {
            return Ok(Some(format!("{} may not {verb} {}: nobody was asked", requester.username, place.shown())));
        }
    }
    Ok(None)
}

/// Which of the processes does not let the requester pass without approval; none when all do.
async fn may_not_bypass(
    planned: &[PlannedProcess],
    requester: &Actor,
    context: &Context,
) -> Result<Option<String>, Error> {
    for PlannedProcess { name, .. } in planned {
        let process = context.processes.get(&kube::runtime::reflector::ObjectRef::<ApprovalProcess>::new(name));
        let lets = process.is_some_and(|process| process.spec.bypass.as_ref().is_some_and(|bypass| bypass.permission));
        if !lets {
            return Ok(Some(format!(
                "ApprovalProcess {name} lets nobody pass without approval (spec.bypass.permission): leave doNotApprove out"
            )));
        }
        if !allowed(requester, access::on_process(name, "bypass"), context).await? {
            return Ok(Some(format!(
                "{} may not bypass ApprovalProcess {name}: leave doNotApprove out",
                requester.username
            )));
        }
    }
    Ok(None)
}

async fn allowed(actor: &Actor, attributes: ResourceAttributes, context: &Context) -> Result<bool, Error> {
    let allowed = access::allowed(&context.client, actor, attributes).await;
    allowed.map_err(|source| Error::Api { name: actor.username.clone(), source })
}

/// The request that carries a change out. `uid` is that of the very object that is to be deleted.
#[must_use]
pub fn call(change: &Change, place: &Place, current: Option<&Value>, uid: Option<&str>) -> Call {
    let object = || {
        let mut object = change.object.clone().unwrap_or_default();
        if let Some(namespace) = &place.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    };
    let (method, content_type, body) = match change.operation {
        ChangeOperation::Create => (Method::POST, JSON, object()),
        ChangeOperation::Apply => (Method::PATCH, APPLY, object()),
        ChangeOperation::Update => {
            let mut object = object();
            // Whoever names a version means it; else it is written over what is there.
            if object["metadata"]["resourceVersion"].is_null()
                && let Some(current) = current
            {
                object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
            }
            (Method::PUT, JSON, object)
        }
        ChangeOperation::Patch => {
            let patch = change.patch.clone().unwrap_or_default();
            (Method::PATCH, if patch.is_array() { JSON_PATCH } else { MERGE_PATCH }, patch)
        }
        ChangeOperation::Delete => {
            let body =
                uid.map(|uid| json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}));
            (Method::DELETE, JSON, body.unwrap_or_default())
        }
    };
    Call { method, path: place.path(change.operation == ChangeOperation::Create), content_type, body }
}

/// What a change comes to, as far as that can be told without the API server.
fn as_written(change: &Change, place: &Place, old: Option<&Value>) -> Option<Value> {
    match (&change.object, &change.patch, old) {
        (Some(object), _, _) => {
            let mut object = object.clone();
            if let Some(namespace) = &place.namespace {
                object["metadata"]["namespace"] = json!(namespace);
            }
            Some(object)
        }
        (None, Some(patch), Some(old)) if patch.is_object() => {
            let mut object = old.clone();
            merge(&mut object, patch);
            Some(object)
        }
        _ => None,
    }
}

/// RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(key));
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// The processes that must agree, and the request as the gate would see it; else what keeps it, for people. The conditions run off
/// the async threads and within a limit of time.
async fn choose(
    change: &Change,
    place: &Place,
    requester: &Actor,
    object: Option<Value>,
    old: Option<Value>,
    labels: BTreeMap<String, String>,
    context: &Arc<Context>,
) -> Result<Result<Found, String>, Error> {
    let known = known(context.processes.state(), context);
    let (place, requester, key) = (place.clone(), requester.clone(), digest_key(context));
    let operation = match change.operation {
        ChangeOperation::Create => Operation::Create,
        ChangeOperation::Apply if old.is_none() => Operation::Create,
        ChangeOperation::Apply | ChangeOperation::Update | ChangeOperation::Patch => Operation::Update,
        ChangeOperation::Delete => Operation::Delete,
    };
    let evaluation = evaluate(move || {
        let candidates = candidates(&known);
        let attempt = Attempt {
            operation,
            group: &place.resource.group,
            version: &place.resource.version,
            resource: &place.resource.plural,
            subresource: "",
            kind: &place.resource.kind,
            namespace: place.namespace.as_deref(),
            namespace_labels: &labels,
            name: &place.name,
            object: object.as_ref(),
            old_object: old.as_ref().filter(|_| operation != Operation::Create),
            user: &requester,
            request: None,
        };
        let planned = match select(&candidates, &attempt) {
            Selection::Nobody | Selection::Skip(_) => Vec::new(),
            Selection::Ask(planned) => planned,
            Selection::Hold { process, why } => return Err(format!("ApprovalProcess {process}: {why}")),
        };
        let gates = crate::change::select::gates(&candidates, &planned);
        let (held, object) = held(&attempt, &gates, Vec::new(), &key);
        Ok(Found { processes: planned, held: Some(held), object })
    });
    evaluation.await.map_err(|why| Error::Evaluation { name: change.name.clone(), why })
}

#[cfg(test)]
mod tests {
    use super::merge;
    use serde_json::json;

    #[test]
    fn a_merge_patch_removes_what_is_null() {
        let mut object = json!({"spec": {"replicas": 1, "paused": true}, "data": {"a": "1"}});
        merge(&mut object, &json!({"spec": {"paused": null, "replicas": 2}, "data": "x"}));
        assert_eq!(object, json!({"spec": {"replicas": 2}, "data": "x"}));
    }
}
