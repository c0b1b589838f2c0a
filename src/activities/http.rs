//! Calls an endpoint: signed as Standard Webhooks says, with an idempotency key, bounded in time and size, without following
//! redirects.

use super::Answer;
use super::endpoints::Endpoints;
use crate::api::HttpMethod;
use crate::engine::activity::Came;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;

/// Calls one endpoint.
pub(super) type Caller = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// How much of it people are told, in characters.
const TOLD: usize = 200;

/// What calls an endpoint, whose certificate is of this authority, or of one that the system trusts.
pub(super) fn caller(authority: Option<&str>) -> Result<Caller, String> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = authority {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("ca: is no PEM certificate: {error}"))?;
            roots.add(certificate).map_err(|error| format!("ca: {error}"))?;
        }
        if roots.is_empty() {
            return Err("ca: has no PEM certificate".to_owned());
        }
    } else {
        // Where the system has none, every call over TLS fails and says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    // A connection that was kept may be dead by the next call.
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

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
        let timestamp = jiff::Timestamp::now().as_second();
        let url = format!("{}{path}", endpoint.url.as_str().trim_end_matches('/'));
        let method = match method {
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
            HttpMethod::Delete => Method::DELETE,
        };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in &endpoint.headers {
            request = request.header(name, value);
        }
        let request = request
            .header("content-type", "application/json")
            .header("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", id)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(&endpoint.secret, id, timestamp, &body))
            .body(Full::new(Bytes::from(body)));
        let request = match request {
            Ok(request) => request,
            Err(error) => return (Came::Failed, format!("endpoint {name} cannot be called: {error}")),
        };
        let exchange = async {
            let response = endpoint.client.request(request).await.map_err(|error| told(&error))?;
            let status = response.status();
            let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            // The status says what came of it, whatever follows.
            let answer = answer.map(Collected::to_bytes).unwrap_or_default();
            Ok::<_, String>((status, excerpt(&String::from_utf8_lossy(&answer))))
        };
        let (status, says) = match tokio::time::timeout(endpoint.timeout, exchange).await {
            Err(_) => return (Came::Again, format!("endpoint {name} does not answer within {:?}", endpoint.timeout)),
            Ok(Err(why)) => return (Came::Again, format!("endpoint {name} cannot be reached: {why}")),
            Ok(Ok(answered)) => answered,
        };
        let says = if says.is_empty() { String::new() } else { format!(": {says}") };
        let message = format!("endpoint {name} answered {status}{says}");
        let again = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        match status {
            status if status.is_success() => (Came::Done, format!("endpoint {name} answered {status}")),
            _ if again => (Came::Again, message),
            _ => (Came::Failed, message),
        }
    }
}

/// The signature of a call: of its id, its moment and its body.
fn signature(secret: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

/// An error with what is behind it.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        told = format!("{told}: {error}");
        behind = error.source();
    }
    told
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(TOLD).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::signature;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn calls_are_signed_as_standard_webhooks_says() {
        // The example of that specification's own libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
