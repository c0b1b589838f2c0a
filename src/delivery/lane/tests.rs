//! What a lane does when its store or its server misbehaves.

use super::{Carrier, Gate, Lane, Outcome, Parts};
use crate::delivery::backoff::Patience;
use crate::delivery::courier::{Reach, Timing};
use crate::notify::{Destination, Message};
use crate::store::Store;
use crate::store::outbox::{Claimed, MAIL};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

struct Taker;

impl Carrier for Taker {
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    async fn carry(&self, _: &Claimed) -> Outcome {
        Outcome::Sent
    }

    fn rest(&self) {}

    async fn close(&self) {}
}

fn message() -> Message {
    Message {
        id: "a".repeat(64),
        to: Destination::Mail { address: "mary@example.com".to_owned(), name: None },
        topic: "task-assigned".to_owned(),
        subject: "Decide".to_owned(),
        text: "Please decide.".to_owned(),
        html: None,
        thread: None,
        about: ObjectReference::default(),
        event: Value::Null,
    }
}

async fn lane() -> Lane<Taker> {
    let store = Store::open("sqlite::memory:").await.expect("a store");
    store.enqueue(&[], &[message()], Timestamp::now()).await.expect("queued");
    Lane::new(Parts {
        name: MAIL.to_owned(),
        holder: "one".to_owned(),
        carrier: Arc::new(Taker),
        store,
        clock: Arc::new(Timestamp::now),
        observer: Arc::new(()),
        reach: watch::Sender::new(Reach::Up),
        changed: Arc::new(Notify::new()),
        at_once: 1,
        per_second: 0.0,
        per_recipient: 0,
        patience: Patience::default(),
        timing: Timing::default(),
    })
}

#[tokio::test]
async fn r46_a_store_that_answers_again_is_believed_while_nothing_is_to_be_recorded() {
    let mut lane = lane().await;
    lane.gate = Gate::Open;
    lane.claim().await;
    assert_eq!(lane.waiting.len(), 1);
    // The machine slept past the lease, and the store did not answer when it woke up.
    lane.ours_until = Instant::now();
    lane.store_down = true;
    lane.start();
    assert!(lane.carried.is_empty(), "it may be somebody else's by now");
    lane.settle().await;
    lane.renew().await;
    lane.start();
    assert_eq!(lane.carried.len(), 1);
}

#[tokio::test]
async fn r46_a_server_that_asks_for_endless_patience_is_asked_again_in_an_hour() {
    let mut lane = lane().await;
    lane.shut("too many requests".to_owned(), Some(Duration::from_secs(u64::MAX)));
    let Gate::Shut(until) = lane.gate else { panic!("it takes nothing now") };
    assert!(until <= Instant::now() + Duration::from_hours(1));
}
