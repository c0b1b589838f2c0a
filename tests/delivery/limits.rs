//! Many messages at a bounded rate, and few to one recipient, over restarts.

use crate::post::{Post, Running, mail, options};
use crate::servers::{Smtp, eventually};
use crate::sink::Sink;
use anyhow::Result;
use jiff::Timestamp;
use quorate::delivery::Clock;
use quorate::delivery::channels::Channels;
use quorate::delivery::settings::Options;
use quorate::notify::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mails_are_paced_over_a_restart() -> Result<()> {
    const MAILS: usize = 10_000;
    const PER_SECOND: usize = 500;
    const CONNECTIONS: usize = 8;
    let sink = Sink::start().await?;
    let post = Post::open().await?;
    let messages: Vec<Message> = (0..MAILS).map(|number| mail(number, &format!("person{number}"))).collect();
    post.queue(&messages).await?;
    drop(messages);
    #[allow(clippy::cast_precision_loss)]
    let paced = || Options { per_second: PER_SECOND as f64, connections: Some(CONNECTIONS), ..options(&sink.url()) };
    let before = memory()?;
    let running = Running::start(&post.store, paced())?;
    eventually("a third of them arrives", async || Ok((sink.count() >= MAILS / 3).then_some(()))).await?;
    running.stop().await?;
    let in_the_middle = sink.count();
    assert!(in_the_middle < MAILS, "{in_the_middle}");
    let mut running = Running::start(&post.store, paced())?;
    eventually("all arrive", async || Ok((sink.count() >= MAILS).then_some(()))).await?;
    running.done(&post.store).await?;
    running.stop().await?;

    let taken = sink.taken();
    let ids: BTreeSet<&str> = taken.iter().map(|taken| taken.id.as_str()).collect();
    let recipients: BTreeSet<&str> = taken.iter().map(|taken| taken.to.as_str()).collect();
    assert_eq!((taken.len(), ids.len(), recipients.len()), (MAILS, MAILS, MAILS), "each once");
    // In no second more than the rate, a second's worth that was saved up, and what was claimed before: four times what is sent
    // at once, and that. A machine that stands still for a moment makes it all arrive together.
    let most = 2 * PER_SECOND + 5 * CONNECTIONS;
    for (first, taken_at) in taken.iter().enumerate() {
        let within = taken[first..].iter().take_while(|later| later.at - taken_at.at < Duration::from_secs(1)).count();
        assert!(within <= most, "{within} within a second");
    }
    let span = taken[MAILS - 1].at - taken[0].at;
    assert!(span >= Duration::from_secs((MAILS / PER_SECOND) as u64 - 2), "too fast: {span:?}");
    let after = memory()?;
    assert!(after < before + 40 * 1024 * 1024, "from {before} to {after} bytes");
    println!("{MAILS} mails in {span:?}, memory from {} to {} MiB", before >> 20, after >> 20);
    Ok(())
}

/// How much of the memory this process holds.
fn memory() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    Ok(status.split(' ').nth(1).unwrap_or("0").parse::<usize>()? * 4096)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_recipient_gets_so_many_an_hour_and_a_restart_does_not_forget() -> Result<()> {
    let smtp = Smtp::start(&[]).await?;
    let post = Post::open().await?;
    let second = Arc::new(AtomicI64::new(Timestamp::now().as_second()));
    let reading = Arc::clone(&second);
    let clock: Clock = Arc::new(move || Timestamp::from_second(reading.load(Ordering::SeqCst)).expect("a moment"));
    let limited = || Options { per_recipient: 3, ..options(&smtp.url()) };
    let start = || Running::start_at(&post.store, limited(), Channels::default(), Arc::clone(&clock));
    let mut messages: Vec<Message> =
        (0..8).map(|number| mail(number, if number % 2 == 0 { "mary" } else { "Mary" })).collect();
    messages.push(mail(8, "john"));
    post.store.enqueue(&[], &messages, clock()).await?;
    let to_mary =
        |smtp: &Smtp| smtp.mails().iter().filter(|mail| mail.to[0].eq_ignore_ascii_case("mary@example.com")).count();

    let mut running = start()?;
    running.health("five wait", |health| health.census.queued == 5).await?;
    assert_eq!((to_mary(&smtp), smtp.mails().len()), (3, 4), "john is not held up");
    running.stop().await?;

    let mut running = start()?;
    let another = [mail(9, "john"), mail(10, "mary")];
    post.store.enqueue(&[], &another, clock()).await?;
    smtp.takes(5).await?;
    running.health("six wait", |health| health.census.queued == 6).await?;
    for (hours, expected) in [(1, 6), (2, 9)] {
        second.fetch_add(3601, Ordering::SeqCst);
        let count = || to_mary(&smtp);
        eventually("the next arrive", async || Ok((count() >= expected).then_some(()))).await?;
        let left = 9 - u64::try_from(expected)?;
        running.health("the rest waits", |health| health.census.queued == left).await?;
        assert_eq!(to_mary(&smtp), expected, "after {hours} hours");
    }
    assert!(running.told.set_aside().is_empty(), "put off, never dropped");
    running.stop().await
}
