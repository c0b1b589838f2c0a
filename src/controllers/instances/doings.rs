//! Activities under way: each in a task of its own, so that what hangs holds no instance up. What came of one is kept until it is
//! on record, and brings its instance back. After a crash nothing is known here, and what is not on record is done again under
//! the same id.

use super::live::Live;
use super::signals::Key;
use super::{Instances, reference_version};
use crate::activities::AT_ONCE;
use crate::engine::activity::{Activity, Came, Performed};
use futures::channel::mpsc;
use kube::{Api, Resource as _};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How soon an instance is looked at again that was not what its watch shows.
const LAG: Duration = Duration::from_millis(200);

/// What is under way, and what came of it.
pub struct Doings {
    state: Mutex<State>,
    places: Arc<Semaphore>,
    told: mpsc::UnboundedSender<Key>,
}

#[derive(Default)]
struct State {
    under_way: HashSet<String>,
    came: HashMap<Key, Performed>,
}

impl Doings {
    /// Tells of every instance for which something was done.
    pub fn telling(told: mpsc::UnboundedSender<Key>) -> Self {
        Self { state: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)), told }
    }

    /// What came of the activity that the instance asked for last.
    pub fn came(&self, key: &Key) -> Option<Performed> {
        self.state().came.get(key).cloned()
    }

    /// What came of it is on record, or has lost its meaning.
    pub fn recorded(&self, key: &Key, performed: Option<&Performed>) {
        let mut state = self.state();
        if performed.is_some() && state.came.get(key) == performed {
            state.came.remove(key);
        }
    }

    /// The instance has ended, whatever comes of what it asked for.
    pub fn forget(&self, key: &Key) {
        self.state().came.remove(key);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody does it or has done it; from then on somebody does.
    fn take(&self, key: &Key, activity: &Activity) -> bool {
        let mut state = self.state();
        let known = state.came.get(key);
        let done = known.is_some_and(|came| came.id == activity.id && came.attempt >= activity.attempt);
        !done && state.under_way.insert(activity.id.clone())
    }

    fn ended(&self, key: &Key, activity: &Activity, came: Option<Performed>) {
        let mut state = self.state();
        state.under_way.remove(&activity.id);
        if let Some(came) = came {
            state.came.insert(key.clone(), came);
        }
        drop(state);
        self.told.unbounded_send(key.clone()).ok();
    }
}

/// Begins what an instance asks for, unless it is under way. `live` is the instance as it was read; `fresh` when it was written
/// just now: else it is read again first, since its watch may lag behind somebody's withdrawal.
pub fn begin(activity: Activity, live: &Live, fresh: bool, own_workflow: bool, key: &Key, instances: &Arc<Instances>) {
    if !instances.doings.take(key, &activity) {
        return;
    }
    let (key, instances, version) = (key.clone(), instances.clone(), reference_version(live));
    tokio::spawn(async move {
        let doings = &instances.doings;
        let place = doings.places.clone().acquire_owned().await;
        let current = fresh || is_current(&instances, &key, &version).await;
        if !current {
            tokio::time::sleep(LAG).await;
            doings.ended(&key, &activity, None);
            return;
        }
        let came = if own_workflow {
            // The API server refuses such instances; this is for what was made before it did.
            let message = "actions are done as the operator, so they take a WorkflowDefinition".to_owned();
            Performed { id: activity.id.clone(), attempt: activity.attempt, came: Came::Failed, message }
        } else {
            instances.context.activities.perform(&activity, (&key.0, &key.1)).await
        };
        drop(place);
        doings.ended(&key, &activity, Some(came));
    });
}

/// Whether the instance still is what it was when the activity was asked for.
async fn is_current(instances: &Instances, key: &Key, version: &(String, String)) -> bool {
    let api: Api<Live> = Api::namespaced(instances.context.client.clone(), &key.0);
    match api.get_opt(&key.1).await {
        Ok(found) => found.is_some_and(|found| reference_version(&found) == *version && !found.is_ending()),
        Err(error) => {
            tracing::warn!(instance = key.1, %error, "the instance cannot be read before its activity");
            false
        }
    }
}

impl Live {
    fn is_ending(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }
}
