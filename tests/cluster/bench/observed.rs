//! What processes and servers tell about themselves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{ControlPlane, Operator};

/// Counts by name, which only ever grow.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Counts(pub BTreeMap<String, f64>);

impl Counts {
    /// What has come since `before`, without what has not changed.
    pub fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(name, count)| (name.clone(), count - before.of(name)));
        Self(grown.filter(|(_, count)| count.abs() > 0.0).collect())
    }

    /// One of them.
    pub fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        self.0.values().fold(0.0, |sum, count| sum + count)
    }

    /// Each divided.
    pub fn per(&self, count: f64) -> Self {
        Self(self.0.iter().map(|(name, of)| (name.clone(), of / count)).collect())
    }
}

/// What the operator has counted under a name, by its label `of`.
pub async fn counted(operator: &Operator, name: &str) -> Result<Counts> {
    let (status, text) = operator.get("/metrics").await?;
    ensure!(status == 200, "the operator's metrics: status {status}");
    let prefix = format!("quorate_{name}_total{{of=\"");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
    lines.map(|(of, count)| Ok((of.to_owned(), count.parse()?))).collect::<Result<_>>().map(Counts)
}

/// Waits until the operator has written nothing for a second, and gives what it has written since it started.
pub async fn settled(operator: &Operator) -> Result<Counts> {
    let deadline = Instant::now() + Duration::from_mins(1);
    let (mut writes, mut since) = (counted(operator, "writes").await?, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        ensure!(Instant::now() < deadline, "the operator does not stop writing: {writes:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = counted(operator, "writes").await?;
        if now.total() > writes.total() {
            (writes, since) = (now, Instant::now());
        }
    }
    Ok(writes)
}

/// The requests that the server has answered, by verb, resource and status: dry runs apart, without its own.
pub async fn requests(cluster: &ControlPlane) -> Result<Counts> {
    let question = http::Request::get("/metrics").body(Vec::new())?;
    let text = cluster.admin().await?.request_text(question).await?;
    let mut counts = Counts::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
        let (labels, count) = line.split_once("} ").context("metrics of another format")?;
        let label = |name: &str| {
            let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
            labels[start..].split('"').next()
        };
        let resource = [label("resource"), label("subresource")].map(Option::unwrap_or_default).join("/");
        let dry_run = if label("dry_run").is_some_and(|dry_run| !dry_run.is_empty()) { " dry run" } else { "" };
        let name = format!(
            "{} {} {}{dry_run}",
            label("verb").unwrap_or_default(),
            resource.trim_end_matches('/'),
            label("code").unwrap_or_default()
        );
        *counts.0.entry(name).or_default() += count.parse::<f64>()?;
    }
    Ok(counts)
}

/// How busy the machine was with whom, in processor seconds.
pub struct Busy {
    at: Instant,
    machine: f64,
    ours: BTreeMap<&'static str, f64>,
}

/// Linux counts in hundredths of a second, whatever the kernel's own ticks are.
const TICK: f64 = 0.01;

impl Busy {
    /// Begins to count.
    pub fn now(cluster: &ControlPlane, operator: Option<&Operator>) -> Result<Self> {
        let pid = |server: &str| -> Result<String> {
            Ok(std::fs::read_to_string(cluster.folder().join(format!("{server}.pid")))?.trim().to_owned())
        };
        let mut ours = BTreeMap::from([
            ("kube-apiserver", processor_seconds(&pid("kube-apiserver")?)?),
            ("etcd", processor_seconds(&pid("etcd")?)?),
            ("kube-controller-manager", processor_seconds(&pid("kube-controller-manager")?)?),
            ("bench", processor_seconds("self")?),
        ]);
        if let Some(operator) = operator {
            ours.insert("operator", processor_seconds(&operator.pid()?.to_string())?);
        }
        let stat = std::fs::read_to_string("/proc/stat")?;
        let total = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<f64> = total.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq
        let machine = ticks.iter().take(7).sum::<f64>() - ticks[3] - ticks[4];
        Ok(Self { at: Instant::now(), machine: machine * TICK, ours })
    }

    /// What each has used since then, as a part of the whole machine; `others` are none of ours, and make all figures worse.
    pub fn until(&self, later: &Self) -> Value {
        let all = (later.at - self.at).as_secs_f64() * processors();
        let used = later.ours.iter().map(|(who, seconds)| (*who, seconds - self.ours.get(who).unwrap_or(&0.0)));
        let mut shares: BTreeMap<&str, f64> = used.map(|(who, seconds)| (who, seconds / all)).collect();
        let ours: f64 = shares.values().sum();
        let others = ((later.machine - self.machine) / all - ours).max(0.0);
        shares.insert("others", others);
        if others > 0.1 {
            super::say(&format!(
                "other programs took {:.0} % of the machine meanwhile: mistrust the figures",
                others * 100.0
            ));
        }
        json!(shares)
    }

    /// What machine this is.
    pub fn machine() -> Value {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned())
        };
        json!({
            "processors": processors(),
            "processor": after(&read("/proc/cpuinfo"), "model name"),
            "memory": after(&read("/proc/meminfo"), "MemTotal"),
            "kernel": read("/proc/sys/kernel/osrelease").trim(),
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "no machine has 2^52 processors")]
fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

fn processor_seconds(pid: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ").context("no process status")?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? * TICK)
}

/// The memory of a process in MiB: now, and at most since it started.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// Resident at most.
    pub peak: f64,
    /// The part of what is resident now that is no file, such as the program itself.
    pub anonymous: f64,
}

/// The operator's memory.
pub fn memory(operator: &Operator) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid()?))?;
    let mib = |key: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no memory in a process status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    };
    Ok(Memory { resident: mib("VmRSS:")?, peak: mib("VmHWM:")?, anonymous: mib("RssAnon:")? })
}
