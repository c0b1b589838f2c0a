//! What the operator tells about itself: logs, metrics, health.

use crate::notify::page::{overview, page};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt as format, prelude::*};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error.
///
/// # Errors
/// When logging has been started before.
pub fn log(filter: &str, style: LogFormat) -> Result<(), TryInitError> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Colours are for terminals: in a file or a pod's log they are noise.
    let layer = format::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match style {
        LogFormat::Human => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
}

/// The one label of a counter: a word of a closed set.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Word {
    /// What the documentation of the metric says it is.
    pub of: String,
}

type Words = Family<Word, Counter>;

/// What is counted and measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Verdicts by reason.
    pub verdicts: Words,
    /// Finished instances by outcome.
    pub outcomes: Words,
    /// Writes to the API server by what was written.
    pub writes: Words,
    /// Reconciliations that failed and are tried again, by controller.
    pub failures: Words,
    /// Events that could not be posted, or found the queue full.
    pub lost_events: Counter,
    /// Unfinished instances.
    pub live: Gauge,
    /// 1 while the API server provably proves who sends what.
    pub proof: Gauge,
    /// Seconds from seeing an unjudged signal to having persisted what it did.
    pub decision_seconds: Histogram,
    /// What became of messages.
    pub notifications: Words,
    /// Messages that wait, or are being sent.
    pub notifications_waiting: Gauge,
    /// Messages that were set aside and are kept.
    pub notifications_set_aside: Gauge,
    /// What the gate answered.
    pub gate_answers: Words,
    /// Seconds that the gate took to answer.
    pub gate_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("quorate"),
            verdicts: Family::default(),
            outcomes: Family::default(),
            writes: Family::default(),
            failures: Family::default(),
            lost_events: Counter::default(),
            live: Gauge::default(),
            proof: Gauge::default(),
            decision_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            notifications: Family::default(),
            notifications_waiting: Gauge::default(),
            notifications_set_aside: Gauge::default(),
            gate_answers: Family::default(),
            gate_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
        };
        let registry = &mut metrics.registry;
        registry.register("verdicts", "Judged signals, by reason", metrics.verdicts.clone());
        registry.register("outcomes", "Finished instances, by outcome", metrics.outcomes.clone());
        registry.register("writes", "Writes to the API server, by what was written", metrics.writes.clone());
        registry.register(
            "failures",
            "Reconciliations that failed and are tried again, by controller",
            metrics.failures.clone(),
        );
        registry.register(
            "lost_events",
            "Events that could not be posted, or found the queue full",
            metrics.lost_events.clone(),
        );
        registry.register("live_instances", "Unfinished instances", metrics.live.clone());
        registry.register(
            "actor_proof",
            "1 while the API server provably proves who sends what",
            metrics.proof.clone(),
        );
        registry.register(
            "decision_seconds",
            "From seeing a signal to having persisted what it did",
            metrics.decision_seconds.clone(),
        );
        registry.register(
            "notifications",
            "Messages that were sent, put off to another attempt, set aside",
            metrics.notifications.clone(),
        );
        registry.register(
            "notifications_waiting",
            "Messages that wait or are being sent",
            metrics.notifications_waiting.clone(),
        );
        registry.register(
            "notifications_set_aside",
            "Messages that were set aside and are kept",
            metrics.notifications_set_aside.clone(),
        );
        registry.register("gate_answers", "What the gate answered", metrics.gate_answers.clone());
        registry.register("gate_seconds", "How long the gate took to answer", metrics.gate_seconds.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a write of that kind.
    pub fn wrote(&self, what: &str) {
        self.writes.get_or_create(&word(what)).inc();
    }
}

/// A label value.
#[must_use]
pub fn word(text: &str) -> Word {
    Word { of: text.to_owned() }
}

/// Whether the operator is ready: which conditions for that hold.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Every watch has been read through once.
    pub synced: AtomicBool,
    /// The API server provably proves who sends what.
    pub proven: AtomicBool,
}

/// Serves `/metrics`, `/healthz`, `/readyz` and the pages that links in mails lead to, until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(show_readiness))
        .route("/tasks", get(|| async { show_page(overview()) }))
        .route("/tasks/{namespace}/{name}", get(show_task))
        .with_state((metrics, readiness));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

type Shared = State<(Arc<Metrics>, Arc<Readiness>)>;

async fn show_task(Path((namespace, name)): Path<(String, String)>) -> impl IntoResponse {
    show_page(page(&namespace, &name))
}

fn show_page(page: Option<String>) -> impl IntoResponse {
    let code = if page.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, page.unwrap_or_default())
}

async fn show_metrics(State((metrics, _)): Shared) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text)
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}

async fn show_readiness(State((_, readiness)): Shared) -> impl IntoResponse {
    let checks = [("caches synced", &readiness.synced), ("actor proof", &readiness.proven)];
    let ready = checks.iter().all(|(_, holds)| holds.load(Ordering::Acquire));
    let lines = checks.iter().map(|(name, holds)| {
        let sign = if holds.load(Ordering::Acquire) { '+' } else { '-' };
        format!("[{sign}]{name}\n")
    });
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, lines.collect::<String>())
}
