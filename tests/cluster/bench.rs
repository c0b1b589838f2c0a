//! `make bench`: what the operator does on this machine, on one fresh control plane, against its goals.
//!
//! Everything is bounded in count and time. A bench reports; it fails only when something does not work, such as an
//! instance with the wrong outcome. The parts, in order:
//!
//! - [`ceiling`]: what the server alone does, with the admission policies but without the operator
//! - [`decisions`]: instances with two approvals each: flat out, one at a time, at half load; fifty approvals at once
//! - [`crowd`]: ten thousand instances that wait: memory, and restarts with them
//! - [`gate`]: what the gate adds to a request, gated or not
//! - [`engine`]: the decision logic alone
//! - [`notifications`]: mails from the outbox into a server, against a plain loop
//!
//! [`load`] asks and approves as people do, [`observed`] reads what processes and servers tell about themselves, and
//! [`report`] shows it.

mod ceiling;
mod crowd;
mod decisions;
mod engine;
mod gate;
mod load;
mod notifications;
mod observed;
mod report;
#[allow(dead_code, reason = "the tests of delivery ask it more")]
mod sink;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::cluster::chart::{NAMESPACE, RELEASE};
use crate::cluster::{ControlPlane, Operator, OperatorOptions, Options, root};
use load::Load;
use observed::Busy;
use report::{Goal, Report};

/// What can be measured alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Part {
    /// What the gate adds to a request.
    Gate,
    /// Mails from the outbox into a server.
    Notifications,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How long the server is driven to its ceiling, for each kind of write.
    ceiling: Duration,
    /// How long each number of writers is tried before.
    probe: Duration,
    /// Instances flat out.
    flat_out: usize,
    /// Instances one at a time.
    quiet: usize,
    /// How long half load is kept up.
    half_load: Duration,
    /// People who approve one instance at once.
    people: u32,
    /// How long people ask, with a gate and without.
    gate: Duration,
    /// Instances that wait.
    waiting: usize,
    /// Of these, those that are decided while the operator is down.
    decided_while_down: usize,
    /// How long each question is put to the engine.
    engine: Duration,
    /// Mails.
    mails: usize,
}

const WHOLE: Size = Size {
    ceiling: Duration::from_secs(6),
    probe: Duration::from_secs(1),
    flat_out: 1500,
    quiet: 50,
    half_load: Duration::from_secs(20),
    people: 50,
    gate: Duration::from_secs(20),
    waiting: 10_000,
    decided_while_down: 100,
    engine: Duration::from_secs(2),
    mails: 20_000,
};

const QUICK: Size = Size {
    ceiling: Duration::from_millis(800),
    probe: Duration::from_millis(300),
    flat_out: 150,
    quiet: 5,
    half_load: Duration::from_secs(2),
    people: 50,
    gate: Duration::from_secs(4),
    waiting: 1000,
    decided_while_down: 10,
    engine: Duration::from_millis(200),
    mails: 2000,
};

/// How many instances, and how many writers, are under way at the same time where that is not what is measured.
const AT_ONCE: usize = 64;

/// Measures everything, prints the table and keeps it in `target/bench.json`.
///
/// With `only`, one part alone, and nothing is kept.
pub async fn run(quick: bool, only: Option<Part>) -> Result<()> {
    let size = if quick { QUICK } else { WHOLE };
    let started = Instant::now();
    let mut report = Report::default();

    if only == Some(Part::Notifications) {
        measure_notifications(&mut report, size).await?;
        report.show();
        return Ok(());
    }

    say("starting a control plane");
    let options = Options { audit: false, ..Options::default() };
    let cluster = ControlPlane::start(options).await?;
    cluster.install_chart(&["deployment.enabled=false"]).await?;
    let load = Load::prepare(&cluster).await?;

    if only == Some(Part::Gate) {
        let operator = Operator::spawn(&cluster, OperatorOptions::beside_this_program()?).await?;
        operator.wait_ready().await?;
        measure_gate(&cluster, &mut report, size).await?;
        report.show();
        return Ok(());
    }

    say("the server alone");
    let ceiling = ceiling::measure(&cluster, &load, size).await?;
    report.figure("server alone, creates of instances", ceiling.instances.per_second, "/s");
    report.figure("server alone, creates of signals", ceiling.signals.per_second, "/s");
    report.figure("server alone, status writes of instances", ceiling.statuses.per_second, "/s");
    report.figure("server alone, status writes of signals", ceiling.verdicts.per_second, "/s");
    report.raw("ceiling", &ceiling);

    let mut operator = Operator::spawn(&cluster, OperatorOptions::beside_this_program()?).await?;
    operator.wait_ready().await?;

    say("one instance at a time");
    let quiet = decisions::one_at_a_time(&cluster, &operator, &load, size.quiet).await?;
    report.figure("decision to status, quiet, p50", quiet.decision.p50, "ms");
    report.figure("decision to status, quiet, p99", quiet.decision.p99, "ms");
    report.figure("the operator's writes per instance, quiet", quiet.writes_per_instance, "");
    report.raw("quiet", &quiet);

    say("instances with two approvals, flat out");
    let flat_out = decisions::flat_out(&cluster, &operator, &load, size.flat_out).await?;
    let limit = ceiling.of(flat_out.mix);
    report.figure("completed instances, two approvals each", flat_out.rate, "/s");
    report.figure("the operator's writes per instance, flat out", flat_out.writes_per_instance, "");
    report.figure("writes to the server, flat out", flat_out.writes_per_second, "/s");
    report.goal(
        "these, as part of what the server alone does",
        flat_out.writes_per_second / limit,
        "",
        Goal::AtLeast(0.7),
    );
    report.raw("flatOut", &flat_out);
    report.raw("ceilingOfThisMix", &limit);

    say("at half load");
    let half = decisions::at_rate(&cluster, &operator, &load, flat_out.rate / 2.0, size.half_load).await?;
    report.goal("decision to status, half load, p50", half.decision.p50, "ms", Goal::AtMost(20.0));
    report.goal("decision to status, half load, p99", half.decision.p99, "ms", Goal::AtMost(100.0));
    report.raw("halfLoad", &half);

    say("everybody at once");
    let at_once = decisions::all_at_once(&cluster, &operator, &load, size.people).await?;
    report.goal("simultaneous approvals that counted", at_once.counted, "", Goal::AtLeast(at_once.people));
    report.goal("simultaneous approvals refused to clients", at_once.refused, "", Goal::AtMost(0.0));
    report.figure("simultaneous approvals, first to completed", at_once.seconds * 1000.0, "ms");
    report.raw("allAtOnce", &at_once);

    measure_gate(&cluster, &mut report, size).await?;

    say("instances that wait, and restarts with them");
    let crowd = crowd::measure(&cluster, &mut operator, &load, size).await?;
    report.goal(
        &format!("memory with {} instances waiting", size.waiting),
        crowd.settled_mib(),
        "MiB",
        Goal::AtMost(64.0),
    );
    report.figure("memory at most, all the time", crowd.peak_mib(), "MiB");
    report.goal(
        &format!("caught up after a restart, {} decided meanwhile", size.decided_while_down),
        crowd.caught_up_seconds,
        "s",
        Goal::AtMost(5.0),
    );
    report.goal("writes of a restart with nothing to do", crowd.idle_restart_writes, "", Goal::AtMost(0.0));
    report.raw("crowd", &crowd);
    operator.terminate(Duration::from_secs(15)).await?;

    say("the engine alone");
    let engine = engine::measure(size.engine)?;
    report.figure("engine, computations of one signal", engine.single_per_second, "/s");
    report.goal("engine, 1,000 signals in one batch", engine.batch_ms, "ms", Goal::AtMost(5.0));
    report.goal("engine, the same, definition of 200 nodes", engine.large_ms, "ms", Goal::AtMost(5.0));
    report.figure("engine, compiling a definition of 200 nodes", engine.compile_ms, "ms");
    report.raw("engine", &engine);

    measure_notifications(&mut report, size).await?;

    report.raw("size", &json!({ "quick": quick, "waiting": size.waiting, "seconds": started.elapsed().as_secs_f64() }));
    report.raw("machine", &Busy::machine());
    report.show();
    let path = report.save(&root().join("target/bench.json"))?;
    println!("\n{} seconds; every figure is in {}", started.elapsed().as_secs(), path.display());
    Ok(())
}

/// What the gate adds, as differences between what was measured with and without it.
async fn measure_gate(cluster: &ControlPlane, report: &mut Report, size: Size) -> Result<()> {
    say("requests with a gate and without");
    let gate = gate::measure(cluster, size.gate).await?;
    report.figure("a patch without a gate, 50 clients, p50", gate.without.p50, "ms");
    report.figure("a patch without a gate, 50 clients, p99", gate.without.p99, "ms");
    for (what, with, goals) in [
        ("not gated", &gate.not_gated, None),
        ("gated, passes", &gate.passes, Some(10.0)),
        ("gated, held", &gate.held, Some(10.0)),
    ] {
        report.figure(&format!("the gate adds, {what}, p50"), with.p50 - gate.without.p50, "ms");
        let added = with.p99 - gate.without.p99;
        match goals {
            Some(goal) => report.goal(&format!("the gate adds, {what}, p99"), added, "ms", Goal::AtMost(goal)),
            None => report.figure(&format!("the gate adds, {what}, p99"), added, "ms"),
        }
    }
    report.raw("gate", &gate);
    Ok(())
}

/// Mails from the outbox, against a plain loop.
async fn measure_notifications(report: &mut Report, size: Size) -> Result<()> {
    say("mails");
    let sent = notifications::measure(size.mails).await?;
    report.figure("mails put into the outbox", sent.queued_per_second, "/s");
    report.figure("mails from the outbox into a server", sent.per_second, "/s");
    report.figure("a plain loop of the same library", sent.plain_per_second, "/s");
    report.figure("the same with the library's own pool", sent.pool_per_second, "/s");
    report.figure("the outbox, as part of the plain loop", sent.per_second / sent.plain_per_second, "");
    report.raw("notifications", &sent);
    Ok(())
}

/// The operator, as the server knows it.
async fn as_operator(cluster: &ControlPlane) -> Result<kube::Client> {
    cluster.as_bearer(&cluster.service_account_token(NAMESPACE, RELEASE).await?).await
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
