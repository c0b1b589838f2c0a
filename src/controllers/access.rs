//! What the API server's authorizer allows somebody.

use crate::api::Actor;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

/// Whether somebody may do that, by username, uid and groups.
///
/// # Errors
/// When the API server does not answer.
pub async fn allowed(client: &Client, actor: &Actor, attributes: ResourceAttributes) -> kube::Result<bool> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(actor.username.clone()),
            uid: Some(actor.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(actor.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed && !status.denied.unwrap_or(false)))
}

/// A verb on an `ApprovalProcess`.
#[must_use]
pub fn on_process(process: &str, verb: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some("quorate.dev".to_owned()),
        resource: Some("approvalprocesses".to_owned()),
        name: Some(process.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}
