//! Instances that people decide: flat out, one at a time, at half load; and fifty people at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::AT_ONCE;
use super::ceiling::Mix;
use super::load::{Fact, Load, repeat};
use super::observed::{Busy, Counts, counted, requests, settled};
use super::report::Distribution;
use crate::cluster::{ControlPlane, Operator};

/// Instances flat out.
#[derive(Debug, Serialize)]
pub struct FlatOut {
    /// Completed instances per second, from the first create to the last outcome.
    pub rate: f64,
    seconds: f64,
    /// What was written in that time, by the people and by the operator.
    pub mix: Mix,
    /// All of it, per second.
    pub writes_per_second: f64,
    /// What the operator wrote, until it had written everything.
    pub writes_per_instance: f64,
    writes_per_instance_by_kind: Counts,
    /// What the server counted in that time, by verb, resource and status.
    requests_per_instance: Counts,
    busy: Value,
}

/// Completes instances with two approvals each, so many at a time.
pub async fn flat_out(cluster: &ControlPlane, operator: &Operator, load: &Arc<Load>, count: usize) -> Result<FlatOut> {
    run_pipeline(load, "warm", count / 10).await?;
    let (writes, verdicts) = (settled(operator).await?, counted(operator, "verdicts").await?);
    let (asked, busy, created) = (requests(cluster).await?, Busy::now(cluster, Some(operator))?, load.created());
    let began = Instant::now();
    let last = run_pipeline(load, "flat", count).await?;
    let seconds = (last - began).as_secs_f64();
    let in_time = counted(operator, "writes").await?.since(&writes);
    let busy = busy.until(&Busy::now(cluster, Some(operator))?);
    let asked = requests(cluster).await?.since(&asked);
    let mix = Mix {
        instances: number(count),
        signals: number(load.created() - created - count) + in_time.of("event"),
        statuses: in_time.of("instance-status"),
        verdicts: in_time.of("verdict"),
    };

    let finally = settled(operator).await?.since(&writes);
    let verdicts = counted(operator, "verdicts").await?.since(&verdicts);
    let other = verdicts.total() - verdicts.of("Counted");
    ensure!(
        other < 0.5 && (verdicts.total() - 2.0 * number(count)).abs() < 0.5,
        "{} signals for {count} instances, but verdicts are {verdicts:?}",
        2 * count
    );
    Ok(FlatOut {
        rate: number(count) / seconds,
        seconds,
        mix,
        writes_per_second: mix.total() / seconds,
        writes_per_instance: finally.total() / number(count),
        writes_per_instance_by_kind: finally.per(number(count)),
        requests_per_instance: asked.per(number(count)),
        busy,
    })
}

/// Gives the moment of the last outcome.
async fn run_pipeline(load: &Arc<Load>, prefix: &'static str, count: usize) -> Result<Instant> {
    let load = load.clone();
    let completed = repeat(count, AT_ONCE, move |number| {
        let load = load.clone();
        async move {
            let name = format!("{prefix}-{number}");
            load.open(&name, "two").await?;
            load.approve(0, &name).await?;
            load.approve(1, &name).await?;
            load.board.approved(&name).await
        }
    })
    .await?;
    Ok(completed.into_iter().max().unwrap_or_else(Instant::now))
}

/// Instances that each wait for the operator after every step.
#[derive(Debug, Serialize)]
pub struct Paced {
    /// Instances per second.
    rate: f64,
    /// From the create of an instance to the status with its first step.
    start: Distribution,
    /// From the create of the first signal to the status in which it counted.
    first_decision: Distribution,
    /// From the create of the deciding signal, as the client saw it end, to the status in which it counted.
    pub decision: Distribution,
    /// The same from when the client began to send it.
    decision_from_sending: Distribution,
    /// What the operator wrote.
    pub writes_per_instance: f64,
    writes_per_instance_by_kind: Counts,
    /// What the server counted, by verb, resource and status.
    requests_per_instance: Counts,
    busy: Value,
}

/// One instance after the other.
pub async fn one_at_a_time(
    cluster: &ControlPlane,
    operator: &Operator,
    load: &Arc<Load>,
    count: usize,
) -> Result<Paced> {
    let before = Before::now(cluster, operator).await?;
    let mut lives = Vec::new();
    for number in 0..count {
        lives.push(live(load.clone(), format!("quiet-{number}")).await?);
    }
    paced(cluster, operator, &before, &lives).await
}

/// So many instances per second, begun whether or not those before are done.
pub async fn at_rate(
    cluster: &ControlPlane,
    operator: &Operator,
    load: &Arc<Load>,
    rate: f64,
    time: Duration,
) -> Result<Paced> {
    let before = Before::now(cluster, operator).await?;
    let (began, mut tasks, mut lives) = (Instant::now(), JoinSet::new(), Vec::new());
    for begun in 0.. {
        let due = Duration::from_secs_f64(f64::from(begun) / rate);
        if due >= time {
            break;
        }
        tokio::time::sleep_until((began + due).into()).await;
        tasks.spawn(live(load.clone(), format!("half-{begun}")));
    }
    while let Some(life) = tasks.join_next().await {
        lives.push(life??);
    }
    paced(cluster, operator, &before, &lives).await
}

/// How things stood when the measuring began.
struct Before {
    began: Instant,
    writes: Counts,
    requests: Counts,
    busy: Busy,
}

impl Before {
    async fn now(cluster: &ControlPlane, operator: &Operator) -> Result<Self> {
        let (writes, requests) = (settled(operator).await?, requests(cluster).await?);
        Ok(Self { began: Instant::now(), writes, requests, busy: Busy::now(cluster, Some(operator))? })
    }
}

struct Life {
    start: Duration,
    first: Duration,
    deciding: Duration,
    deciding_from_sending: Duration,
}

async fn live(load: Arc<Load>, name: String) -> Result<Life> {
    let opened = load.open(&name, "two").await?;
    let started = load.board.when(&name, Fact::Started).await?;
    let first = load.approve(0, &name).await?;
    let first_counted = load.board.when(&name, Fact::Counted(first.uid)).await?;
    let deciding = load.approve(1, &name).await?;
    let counted = load.board.when(&name, Fact::Counted(deciding.uid)).await?;
    load.board.approved(&name).await?;
    // The watch may show it before the one who sent it has the answer.
    Ok(Life {
        start: started.saturating_duration_since(opened),
        first: first_counted.saturating_duration_since(first.taken),
        deciding: counted.saturating_duration_since(deciding.taken),
        deciding_from_sending: counted.saturating_duration_since(deciding.began),
    })
}

async fn paced(cluster: &ControlPlane, operator: &Operator, before: &Before, lives: &[Life]) -> Result<Paced> {
    let rate = number(lives.len()) / before.began.elapsed().as_secs_f64();
    let busy = before.busy.until(&Busy::now(cluster, Some(operator))?);
    let requests = requests(cluster).await?.since(&before.requests);
    let writes = settled(operator).await?.since(&before.writes);
    Ok(Paced {
        rate,
        start: Distribution::of(lives.iter().map(|life| life.start))?,
        first_decision: Distribution::of(lives.iter().map(|life| life.first))?,
        decision: Distribution::of(lives.iter().map(|life| life.deciding))?,
        decision_from_sending: Distribution::of(lives.iter().map(|life| life.deciding_from_sending))?,
        writes_per_instance: writes.total() / number(lives.len()),
        writes_per_instance_by_kind: writes.per(number(lives.len())),
        requests_per_instance: requests.per(number(lives.len())),
        busy,
    })
}

/// Many people at once.
#[derive(Debug, Serialize)]
pub struct AtOnce {
    /// How many there were.
    pub people: f64,
    /// How many of them the server turned away.
    pub refused: f64,
    /// How many of them counted.
    pub counted: f64,
    /// From the first create to the outcome.
    pub seconds: f64,
    /// From the first create to the end of the last.
    creating_seconds: f64,
    writes: Counts,
}

/// Everybody whom an instance needs approves it in the same moment.
pub async fn all_at_once(cluster: &ControlPlane, operator: &Operator, load: &Arc<Load>, people: u32) -> Result<AtOnce> {
    let name = "everybody";
    load.define(cluster, name, people).await?;
    let before = settled(operator).await?;
    load.open(name, name).await?;
    load.board.when(name, Fact::Started).await?;
    let barrier = Arc::new(Barrier::new(usize::try_from(people)?));
    let mut tasks = JoinSet::new();
    for person in 0..people {
        let approver = load.approver(cluster, &format!("person-{person}")).await?;
        approver.connect().await?;
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            approver.approve(name).await
        });
    }
    let (mut sent, mut refused) = (Vec::new(), 0_u32);
    while let Some(done) = tasks.join_next().await {
        match done? {
            Ok(signal) => sent.push(signal),
            Err(why) => {
                refused += 1;
                eprintln!("bench: an approval was refused: {why}");
            }
        }
    }
    ensure!(!sent.is_empty(), "not one of {people} approvals was taken");
    let first = sent.iter().map(|signal| signal.began).min().unwrap_or_else(Instant::now);
    let last = sent.iter().map(|signal| signal.taken).max().unwrap_or(first);
    let ended = if refused == 0 { load.board.approved(name).await? } else { last };
    let writes = settled(operator).await?.since(&before);
    Ok(AtOnce {
        people: people.into(),
        refused: refused.into(),
        counted: number(load.board.decisions(name)),
        seconds: ended.saturating_duration_since(first).as_secs_f64(),
        creating_seconds: (last - first).as_secs_f64(),
        writes,
    })
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn number(count: usize) -> f64 {
    count as f64
}
