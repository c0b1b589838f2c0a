//! An outbox and a courier that is in a hurry, for the tests.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use quorate::delivery::backoff::Patience;
use quorate::delivery::channels::Channels;
use quorate::delivery::settings::Options;
use quorate::delivery::{Clock, Courier, Health, Observer, Timing};
use quorate::notify::{Destination, Message, id_of};
use quorate::store::outbox::SetAside;
use quorate::store::{Mark, Store};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A store in a file of its own.
pub struct Post {
    _folder: tempfile::TempDir,
    pub store: Store,
}

impl Post {
    pub async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("quorate.db").display());
        let store = Store::open(&url).await?;
        Ok(Self { _folder: folder, store })
    }

    pub async fn queue(&self, messages: &[Message]) -> Result<()> {
        self.store.enqueue(&[], messages, Timestamp::now()).await?;
        Ok(())
    }
}

/// A mail to `NAME@example.com`.
pub fn mail(number: usize, name: &str) -> Message {
    let address = format!("{name}@example.com");
    Message {
        id: id_of(&["test", &number.to_string()]),
        to: Destination::Mail { address, name: Some(name.to_owned()) },
        topic: "assigned".to_owned(),
        subject: format!("Task {number} for {name}"),
        text: format!("Please decide task {number}.\n"),
        html: Some(format!("<p>Please decide task {number}.</p>")),
        thread: Some("0b9c6b1e-37a1-4d3c-9f4c-3a6d9d1c7a55".to_owned()),
        about: ObjectReference {
            kind: Some("WorkflowInstance".to_owned()),
            namespace: Some("shop".to_owned()),
            name: Some("firewall".to_owned()),
            ..ObjectReference::default()
        },
        event: json!({"event": "assigned"}),
    }
}

/// What says that these have been dealt with.
pub fn marks(messages: &[Message]) -> Vec<Mark> {
    messages.iter().map(|message| Mark { id: message.id.clone(), instance: "uid".to_owned() }).collect()
}

pub fn options(url: &str) -> Options {
    Options {
        url: Some(url.to_owned()),
        from: "Quorate <quorate@example.com>".to_owned(),
        domain: Some("quorate.example.com".to_owned()),
        timeout: Some(Duration::from_secs(5)),
        patience: Patience {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(200),
            attempts: 20,
            age: SignedDuration::ZERO,
        },
        ..Options::default()
    }
}

pub fn timing() -> Timing {
    Timing {
        lease: Duration::from_secs(2),
        poll: Duration::from_millis(200),
        pause: Duration::from_millis(50),
        longest_pause: Duration::from_millis(200),
        tidy: Duration::from_millis(500),
        count: Duration::from_millis(20),
        ..Timing::default()
    }
}

/// What the courier tells while it works.
#[derive(Default)]
pub struct Told {
    pub sent: Mutex<usize>,
    pub put_off: Mutex<usize>,
    pub set_aside: Mutex<Vec<SetAside>>,
}

impl Observer for Told {
    fn sent(&self, _: &str) {
        *self.sent.lock().expect("counted") += 1;
    }

    fn put_off(&self, _: &str) {
        *self.put_off.lock().expect("counted") += 1;
    }

    fn set_aside(&self, message: &SetAside) {
        self.set_aside.lock().expect("kept").push(message.clone());
    }
}

impl Told {
    pub fn put_off(&self) -> usize {
        *self.put_off.lock().expect("counted")
    }

    pub fn set_aside(&self) -> Vec<SetAside> {
        self.set_aside.lock().expect("kept").clone()
    }
}

/// A courier that runs.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    pub health: watch::Receiver<Health>,
    pub told: Arc<Told>,
}

impl Running {
    pub fn start(store: &Store, options: Options) -> Result<Self> {
        Self::start_at(store, options, Channels::default(), Arc::new(Timestamp::now))
    }

    pub fn start_at(store: &Store, options: Options, channels: Channels, clock: Clock) -> Result<Self> {
        let told = Arc::<Told>::default();
        let observer: Arc<dyn Observer> = Arc::clone(&told) as _;
        let courier = Courier::new(store.clone(), options.ready()?, channels, clock);
        let courier = courier.with_observer(observer).with_timing(timing());
        let (health, stop) = (courier.health(), CancellationToken::new());
        let task = tokio::spawn(courier.run(stop.clone()));
        Ok(Self { stop, task, health, told })
    }

    /// Waits until the health is as it should be.
    pub async fn health(&mut self, what: &str, holds: impl Fn(&Health) -> bool) -> Result<Health> {
        let waiting = self.health.wait_for(|health| holds(health));
        let found = match tokio::time::timeout(Duration::from_mins(1), waiting).await {
            Ok(found) => Some(found?.clone()),
            Err(_) => None,
        };
        found.ok_or_else(|| anyhow::anyhow!("{what}: the health stays {:?}", *self.health.borrow()))
    }

    /// Waits until nothing is left to send.
    pub async fn done(&mut self, store: &Store) -> Result<()> {
        crate::servers::eventually(
            "everything is sent",
            async || Ok((store.census(0).await?.queued == 0).then_some(())),
        )
        .await
    }

    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?;
        Ok(())
    }
}
