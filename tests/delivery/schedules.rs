//! What is remembered of schedules in `PostgreSQL`, with several operators at once; `src/store` asks the same of SQLite in memory.

use crate::post::mail;
use crate::servers::Postgres;
use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use quorate::notify::schedule::Handled;
use quorate::notify::seen::{Change, Seen};
use quorate::store::schedules::ScheduleState;

const UID: &str = "4f1f3b1e";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r42_operators_who_share_a_database_finish_each_run_once() -> Result<()> {
    const RUNS: i64 = 6;
    let postgres = Postgres::start().await?;
    let stores = postgres.stores(4).await?;
    let start = Timestamp::from_second(1_800_000_000)?;
    let handled = |run: i64| Handled {
        schedule: "0 8 * * * Europe/Prague".to_owned(),
        until: start + SignedDuration::from_hours(24 * run),
    };
    let from = handled(0);
    let begun = futures::future::join_all(stores.iter().map(|store| store.begin_schedule(UID, None, &from))).await;
    let begun = begun.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "it begins once: {begun:?}");

    let mut expected = Seen::default();
    for run in 0..RUNS {
        let first = u64::try_from(run)? * 100;
        let change = Change {
            opened: (first..first + 150).map(|number| (format!("task '{number}' ž"), number)).collect(),
            closed: (first.saturating_sub(100)..first).map(|number| format!("task '{number}' ž")).collect(),
            told: (0..100).map(|person| (format!("person {person}"), (first..first + 150).collect())).collect(),
            done: vec!["person 0".to_owned()],
        };
        let (from, to) = (handled(run), handled(run + 1));
        let finishing = stores.iter().map(async |store| {
            let mails = (0..100).map(|number| mail(usize::try_from(run).unwrap() * 100 + number, "mary"));
            store.finish_run(UID, &from, to.until, &change, mails, to.until).await
        });
        let finished = futures::future::try_join_all(finishing).await.with_context(|| postgres.log())?;
        let mut took: Vec<usize> = finished.iter().filter_map(|finished| *finished).collect();
        assert_eq!(took.pop(), Some(100), "run {run}: {finished:?}");
        assert!(took.is_empty(), "run {run} was finished twice: {finished:?}");
        let mut sorted = change;
        sorted.closed.sort_unstable();
        expected = expected.after(sorted);
        let known = stores[0].schedule(UID).await?;
        assert_eq!(known, Some(ScheduleState { handled: to, seen: expected.clone() }), "after run {run}");
    }
    assert_eq!(stores[0].census(0).await?.queued, 100 * u64::try_from(RUNS)?);

    let edited = Handled { schedule: "30 8 * * * Europe/Prague".to_owned(), until: handled(RUNS).until };
    assert!(stores[1].begin_schedule(UID, Some(&handled(RUNS)), &edited).await?);
    assert!(!stores[2].begin_schedule(UID, Some(&handled(RUNS)), &edited).await?, "it stands elsewhere");
    assert_eq!(stores[2].schedules().await?, [UID]);
    let gone = futures::future::join_all(stores.iter().map(|store| store.forget_schedule(UID))).await;
    gone.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!((stores[3].schedule(UID).await?, stores[3].schedules().await?), (None, Vec::new()));
    Ok(())
}
