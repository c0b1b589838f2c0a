//! Opens an instance whenever an object enters or leaves a collection that a process names.
//!
//! - `ledger`: what belongs to each collection, on record
//! - `collector`: goes through what is seen of one collection
//!
//! A process that cannot be used collects nothing; when it can be again, everything is listed anew and compared with the record.

mod collector;
mod ledger;

use super::kinds::Name;
use super::readiness::process_faults;
use super::{Context, backoff, report};
use crate::api::{ApprovalProcess, condition};
use crate::runtime::watch::Changes;
use collector::Collector;
use futures::{StreamExt, stream};
use kube::api::ApiResource;
use kube::{Resource, ResourceExt};
use ledger::Ledger;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How soon a collection that is too large is listed again.
const TOO_LARGE: Duration = Duration::from_secs(30);

/// How it stands with collections, besides their processes.
#[derive(Default)]
pub struct Collections {
    /// By uid of the process, as soon as everything has been listed: what is wrong, if anything is.
    known: Mutex<HashMap<String, Option<String>>>,
    /// Told when that changes.
    pub changes: Changes,
}

impl Collections {
    /// What keeps a process from opening instances although it can be used.
    #[must_use]
    pub fn fault(&self, process: &ApprovalProcess) -> Option<String> {
        process.spec.event.collection.as_ref()?;
        let known = self.known();
        let found = known.get(&process.uid().unwrap_or_default());
        // An operator that was only started again is believed: the record is there.
        found.cloned().unwrap_or_else(|| {
            let listed = "spec.event.collection: what belongs to it is being listed";
            (!is_ready(process)).then(|| listed.to_owned())
        })
    }

    fn tell(&self, process_uid: &str, fault: Option<String>) {
        let before = self.known().insert(process_uid.to_owned(), fault.clone());
        if before != Some(fault) {
            self.changes.announce();
        }
    }

    fn forget(&self, process_uid: &str) {
        self.known().remove(process_uid);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process, as it is written now, was found to be usable before.
fn is_ready(process: &ApprovalProcess) -> bool {
    let conditions = process.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition(conditions, "Ready")
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation == process.metadata.generation)
}

/// Somebody who collects.
struct Running {
    generation: Option<i64>,
    resource: ApiResource,
    stop: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.work.await.ok();
    }
}

/// Keeps somebody collecting for every process that can be used, until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: &CancellationToken) {
    context.synced.wait().await;
    context.kinds.looked.wait().await;
    let burst = Duration::from_millis(50);
    let own = stream::select(context.process_changes.bursts(burst), context.kinds.changes.bursts(burst));
    let others = stream::select(context.definition_changes.bursts(burst), context.directory.changes.bursts(burst));
    let mut triggers = std::pin::pin!(stream::select(own, others));
    let mut running: HashMap<String, Running> = HashMap::new();
    let mut forget = true;
    while !stop.is_cancelled() {
        forget |= keep_collecting(&context, &mut running, stop).await;
        if forget {
            let kept = || context.processes.state().iter().filter_map(|process| process.uid()).collect::<BTreeSet<_>>();
            match Ledger::forget(&context.client, &context.options.namespace, kept).await {
                Ok(()) => forget = false,
                Err(error) => report("collections", &context.metrics, &error),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = triggers.next() => {}
        }
    }
    for (_, running) in running {
        running.end().await;
    }
}

/// Starts whoever is missing and ends whoever is not needed; tells whether a process is gone.
async fn keep_collecting(
    context: &Arc<Context>,
    running: &mut HashMap<String, Running>,
    stop: &CancellationToken,
) -> bool {
    let processes = context.processes.state();
    let usable = processes.iter().filter_map(|process| {
        let event = process.spec.event.collection.as_ref()?;
        let name: Name = (event.resource.api_group.clone(), event.resource.resource.clone());
        let served = context.kinds.usable(&name)?;
        process_faults(process, context).is_empty().then(|| (process.uid().unwrap_or_default(), (process, served)))
    });
    let usable: HashMap<String, _> = usable.collect();
    let over: Vec<String> = running
        .iter()
        .filter(|(uid, running)| {
            usable.get(*uid).is_none_or(|(process, served)| {
                process.meta().generation != running.generation || served.resource != running.resource
            })
        })
        .map(|(uid, _)| uid.clone())
        .collect();
    let mut gone = false;
    for uid in over {
        if let Some(running) = running.remove(&uid) {
            running.end().await;
        }
        gone |= processes.iter().all(|process| process.uid().as_ref() != Some(&uid));
        context.collections.forget(&uid);
    }
    for (uid, (process, served)) in usable {
        running.entry(uid).or_insert_with(|| {
            let (generation, resource) = (process.meta().generation, served.resource.clone());
            let stop = stop.child_token();
            let work = tokio::spawn(collect(context.clone(), process.clone(), served, stop.clone()));
            Running { generation, resource, stop, work }
        });
    }
    gone
}

/// Collects for a process until `stop` is cancelled: whatever fails is begun again, from the record.
async fn collect(
    context: Arc<Context>,
    process: Arc<ApprovalProcess>,
    served: super::kinds::Served,
    stop: CancellationToken,
) {
    let uid = process.uid().unwrap_or_default();
    let mut failures = 0;
    loop {
        let collecting = async {
            let mut collector = Collector::open(context.clone(), process.clone(), served.clone()).await?;
            collector.run(&mut failures).await
        };
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = collecting => ended,
        };
        let wait = match ended {
            Err(collector::Error::TooLarge(why)) => {
                context.collections.tell(&uid, Some(why));
                TOO_LARGE
            }
            Err(error) => {
                report("collections", &context.metrics, &error);
                failures += 1;
                backoff(failures)
            }
            Ok(()) => backoff(0),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
