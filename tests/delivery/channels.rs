//! Webhooks and chats, against an HTTP server that checks signatures and fails as it is told.

use crate::post::{Post, Running, mail, options};
use crate::servers::eventually;
use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quorate::delivery::Reach;
use quorate::delivery::channels::Channels;
use quorate::delivery::settings::Options;
use quorate::notify::{Destination, Message};
use ring::hmac;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const SECRET: &str = "sixteen-letters-or-more";

/// What was posted where.
#[derive(Clone, Debug)]
struct Posted {
    path: String,
    headers: HeaderMap,
    body: String,
    at: Instant,
}

#[derive(Default)]
struct Receiving {
    posted: Vec<Posted>,
    /// What is answered before everything is well, by path.
    faults: HashMap<String, Vec<(u16, Option<u64>)>>,
}

struct Hooks {
    url: String,
    receiving: Arc<Mutex<Receiving>>,
    task: JoinHandle<()>,
}

type Shared = State<Arc<Mutex<Receiving>>>;

async fn take(Path(path): Path<String>, State(receiving): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let fault = {
        let mut receiving = receiving.lock().expect("the posts");
        receiving.posted.push(Posted { path: path.clone(), headers, body, at: Instant::now() });
        receiving.faults.get_mut(&path).and_then(|faults| (!faults.is_empty()).then(|| faults.remove(0)))
    };
    match fault {
        None => StatusCode::NO_CONTENT.into_response(),
        // Hangs.
        Some((0, _)) => std::future::pending().await,
        Some((301, _)) => (StatusCode::MOVED_PERMANENTLY, [("location", "/elsewhere")]).into_response(),
        Some((status, patience)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            match patience {
                Some(seconds) => (status, [("retry-after", seconds.to_string())], "not now").into_response(),
                None => (status, "not now").into_response(),
            }
        }
    }
}

impl Hooks {
    async fn start() -> Result<Self> {
        let receiving = Arc::<Mutex<Receiving>>::default();
        let router =
            Router::new().route("/{path}", axum::routing::post(take).get(take)).with_state(Arc::clone(&receiving));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Ok(Self { url, receiving, task })
    }

    fn answers(&self, path: &str, faults: &[(u16, Option<u64>)]) {
        self.receiving.lock().expect("the posts").faults.insert(path.to_owned(), faults.to_vec());
    }

    fn posted(&self, path: &str) -> Vec<Posted> {
        let receiving = self.receiving.lock().expect("the posts");
        receiving.posted.iter().filter(|posted| posted.path == path).cloned().collect()
    }

    async fn takes(&self, path: &str, count: usize) -> Result<Vec<Posted>> {
        eventually(&format!("{count} posts to {path}"), async || {
            let posted = self.posted(path);
            Ok((posted.len() >= count).then_some(posted))
        })
        .await
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn to(channel: &str, number: usize) -> Message {
    Message { to: Destination::Channel(channel.to_owned()), ..mail(number, "mary") }
}

fn start(post: &Post, yaml: &str) -> Result<Running> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), yaml)?;
    let without_mail = Options { url: None, ..options("") };
    Running::start_at(&post.store, without_mail, Channels::read(file.path())?, Arc::new(Timestamp::now))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r47_events_are_signed_and_chats_get_their_forms() -> Result<()> {
    let hooks = Hooks::start().await?;
    let post = Post::open().await?;
    let url = &hooks.url;
    let yaml = format!(
        "- {{name: events, kind: CloudEvents, url: '{url}/events', secret: {SECRET}, headers: {{X-Team: pki}}}}\n\
         - {{name: slack, kind: Slack, url: '{url}/slack?token=1'}}\n\
         - {{name: teams, kind: Teams, url: '{url}/teams'}}\n\
         - {{name: mattermost, kind: Mattermost, url: '{url}/mattermost'}}\n"
    );
    let messages = [to("events", 1), to("slack", 2), to("teams", 3), to("mattermost", 4)];
    post.queue(&messages).await?;
    let mut running = start(&post, &yaml)?;
    running.done(&post.store).await?;

    let posted = hooks.takes("events", 1).await?.remove(0);
    let header = |name: &str| posted.headers[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "application/cloudevents+json");
    assert_eq!((header("webhook-id"), header("x-team")), (messages[0].id.clone(), "pki".to_owned()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), posted.body);
    let tag = STANDARD.decode(header("webhook-signature").trim_start_matches("v1,"))?;
    assert!(hmac::verify(&key, signed.as_bytes(), &tag).is_ok(), "signed as Standard Webhooks says");
    let event: Value = serde_json::from_str(&posted.body)?;
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "dev.quorate.assigned");
    assert_eq!(event["source"], "/apis/quorate.dev/v1alpha1/namespaces/shop/workflowinstances/firewall");
    assert_eq!(event["id"], messages[0].id);

    for (chat, field) in
        [("slack", "/blocks/1/text/text"), ("teams", "/attachments/0/content/body/1/text"), ("mattermost", "/text")]
    {
        let posted = hooks.takes(chat, 1).await?.remove(0);
        assert_eq!(posted.headers["content-type"], "application/json");
        let body: Value = serde_json::from_str(&posted.body)?;
        let text = body.pointer(field).and_then(Value::as_str).unwrap_or_default();
        assert!(text.contains("Please decide task"), "{chat}: {body}");
        assert!(!posted.headers.contains_key("webhook-signature"));
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r47_what_fails_is_tried_again_or_set_aside() -> Result<()> {
    let hooks = Hooks::start().await?;
    let post = Post::open().await?;
    let names = ["flaky", "busy", "picky", "moved", "hangs"];
    let listed =
        names.map(|name| format!("{{name: {name}, kind: Slack, url: '{}/{name}', timeout: 500ms}}", hooks.url));
    let yaml = format!("[{}]", listed.join(","));
    hooks.answers("flaky", &[(500, None), (408, None), (425, None)]);
    hooks.answers("busy", &[(429, Some(1))]);
    hooks.answers("picky", &[(400, None)]);
    hooks.answers("moved", &[(301, None)]);
    hooks.answers("hangs", &[(0, None)]);
    let mut messages: Vec<Message> = names.iter().enumerate().map(|(number, name)| to(name, number)).collect();
    messages.push(to("removed", 100));
    post.queue(&messages).await?;
    let mut running = start(&post, &yaml)?;
    let told = std::sync::Arc::clone(&running.told);
    let settled = |health: &quorate::delivery::Health| health.census.queued == 0 && health.census.set_aside == 3;
    running.health("three are set aside", settled).await?;
    assert_eq!(hooks.posted("flaky").len(), 4);
    let busy = hooks.posted("busy");
    assert_eq!(busy.len(), 2);
    assert!(busy[1].at - busy[0].at >= Duration::from_secs(1), "Retry-After is honoured");
    assert_eq!(hooks.posted("hangs").len(), 2);
    assert_eq!((hooks.posted("picky").len(), hooks.posted("moved").len()), (1, 1));
    assert!(hooks.posted("elsewhere").is_empty(), "no redirect is followed");
    let mut reasons: Vec<String> = told.set_aside().into_iter().map(|message| message.reason).collect();
    reasons.sort();
    assert!(reasons[0].starts_with("channel moved answered 301"), "{reasons:?}");
    assert_eq!(reasons[1], "channel picky answered 400 Bad Request: not now");
    assert!(reasons[2].starts_with("there is no channel removed in the operator's configuration"), "{reasons:?}");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_down_counts_against_no_message() -> Result<()> {
    let post = Post::open().await?;
    let address = crate::cluster::ports::free()?;
    post.queue(&[to("audit", 1), to("audit", 2)]).await?;
    let yaml = format!("- {{name: audit, kind: CloudEvents, url: 'http://{address}/in', secret: {SECRET}}}");
    let mut running = start(&post, &yaml)?;
    let down = |health: &quorate::delivery::Health| matches!(health.channels.get("audit"), Some(Reach::Down { .. }));
    running.health("it is down", down).await?;
    let waiting = post.store.waiting("channel/audit", None, 9).await?;
    assert_eq!(waiting.iter().map(|claimed| claimed.attempts).collect::<Vec<_>>(), [0, 0]);
    let receiving = Arc::<Mutex<Receiving>>::default();
    let router = Router::new().route("/{path}", axum::routing::post(take)).with_state(Arc::clone(&receiving));
    let listener = tokio::net::TcpListener::bind(address).await?;
    let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    running.done(&post.store).await?;
    assert_eq!(receiving.lock().expect("the posts").posted.len(), 2);
    task.abort();
    running.stop().await
}
