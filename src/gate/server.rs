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
    let config = configuration(gate.clone(), settings.client_authorities.as_deref())?;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Address { address, source })?;
    Ok(Listening { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
}

/// What is demanded of clients: a certificate of these authorities, where there are any.
fn configuration(
    certificates: Arc<dyn rustls::server::ResolvesServerCert>,
    client_authorities: Option<&std::path::Path>,
) -> Result<rustls::ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_authorities {
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
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
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

#[cfg(test)]
mod tests {
    use super::{Error, configuration};
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
        der: CertificateDer<'static>,
    }

    impl Authority {
        fn new(name: &str) -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = KeyPair::generate().expect("a key");
            let own = params.self_signed(&key).expect("signed");
            Self { pem: own.pem(), der: own.der().clone(), issuer: Issuer::new(params, key) }
        }

        fn signs(&self, usage: ExtendedKeyUsagePurpose) -> Own {
            let mut params = CertificateParams::new(vec!["gate.example.com".to_owned()]).expect("a name");
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &self.issuer).expect("signed");
            (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        }

        fn serves(&self) -> Arc<Always> {
            let (chain, key) = self.signs(ExtendedKeyUsagePurpose::ServerAuth);
            let provider = rustls::crypto::ring::default_provider();
            Arc::new(Always(Arc::new(CertifiedKey::from_der(chain, key, &provider).expect("a certificate"))))
        }
    }

    #[derive(Debug)]
    struct Always(Arc<CertifiedKey>);

    impl ResolvesServerCert for Always {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    /// Whether somebody who comes with this certificate, or none, is answered.
    async fn is_served(server: &Authority, authorities: Option<&Path>, own: Option<Own>) -> bool {
        let accepting = configuration(server.serves(), authorities).expect("a configuration");
        let mut roots = RootCertStore::empty();
        roots.add(server.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        let connecting = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("usable"),
            None => builder.with_no_client_auth(),
        };
        let (near, far) = duplex(64 * 1024);
        let answering = async {
            let mut stream = TlsAcceptor::from(Arc::new(accepting)).accept(far).await?;
            stream.write_all(b"served").await?;
            stream.shutdown().await
        };
        let asking = async {
            let name = ServerName::try_from("gate.example.com").expect("a name");
            let mut told = Vec::new();
            if let Ok(mut stream) = TlsConnector::from(Arc::new(connecting)).connect(name, near).await {
                stream.read_to_end(&mut told).await.ok();
            }
            told
        };
        let (answered, told) = tokio::join!(answering, asking);
        answered.is_ok() && told == b"served"
    }

    #[tokio::test]
    async fn who_comes_without_the_certificate_that_is_demanded_is_turned_away() {
        let [server, clients, others] = ["server", "clients", "others"].map(Authority::new);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &clients.pem).expect("written");
        let demanded = Some(file.path());
        let client = |authority: &Authority| Some(authority.signs(ExtendedKeyUsagePurpose::ClientAuth));
        assert!(is_served(&server, None, None).await, "nothing is demanded");
        assert!(!is_served(&server, demanded, None).await, "none");
        assert!(!is_served(&server, demanded, client(&others)).await, "one of somebody else");
        assert!(is_served(&server, demanded, client(&clients)).await, "the right one");
    }

    #[test]
    fn authorities_that_cannot_be_read_are_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = configuration(Authority::new("server").serves(), Some(file.path()));
        let Err(Error::Authorities(why)) = refused else { panic!("an empty file has no authority: {refused:?}") };
        assert!(why.contains(&file.path().display().to_string()), "{why}");
    }
}
