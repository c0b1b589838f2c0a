//! Calls an endpoint, and says what came of it.

use super::Answer;
use super::endpoints::Endpoints;
use crate::api::HttpMethod;
use crate::endpoints::Unanswered;
use crate::engine::activity::Came;
use http::Method;
use serde_json::Value;

impl Endpoints {
    /// Calls an endpoint; the same id stands for the same deed.
    pub(super) async fn call(
        &self,
        name: &str,
        method: HttpMethod,
        path: &str,
        body: Option<&Value>,
        id: &str,
    ) -> Answer {
        let Some(endpoint) = self.get(name) else {
            let message = format!("there is no endpoint {name}; add it to the chart value activities.endpoints");
            return (Came::Failed, message);
        };
        let body = body.map(ToString::to_string).unwrap_or_default();
        let method = match method {
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
            HttpMethod::Delete => Method::DELETE,
        };
        match endpoint.call(method, path, "application/json", body, id).await {
            Ok(answered) => {
                let came = match answered.status {
                    status if status.is_success() => Came::Done,
                    _ if answered.again() => Came::Again,
                    _ => Came::Failed,
                };
                (came, format!("endpoint {name} {answered}"))
            }
            Err(why @ Unanswered::Impossible(_)) => (Came::Failed, format!("endpoint {name} {why}")),
            Err(why) => (Came::Again, format!("endpoint {name} {why}")),
        }
    }
}
