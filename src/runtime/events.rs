//! Kubernetes Events: best effort, never on the way of a decision.
//!
//! The recorder of the client library folds events that share reason and object, and keeps the first note: "approved by Mary"
//! and "approved by John" would both read Mary. So every event is posted by itself, from a queue that drops when it is full:
//! history belongs in the status.

use super::telemetry::Metrics;
use crate::engine::Note;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many events may wait to be posted.
const QUEUE: usize = 4096;

/// Kubernetes allows notes of 1 KiB.
const NOTE: usize = 1000;

/// Where the API server demands events about cluster-scoped objects to be.
const CLUSTER_SCOPED: &str = "default";

/// Where events are queued.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(ObjectReference, Note)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts posting events; the task ends when every clone of the queue is gone.
    #[must_use]
    pub fn start(client: Client, metrics: Arc<Metrics>) -> Self {
        let (sender, mut queue) = mpsc::channel::<(ObjectReference, Note)>(QUEUE);
        let counting = metrics.clone();
        tokio::spawn(async move {
            while let Some((about, note)) = queue.recv().await {
                let namespace = about.namespace.clone().unwrap_or_else(|| CLUSTER_SCOPED.to_owned());
                let event = compose(about, &note, &namespace);
                let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
                match api.create(&PostParams::default(), &event).await {
                    Ok(_) => counting.wrote("event"),
                    Err(error) => {
                        counting.lost_events.inc();
                        tracing::debug!(%error, "an event could not be posted");
                    }
                }
            }
        });
        Self { queue: sender, metrics }
    }

    /// Queues an event about an object.
    pub fn post(&self, about: ObjectReference, note: Note) {
        if self.queue.try_send((about, note)).is_err() {
            self.metrics.lost_events.inc();
            tracing::debug!("the event queue is full, an event is dropped");
        }
    }
}

fn compose(about: ObjectReference, note: &Note, namespace: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", about.name.as_deref().unwrap_or("quorate"))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(note.reason.to_owned()),
        reason: Some(note.reason.to_owned()),
        note: Some(note.message.chars().take(NOTE).collect()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some("quorate.dev/operator".to_owned()),
        reporting_instance: Some("quorate".to_owned()),
        regarding: Some(about),
        ..Event::default()
    }
}
