//! The gate's server: TLS with a certificate that is swapped while it runs, and one path that nobody can guess.

use super::answer::answer;
use super::configuration::TIMEOUT_SECONDS;
use super::review::{Answer, Question};
use super::{Gate, Settings};
use crate::controllers::Context;
use crate::runtime::telemetry::word;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a question may be, in bytes: it has two objects, and the API server takes none above 3 MiB.
const LARGEST: usize = 7 * 1024 * 1024;

/// How long an answer may take: less than the API server waits, so that people are told why.
const TIMEOUT: Duration = Duration::from_secs(TIMEOUT_SECONDS as u64 - 2);

/// How long a client may take to shake hands, and to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many connections may be open at the same time: the API servers need a few.
const CONNECTIONS: usize = 1024;

/// Why the gate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours.
    #[error("--gate-address {address}: {source}")]
    Address {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificates of the clients' authorities cannot be read.
    #[error("--gate-client-ca-file: {0}")]
    Authorities(String),
    /// TLS cannot be set up.
    #[error("the gate cannot be served: {0}")]
    Tls(#[from] rustls::Error),
}

/// A gate that listens, and answers nobody yet.
pub struct Listening {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

/// Listens.
///
/// # Errors
/// When the address cannot be listened on, or the clients' authorities cannot be read.
pub async fn listen(gate: &Arc<Gate>, settings: &Settings) -> Result<Listening, Error> {
    let address = settings.address;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &settings.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let unusable = |error: &dyn std::fmt::Display| Error::Authorities(format!("{}: {error}", file.display()));
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
                roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(gate.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Address { address, source })?;
    Ok(Listening { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
}

impl Listening {
    /// Serves until `stop`; what is under way then is finished.
    pub async fn serve(self, context: Arc<Context>, stop: CancellationToken) {
        let router =
            Router::new().route("/gate/{token}", post(asked)).layer(DefaultBodyLimit::max(LARGEST)).with_state(context);
        let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        let connections = tokio_util::task::TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (Ok((stream, _)), Ok(place)) = (accepted, room.clone().acquire_owned().await) else {
                // Out of files, most likely: it passes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, router, stop) = (self.acceptor.clone(), router.clone(), stop.clone());
            connections.spawn(async move {
                converse(stream, acceptor, router, stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, router: Router, stop: CancellationToken) {
    stream.set_nodelay(true).ok();
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the gate ended");
    }
}

async fn asked(State(context): State<Arc<Context>>, Path(token): Path<String>, body: Bytes) -> Response {
    if !context.gate.knows(&token) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let began = Instant::now();
    let question = match Question::read(&body) {
        Ok(question) => question,
        Err(why) => {
            context.metrics.gate_answers.get_or_create(&word("malformed")).inc();
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
    };
    drop(body);
    let uid = question.uid.clone();
    let judged = tokio::time::timeout(TIMEOUT, answer(&context, question)).await;
    let (what, answer) = judged
        .unwrap_or_else(|_| ("timeout", Answer::Refuse("the gate could not decide in time; try again".to_owned())));
    context.metrics.gate_answers.get_or_create(&word(what)).inc();
    context.metrics.gate_seconds.observe(began.elapsed().as_secs_f64());
    let review = answer.review(&uid).to_string();
    ([(header::CONTENT_TYPE, "application/json")], review).into_response()
}
