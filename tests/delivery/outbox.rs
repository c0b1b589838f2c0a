//! The outbox in `PostgreSQL`, and with several operators at once.

use crate::post::{Running, mail, marks, options};
use crate::servers::{Postgres, eventually};
use crate::sink::Sink;
use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use quorate::delivery::settings::Options;
use quorate::notify::Message;
use quorate::store::outbox::{Fate, MAIL};
use quorate::store::{Mark, Store};
use std::collections::BTreeSet;

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|number| mail(number, &format!("person{number}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_who_share_a_database_take_each_message_once() -> Result<()> {
    const MESSAGES: usize = 1000;
    let postgres = Postgres::start().await?;
    let stores = postgres.stores(4).await?;
    let messages = messages(MESSAGES);
    let marks = marks(&messages);
    let now = Timestamp::now();

    let queued = futures::future::join_all(stores.iter().map(|store| store.enqueue(&marks, &messages, now))).await;
    let new = queued.into_iter().sum::<Result<usize, _>>()?;
    assert_eq!(new, MESSAGES, "each is queued once");

    let claiming = stores.iter().enumerate().map(async |(number, store)| {
        let holder = format!("operator{number}");
        let mut taken = Vec::new();
        loop {
            let until = now + SignedDuration::from_secs(60);
            let claimed = store.claim(MAIL, &holder, 16, until, now).await?;
            if claimed.is_empty() {
                return anyhow::Ok(taken);
            }
            let fates: Vec<_> = claimed.into_iter().map(|claimed| (claimed.message.id, Fate::Sent)).collect();
            store.settle(&holder, &fates, now).await?;
            taken.extend(fates.into_iter().map(|(id, _)| id));
        }
    });
    let taken = futures::future::try_join_all(claiming).await?;
    let all: Vec<&String> = taken.iter().flatten().collect();
    assert_eq!(all.len(), MESSAGES, "none was taken twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), MESSAGES, "each was taken");
    assert_eq!(stores[0].census(1).await?.queued, 0);
    Ok(())
}

/// PostgreSQL ends one of two transactions that wait for each other's rows. Whoever writes takes rows in one order, so that nobody
/// does: here everything that changes many rows runs against everything else, each operator with the same rows in another order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_who_share_a_database_never_wait_in_a_circle() -> Result<()> {
    const MESSAGES: usize = 200;
    const ROUNDS: usize = 15;
    let postgres = Postgres::start().await?;
    let stores = postgres.stores(4).await?;
    let messages = messages(MESSAGES);
    let marks = marks(&messages);
    let start = Timestamp::now();
    for round in 0..ROUNDS {
        let now = start + SignedDuration::from_hours(i64::try_from(round)? * 24);
        let until = now + SignedDuration::from_secs(60);
        let working = stores.iter().enumerate().map(async |(number, store)| {
            let mut ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
            ids.rotate_left(number * MESSAGES / 4);
            if number % 2 == 1 {
                ids.reverse();
            }
            let sent: Vec<_> = ids.into_iter().map(|id| (id, Fate::Sent)).collect();
            let work = async {
                store.enqueue(&marks, &messages, now).await?;
                store.claim(MAIL, "all of them", MESSAGES / 2, until, now).await?;
                store.renew("all of them", until).await?;
                store.heal(now - SignedDuration::from_hours(24)).await?;
                store.settle("all of them", &sent, now).await?;
                store.forget("uid", now).await?;
                store.prune(SignedDuration::ZERO, now + SignedDuration::from_secs(1)).await
            };
            work.await.map_err(|error| anyhow::anyhow!("operator {number} in round {round}: {error}"))
        });
        let removed = futures::future::try_join_all(working).await.with_context(|| postgres.log())?;
        assert!(removed.iter().sum::<u64>() >= MESSAGES as u64, "{removed:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_what_sqlite_keeps() -> Result<()> {
    let postgres = Postgres::start().await?;
    let store = Store::open(&postgres.url()).await?;
    let now = Timestamp::from_second(1_800_000_000)?;
    let later = |seconds: i64| now + SignedDuration::from_secs(seconds);
    let mut hostile = mail(1, "Mary");
    hostile.subject = "NUL \0 and 'quotes\" and ž 🚀".to_owned();
    hostile.html = None;
    hostile.thread = None;
    let messages = [hostile, mail(2, "john"), mail(3, "anna")];
    assert_eq!(store.enqueue(&[], &messages, now).await?, 3);
    assert_eq!(store.next_due(MAIL).await?, Some(now));
    let claimed = store.claim(MAIL, "one", 9, later(30), now).await?;
    assert_eq!(claimed[0].message.subject, "NUL \u{fffd} and 'quotes\" and ž 🚀");
    assert_eq!((&claimed[0].message.html, &claimed[0].message.thread), (&None, &None));
    assert_eq!(claimed[1].message, messages[1]);
    let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
    let fates = [
        (ids[0].clone(), Fate::Sent),
        (ids[1].clone(), Fate::Again { due: later(5), reason: "451".to_owned() }),
        (ids[2].clone(), Fate::SetAside { reason: "550 \0".to_owned() }),
    ];
    store.settle("one", &fates, later(1)).await?;
    assert_eq!(store.next_due(MAIL).await?, Some(later(5)));
    let census = store.census(9).await?;
    assert_eq!((census.queued, census.set_aside, census.newest.len()), (1, 1, 1));
    let sent = store.sent_to(&["mary@example.com".to_owned()], "one", now, later(2)).await?;
    assert_eq!(sent["mary@example.com"], [later(1)]);
    assert_eq!(store.waiting(MAIL, None, 9).await?[0].attempts, 1);
    assert_eq!(store.lanes().await?, [MAIL]);
    store.renew("one", later(60)).await?;
    store.heal(now).await?;
    assert_eq!(store.value_or("born", "a").await?, "a");
    assert_eq!(store.value_or("born", "b").await?, "a");
    store.set_value("born", "c").await?;
    assert_eq!(store.value("born").await?.as_deref(), Some("c"));
    let mark = Mark { id: "a".to_owned(), instance: "uid".to_owned() };
    store.enqueue(&[mark], &[], now).await?;
    assert_eq!(store.unmarked(vec!["a".to_owned(), "b".to_owned()]).await?, ["b"]);
    store.forget("uid", now).await?;
    assert_eq!(store.marked_instances().await?, Vec::<String>::new());
    assert_eq!(store.prune(SignedDuration::from_secs(10), later(60)).await?, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_database_that_is_away_for_a_while_costs_no_mail() -> Result<()> {
    const MAILS: usize = 300;
    let mut postgres = Postgres::start().await?;
    let store = Store::open(&postgres.url()).await?;
    let sink = Sink::start().await?;
    store.enqueue(&[], &messages(MAILS), Timestamp::now()).await?;
    let mut running = Running::start(&store, Options { per_second: 100.0, ..options(&sink.url()) })?;
    eventually("some mails arrive", async || Ok((sink.count() >= 50).then_some(()))).await?;
    postgres.crash().await?;
    let before = sink.count();
    postgres.resume().await?;
    running.done(&store).await?;
    running.stop().await?;
    let taken = sink.taken();
    let ids: BTreeSet<&str> = taken.iter().map(|taken| taken.id.as_str()).collect();
    assert!(before < MAILS, "away in the middle: {before}");
    assert_eq!((ids.len(), taken.len()), (MAILS, MAILS), "each arrives once: what came of it is recorded later");
    Ok(())
}
