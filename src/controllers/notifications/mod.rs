//! What people are told: hands what happened to [`crate::notify`] and what that makes of it to the outbox.
//!
//! - [`facts`]: an instance as it stands
//! - [`open`]: the open tasks of all instances
//! - [`queue`]: the instances of which something may have to be told
//! - [`recover`]: what a crash could have lost

pub mod facts;
pub mod open;
pub mod queue;
pub mod recover;

use super::backoff;
use crate::store::Store;
use queue::Queue;
use tokio::sync::watch;

/// What the controllers of notifications share.
pub struct Notifications {
    /// The instances of which something may have to be told.
    pub queue: Queue,
    store: watch::Sender<Option<Store>>,
}

impl Notifications {
    /// The store, as soon as it is open.
    pub async fn store(&self) -> Store {
        let mut opened = self.store.subscribe();
        loop {
            if let Some(store) = opened.borrow_and_update().clone() {
                return store;
            }
            // The sender lives as long as this does, so waiting cannot fail.
            opened.changed().await.ok();
        }
    }

    /// Opens the store, trying again until it can be opened: decisions are made meanwhile, and nobody is told.
    async fn open(&self, url: &str) {
        let mut failures = 0;
        loop {
            match Store::open(url).await {
                Ok(store) => {
                    self.store.send_replace(Some(store));
                    return;
                }
                Err(error) => tracing::warn!(%error, "nobody is told anything until the store can be opened"),
            }
            failures += 1;
            tokio::time::sleep(backoff(failures)).await;
        }
    }
}
