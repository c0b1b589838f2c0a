//! Carries activities out: what the engine asks the operator to do (requirement R51). It decides nothing: it tries, and says what
//! came of it.
//!
//! - [`endpoints`]: which endpoints there are, by the configuration of the operator alone
//! - `http`: calls one, signed
//! - `kubernetes`: applies, changes and deletes objects
//! - `job`: starts a Job, looks at it, ends it
//!
//! Called by the controller of instances, in tasks of their own: what hangs holds nothing up. A try is bounded by [`PATIENCE`].

pub mod endpoints;
mod http;
mod job;
mod kubernetes;

use crate::engine::activity::{Activity, Came, Deed, Home, Performed};
use endpoints::Endpoints;
use kube::Client;
use kube::api::ApiResource;
use kube::discovery::Scope;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// How long one try may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How many activities are under way at the same time.
pub const AT_ONCE: usize = 64;

/// What activities are carried out with.
pub struct Activities {
    client: Client,
    namespace: String,
    username: String,
    endpoints: Endpoints,
    kinds: Mutex<HashMap<(String, String), (ApiResource, Scope)>>,
}

/// What came of a try, and what is to be said of it.
type Answer = (Came, String);

impl Activities {
    /// Carries out as the operator: its namespace, its username, and the endpoints that it may call.
    #[must_use]
    pub fn new(client: Client, namespace: &str, username: &str, endpoints: Endpoints) -> Self {
        let (namespace, username) = (namespace.to_owned(), username.to_owned());
        Self { client, namespace, username, endpoints, kinds: Mutex::default() }
    }

    /// Tries to do what is asked for, for the instance of this namespace and name.
    pub async fn perform(&self, activity: &Activity, instance: (&str, &str)) -> Performed {
        let home = Home { namespace: &self.namespace, username: &self.username };
        let (came, message) = match activity.deed.refused(home) {
            Some(why) => (Came::Failed, why),
            None => tokio::time::timeout(PATIENCE, self.try_it(activity, instance))
                .await
                .unwrap_or_else(|_| (Came::Again, format!("no answer within {} seconds", PATIENCE.as_secs()))),
        };
        tracing::info!(id = activity.id, node = activity.node, attempt = activity.attempt, ?came, "activity");
        Performed { id: activity.id.clone(), attempt: activity.attempt, came, message }
    }

    async fn try_it(&self, activity: &Activity, instance: (&str, &str)) -> Answer {
        match &activity.deed {
            Deed::Apply { object, force } => self.apply(object, *force).await,
            Deed::Patch { target, patch } => self.patch(target, patch).await,
            Deed::Delete { target } => self.delete(target).await,
            Deed::Http { endpoint, method, path, body } => {
                self.endpoints.call(endpoint, *method, path, body.as_ref(), &activity.id).await
            }
            Deed::Job { namespace, spec } => self.job(activity, namespace, spec, instance).await,
        }
    }
}
