//! One call: signed, bounded, without following redirects.

use super::Endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// What an endpoint answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// For how long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of what it says, on one line.
    pub says: String,
}

/// Why an endpoint gave no answer.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// The call cannot be made at all.
    Impossible(String),
    /// Nobody could be reached, and so nothing was asked.
    Unreachable(String),
    /// It broke off before there was an answer.
    Broken(String),
    /// There was none in time.
    Late(Duration),
}

impl Answered {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn again(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 425 | 429) || self.status.is_server_error()
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered {}", self.status)?;
        if self.says.is_empty() || self.status.is_success() { Ok(()) } else { write!(f, ": {}", self.says) }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(why) => write!(f, "cannot be called: {why}"),
            Self::Unreachable(why) | Self::Broken(why) => write!(f, "cannot be reached: {why}"),
            Self::Late(timeout) => write!(f, "does not answer within {timeout:?}"),
        }
    }
}

impl Endpoint {
    /// The address of a path below its URL; without a path the URL as it is written: a slash at its end may mean something.
    fn at(&self, path: &str) -> String {
        if path.is_empty() {
            return self.url.to_string();
        }
        format!("{}{path}", self.url.as_str().trim_end_matches('/'))
    }

    /// Calls it at a path below its URL; the same id stands for the same deed.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
        id: &str,
    ) -> Result<Answered, Unanswered> {
        let timestamp = jiff::Timestamp::now().as_second();
        let mut request = Request::builder().method(method).uri(self.at(path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = request
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", id)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if let Some(secret) = &self.secret {
            request = request.header("webhook-signature", signature(secret, id, timestamp, &body));
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Unanswered::Impossible(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let why = told(&error);
                if error.is_connect() { Unanswered::Unreachable(why) } else { Unanswered::Broken(why) }
            })?;
            let (status, retry_after) = (response.status(), retry_after(response.headers()));
            let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            // The status says what came of it, whatever follows.
            let answer = answer.map(Collected::to_bytes).unwrap_or_default();
            Ok(Answered { status, retry_after, says: excerpt(&String::from_utf8_lossy(&answer)) })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Unanswered::Late(self.timeout)))
    }
}

/// `Retry-After` in seconds, or as a moment.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(at.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
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
    use super::{retry_after, signature};
    use crate::endpoints::{Rules, Written};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn calls_are_signed_as_standard_webhooks_says() {
        // The example of that specification's own libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_url_is_called_as_it_is_written() {
        let rules = Rules { what: "channel", signed: false, query: true, longest: std::time::Duration::from_mins(1) };
        for (url, path, called) in [
            ("https://chat.example.com/hooks/1/", "", "https://chat.example.com/hooks/1/"),
            ("https://chat.example.com/hooks/1?sig=a/", "", "https://chat.example.com/hooks/1?sig=a/"),
            ("https://ca.example.com/api/", "/revoke", "https://ca.example.com/api/revoke"),
            ("https://ca.example.com", "/revoke", "https://ca.example.com/revoke"),
        ] {
            let written = Written { name: "one".to_owned(), url: url.to_owned(), ..Written::default() };
            let endpoint = written.ready(std::path::Path::new("."), rules).expect(url);
            assert_eq!(endpoint.at(path), called);
        }
    }

    #[test]
    fn both_ways_to_ask_for_patience_are_understood() {
        let asked = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", value.parse().expect("a value"));
            retry_after(&headers).map(|span| span.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        assert_eq!(asked("soon"), None);
    }
}
