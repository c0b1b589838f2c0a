//! Kill anywhere: the process of the courier is killed at every write of the outbox, before and after it. Each message arrives;
//! none but what was under way arrives twice.

use crate::post::{mail, marks, options, timing};
use crate::servers::{Postgres, Smtp};
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use quorate::delivery::channels::Channels;
use quorate::delivery::settings::Options;
use quorate::delivery::{Courier, Timing};
use quorate::notify::Message;
use quorate::store::Store;
use quorate::store::outbox::MAIL;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const MAILS: usize = 7;
const CONNECTIONS: usize = 2;

fn messages() -> Vec<Message> {
    (0..MAILS).map(|number| mail(number, &format!("person{number}"))).collect()
}

/// What the process does that is killed: queues, carries, ends when nothing is left.
async fn live(url: &str, smtp: &str, dies_at: usize) -> Result<()> {
    let passed = AtomicUsize::new(0);
    let store = Store::open(url).await?.with_tripwire(Arc::new(move |_| {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == dies_at {
            // The runtime has one thread: when this hangs, everything does, until the kill arrives.
            let _ = Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
            loop {
                std::thread::park();
            }
        }
    }));
    // In two steps, as the operator does: something is told, later more.
    for part in [&messages()[..3], &messages()[..]] {
        let marks = marks(part);
        let new = store.unmarked(marks.iter().map(|mark| mark.id.clone()).collect()).await?;
        let new: Vec<Message> = part.iter().filter(|message| new.contains(&message.id)).cloned().collect();
        store.enqueue(&marks, &new, Timestamp::now()).await?;
    }
    let mail = Options { connections: Some(CONNECTIONS), ..options(smtp) }.ready()?;
    let timing = Timing { lease: Duration::from_millis(400), poll: Duration::from_millis(50), ..timing() };
    let courier = Courier::new(store.clone(), mail, Channels::default(), Arc::new(Timestamp::now)).with_timing(timing);
    let stop = CancellationToken::new();
    let running = tokio::spawn(courier.run(stop.clone()));
    while store.census(0).await?.queued > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    running.await?;
    store.close().await;
    Ok(())
}

/// No test: the process that the tests below start and kill. Without their word it does nothing.
#[test]
#[ignore = "the process that other tests kill"]
fn process() -> Result<()> {
    let (Ok(url), Ok(smtp), Ok(dies_at)) =
        (std::env::var("KILL_STORE"), std::env::var("KILL_SMTP"), std::env::var("KILL_AT"))
    else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live(&url, &smtp, dies_at.parse()?))
}

/// Runs the process; whether it was killed.
fn run(url: &str, smtp: &str, dies_at: usize) -> Result<bool> {
    let output = Command::new(std::env::current_exe()?)
        .args(["kill::process", "--exact", "--ignored", "--nocapture"])
        .envs([("KILL_STORE", url), ("KILL_SMTP", smtp), ("KILL_AT", &dies_at.to_string())])
        .stdin(Stdio::null())
        .output()?;
    match std::os::unix::process::ExitStatusExt::signal(&output.status) {
        Some(9) => Ok(true),
        _ if output.status.success() => Ok(false),
        _ => anyhow::bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    }
}

/// Kills at every write, before and after, until a process lives through it all. Returns how often.
async fn sweep(store: impl AsyncFn(usize) -> Result<String>) -> Result<usize> {
    let smtp = Smtp::start(&[]).await?;
    let mut seen = 0;
    for dies_at in 1.. {
        let url = store(dies_at).await?;
        let killed = run(&url, &smtp.url(), dies_at)?;
        smtp.quiet().await?;
        let before: BTreeSet<String> = smtp.mails()[seen..].iter().map(|mail| mail.id().to_owned()).collect();
        // Taken by the server, and not recorded as sent.
        let unrecorded = Store::open(&url).await?.waiting(MAIL, None, 100).await?;
        let in_doubt: BTreeSet<String> =
            unrecorded.into_iter().map(|claimed| claimed.message.id).filter(|id| before.contains(id)).collect();
        ensure!(in_doubt.len() <= CONNECTIONS, "{} mails are in doubt after kill {dies_at}", in_doubt.len());
        ensure!(!run(&url, &smtp.url(), usize::MAX)?, "the second process dies");
        smtp.quiet().await?;
        let mails = smtp.mails();
        let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
        for mail in &mails[seen..] {
            *arrived.entry(mail.id().to_owned()).or_default() += 1;
        }
        seen = mails.len();
        let missing: Vec<_> = messages().into_iter().filter(|message| !arrived.contains_key(&message.id)).collect();
        ensure!(missing.is_empty(), "{} mails are lost after kill {dies_at}", missing.len());
        for (id, times) in &arrived {
            let allowed = if in_doubt.contains(id) { 2 } else { 1 };
            ensure!(*times <= allowed, "{id} arrived {times} times after kill {dies_at}");
        }
        if !killed {
            return Ok(dies_at - 1);
        }
    }
    Ok(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_killed_at_every_write_nothing_is_lost_in_sqlite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    let kills =
        sweep(async move |number| Ok(format!("sqlite:{}", path.join(format!("{number}.db")).display()))).await?;
    ensure!(kills > 15, "only {kills} kills: something is not counted");
    println!("nothing lost over {kills} kills");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_killed_at_every_write_nothing_is_lost_in_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    let url = postgres.url();
    let kills = sweep(async |number| {
        let database = format!("kill{number}");
        let pool = sqlx::any::AnyPoolOptions::new().max_connections(1);
        sqlx::any::install_default_drivers();
        let pool = pool.connect(&url).await.context("PostgreSQL")?;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&pool).await?;
        pool.close().await;
        Ok(url.replace("/postgres", &format!("/{database}")).replacen(&format!("/{database}:"), "/postgres:", 1))
    })
    .await?;
    ensure!(kills > 15, "only {kills} kills: something is not counted");
    println!("nothing lost over {kills} kills");
    Ok(())
}
