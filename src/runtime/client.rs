//! The connection to the API server.

use crate::api::Actor;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use std::time::Duration;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a pod's account was found.
    #[error("no cluster to talk to: {0}; set KUBECONFIG, or run in a pod")]
    Config(#[from] kube::config::InferConfigError),
    /// The configuration cannot be used.
    #[error("the connection cannot be set up: {0}")]
    Client(#[from] kube::Error),
}

/// A watch is closed by the server within five minutes; silence for longer than this is a dead connection.
const SILENCE: Duration = Duration::from_secs(330);

/// Connects as the environment says: `KUBECONFIG`, or the account of the pod.
///
/// # Errors
/// When there is no usable configuration.
pub async fn connect() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    config.read_timeout = Some(SILENCE);
    Ok(Client::try_from(config)?)
}

/// Who the API server takes us for.
///
/// # Errors
/// When it does not answer.
pub async fn who_am_i(client: &Client) -> Result<Actor, kube::Error> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).unwrap_or_default();
    Ok(Actor {
        username: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
    })
}
