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
use crate::api::ApprovalProcess;
use crate::runtime::watch::Changes;
use collector::Collector;
use futures::{StreamExt, stream};
use kube::api::ApiResource;
use kube::{Resource, ResourceExt};
use ledger::Ledger;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How soon a collection that is too large is listed again.
const TOO_LARGE: Duration = Duration::from_secs(30);

/// What is wrong with collections, besides their processes.
#[derive(Default)]
pub struct Collections {
    faults: Mutex<HashMap<String, String>>,
    /// Told when that changes.
    pub changes: Changes,
}

impl Collections {
    /// What is wrong with the collection of the process of this uid.
    #[must_use]
    pub fn fault(&self, process_uid: &str) -> Option<String> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).get(process_uid).cloned()
    }

    fn tell(&self, process_uid: &str, fault: Option<String>) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &fault {
            Some(fault) => faults.insert(process_uid.to_owned(), fault.clone()),
            None => faults.remove(process_uid),
        };
        if before != fault {
            self.changes.announce();
        }
    }
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
        context.collections.tell(&uid, None);
    }
    for (uid, (process, served)) in usable {
        if !running.contains_key(&uid) {
            let (generation, resource) = (process.meta().generation, served.resource.clone());
            let stop = stop.child_token();
            let work = collect(context.clone(), process.clone(), served, stop.clone());
            running.insert(uid, Running { generation, resource, stop: stop.clone(), work: tokio::spawn(work) });
        }
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
