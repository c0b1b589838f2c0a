//! Many instances that wait: how much memory the operator takes for them, and how it restarts with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::load::{Fact, Load, repeat};
use super::observed::{Busy, Counts, Memory, counted, memory, settled};
use super::{AT_ONCE, Size};
use crate::cluster::{ControlPlane, Operator, OperatorOptions};

/// With many instances that wait.
#[derive(Debug, Serialize)]
pub struct Crowd {
    instances: usize,
    /// How long it took until all of them waited.
    seconds: f64,
    busy: Value,
    /// Before they came, and with all of them there.
    memory_before: Memory,
    memory: Memory,
    /// Down, decided meanwhile, started again.
    memory_after_restart: Memory,
    ready_seconds: f64,
    /// From the start of the process until everything that was decided meanwhile is completed.
    pub caught_up_seconds: f64,
    /// Down and started again with nothing to do: from the start of the process until it was ready.
    idle_ready_seconds: f64,
    /// How many statuses and verdicts it wrote then.
    pub idle_restart_writes: f64,
    idle_restart_writes_by_kind: Counts,
    memory_after_idle_restart: Memory,
}

impl Crowd {
    /// Memory with all of them there, after it has settled: the most of every time it was measured.
    pub fn settled_mib(&self) -> f64 {
        self.all().map(|memory| memory.resident).fold(0.0, f64::max)
    }

    /// Memory at most.
    pub fn peak_mib(&self) -> f64 {
        self.all().map(|memory| memory.peak).fold(0.0, f64::max)
    }

    fn all(&self) -> impl Iterator<Item = Memory> {
        [self.memory, self.memory_after_restart, self.memory_after_idle_restart].into_iter()
    }
}

/// Lets them wait; then stops and starts the operator twice.
pub async fn measure(cluster: &ControlPlane, operator: &mut Operator, load: &Arc<Load>, size: Size) -> Result<Crowd> {
    settled(operator).await?;
    let memory_before = memory(operator)?;
    let (began, busy) = (Instant::now(), Busy::now(cluster, Some(operator))?);
    let people = load.clone();
    repeat(size.waiting, AT_ONCE, move |number| {
        let load = people.clone();
        async move {
            let name = waiting(number);
            load.open(&name, "two").await?;
            load.board.when(&name, Fact::Started).await
        }
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let busy = busy.until(&Busy::now(cluster, Some(operator))?);
    settled(operator).await?;
    let with_all = memory(operator)?;

    operator.terminate(Duration::from_secs(15)).await?;
    let people = load.clone();
    // Not the first: somewhere among them.
    let step = size.waiting / size.decided_while_down;
    repeat(size.decided_while_down, AT_ONCE, move |number| {
        let load = people.clone();
        async move {
            load.approve(0, &waiting(number * step)).await?;
            load.approve(1, &waiting(number * step)).await
        }
    })
    .await?;
    let (started, ready) = restart(cluster, operator).await?;
    let mut caught_up = ready;
    for number in 0..size.decided_while_down {
        caught_up = caught_up.max(load.board.approved(&waiting(number * step)).await?);
    }
    settled(operator).await?;
    let memory_after_restart = memory(operator)?;

    operator.terminate(Duration::from_secs(15)).await?;
    let (idle_started, idle_ready) = restart(cluster, operator).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    settled(operator).await?;
    let idle = counted(operator, "writes").await?;
    Ok(Crowd {
        instances: size.waiting,
        seconds,
        busy,
        memory_before,
        memory: with_all,
        memory_after_restart,
        ready_seconds: (ready - started).as_secs_f64(),
        caught_up_seconds: (caught_up - started).as_secs_f64(),
        idle_ready_seconds: (idle_ready - idle_started).as_secs_f64(),
        idle_restart_writes: idle.total(),
        idle_restart_writes_by_kind: idle,
        memory_after_idle_restart: memory(operator)?,
    })
}

fn waiting(number: usize) -> String {
    format!("waiting-{number}")
}

/// Starts the operator anew; gives when it was started and when it was ready.
async fn restart(cluster: &ControlPlane, operator: &mut Operator) -> Result<(Instant, Instant)> {
    let started = Instant::now();
    *operator = Operator::spawn(cluster, OperatorOptions::beside_this_program()?).await?;
    operator.wait_ready().await?;
    Ok((started, Instant::now()))
}
