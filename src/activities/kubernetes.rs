//! Applies, changes and deletes objects, as the operator and with its rights.

use super::{Activities, Answer};
use crate::engine::activity::{Came, Deed, Target};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Error};
use serde_json::Value;
use std::sync::PoisonError;

/// The field manager of everything that activities apply.
const MANAGER: &str = "quorate";

impl Activities {
    pub(super) async fn apply(&self, object: &Value, force: bool) -> Answer {
        let target = match (Deed::Apply { object: object.clone(), force }).target() {
            Ok(Some(target)) => target,
            Ok(None) => return (Came::Failed, "there is no object".to_owned()),
            Err(why) => return (Came::Failed, why),
        };
        let api = match self.api(&target).await {
            Ok(api) => api,
            Err(answer) => return answer,
        };
        let mut parameters = PatchParams::apply(MANAGER);
        parameters.force = force;
        match api.patch(&target.name, &parameters, &Patch::Apply(object)).await {
            Ok(_) => done("applied", &target),
            Err(error) => answered(&error, &target, "create, patch"),
        }
    }

    pub(super) async fn patch(&self, target: &Target, patch: &Value) -> Answer {
        let api = match self.api(target).await {
            Ok(api) => api,
            Err(answer) => return answer,
        };
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = if patch.is_array() {
            match serde_json::from_value(patch.clone()) {
                Ok(patch) => api.patch(&target.name, &parameters, &Patch::Json::<()>(patch)).await,
                Err(error) => return (Came::Failed, format!("patch.patch is no JSON patch: {error}")),
            }
        } else {
            api.patch(&target.name, &parameters, &Patch::Merge(patch)).await
        };
        match patched {
            Ok(_) => done("changed", target),
            Err(error) => answered(&error, target, "patch"),
        }
    }

    pub(super) async fn delete(&self, target: &Target) -> Answer {
        let api = match self.api(target).await {
            Ok(api) => api,
            Err(answer) => return answer,
        };
        match api.delete(&target.name, &DeleteParams::background()).await {
            Ok(_) => done("deleted", target),
            Err(Error::Api(status)) if status.is_not_found() => done("gone already:", target),
            Err(error) => answered(&error, target, "delete"),
        }
    }

    /// The API of a kind, found by discovery once.
    async fn api(&self, target: &Target) -> Result<Api<DynamicObject>, Answer> {
        let key = (target.api_version.clone(), target.kind.clone());
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (resource, scope) = match known {
            Some(known) => known,
            None => {
                let found = self.discover(target).await?;
                self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
                found
            }
        };
        match (&target.namespace, scope) {
            (Some(namespace), Scope::Namespaced) => Ok(Api::namespaced_with(self.client.clone(), namespace, &resource)),
            (None, Scope::Cluster) => Ok(Api::all_with(self.client.clone(), &resource)),
            (None, Scope::Namespaced) => {
                Err((Came::Failed, format!("the namespace is missing: a {} lives in one", target.kind)))
            }
            (Some(_), Scope::Cluster) => {
                Err((Came::Failed, format!("a {} lives in no namespace; leave it out", target.kind)))
            }
        }
    }

    async fn discover(&self, target: &Target) -> Result<(ApiResource, Scope), Answer> {
        let version = target.api_version.rsplit('/').next().unwrap_or_default();
        let kind = GroupVersionKind::gvk(target.group(), version, &target.kind);
        match pinned_kind(&self.client, &kind).await {
            Ok((resource, capabilities)) => Ok((resource, capabilities.scope)),
            Err(Error::Discovery(_)) => Err(unknown(target)),
            Err(Error::Api(status)) if status.is_not_found() => Err(unknown(target)),
            Err(error) => Err(answered(&error, target, "get")),
        }
    }
}

fn unknown(target: &Target) -> Answer {
    (Came::Failed, format!("the API server knows no {} of {}", target.kind, target.api_version))
}

fn done(what: &str, target: &Target) -> Answer {
    let namespace = target.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    (Came::Done, format!("{what} {} {namespace}{}", target.kind, target.name))
}

/// What the API server's refusal means: whether it is worth another try, and what people are told.
pub(super) fn answered(error: &Error, target: &Target, verbs: &str) -> Answer {
    let Error::Api(status) = error else {
        return (Came::Again, format!("the API server does not answer: {error}"));
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // Somebody else's field stays theirs however often it is asked for.
    let owned = causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict");
    let passing = matches!(status.code, 408 | 409 | 429) || status.code >= 500;
    if passing && !owned {
        return (Came::Again, status.message.clone());
    }
    if owned {
        let hint = "write force: true to take the fields over";
        return (Came::Failed, format!("{}; {hint}", status.message));
    }
    let no_right = status.is_forbidden() && status.message.contains(" cannot ") && status.message.contains("resource");
    if no_right {
        let group = target.group();
        let hint = format!(
            "give the operator {verbs} on the {} of apiGroup \"{group}\" by the chart value activities.rules",
            target.kind
        );
        return (Came::Failed, format!("{}; {hint}", status.message));
    }
    (Came::Failed, status.message.clone())
}
