//! A mail server that is down, slow, or refuses: nothing is lost, and nothing repeated without need (requirement R46).

use crate::cluster::ports;
use crate::post::{Post, Running, mail, options};
use crate::servers::{Mail, Smtp, eventually};
use anyhow::Result;
use quorate::delivery::Reach;
use quorate::delivery::settings::Options;
use quorate::notify::Message;
use std::collections::BTreeMap;
use std::time::Duration;

fn mails(count: usize) -> Vec<Message> {
    (0..count).map(|number| mail(number, &format!("person{number}"))).collect()
}

/// How often each message arrived.
fn arrived(mails: &[Mail]) -> BTreeMap<&str, usize> {
    let mut arrived = BTreeMap::new();
    for mail in mails {
        *arrived.entry(mail.id()).or_default() += 1;
    }
    arrived
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_server_that_is_down_at_the_start_and_in_the_middle() -> Result<()> {
    let address = ports::free()?;
    let post = Post::open().await?;
    let messages = mails(300);
    post.queue(&messages).await?;
    let mut running = Running::start(&post.store, options(&format!("smtp://{address}?tls=none")))?;
    let down = |health: &quorate::delivery::Health| {
        matches!(&health.mail, Reach::Down { why, .. } if why.contains("refused")) && health.census.queued == 300
    };
    running.health("the server is down", down).await?;

    let mut first = Smtp::start_at(address.port(), &[]).await?;
    eventually("some mails arrive", async || Ok((first.mails().len() >= 50).then_some(()))).await?;
    first.kill().await?;
    running.health("the server is down again", |health| matches!(health.mail, Reach::Down { .. })).await?;
    let second = Smtp::start_at(address.port(), &[]).await?;
    running.done(&post.store).await?;
    running.health("the server is up", |health| health.mail == Reach::Up).await?;
    let told = std::sync::Arc::clone(&running.told);
    running.stop().await?;

    let mut all = first.mails();
    let before = all.len();
    assert!((50..300).contains(&before), "killed in the middle: {before}");
    all.extend(second.mails());
    let arrived = arrived(&all);
    assert_eq!(arrived.len(), 300, "each has arrived");
    let twice = arrived.values().filter(|&&times| times > 1).count();
    assert!(twice <= 4, "only what was under way is repeated: {twice}");
    assert!(told.set_aside().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_mail_that_hangs_after_data_holds_up_no_other() -> Result<()> {
    let mut smtp = Smtp::start(&["--hang", "person0@example.com"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(40)).await?;
    let slow = Options { timeout: Some(Duration::from_secs(3)), connections: Some(2), ..options(&smtp.url()) };
    let mut running = Running::start(&post.store, slow)?;
    // The others arrive while the first hangs.
    let others = eventually("the others arrive", async || {
        let mails = smtp.mails();
        Ok((mails.len() == 39).then_some(mails))
    })
    .await?;
    assert!(others.iter().all(|mail| mail.to != ["person0@example.com"]));
    running.health("the first is still under way", |health| health.census.queued == 1).await?;
    eventually("the first is put off", async || Ok((running.told.put_off() > 0).then_some(()))).await?;
    smtp.wake()?;
    let mails = smtp.takes(40).await?;
    running.done(&post.store).await?;
    assert_eq!(arrived(&mails).len(), 40);
    running.health("the server was up all the time", |health| health.mail == Reach::Up).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_server_that_says_later_is_asked_later() -> Result<()> {
    for fault in ["--defer", "--shut-down"] {
        let smtp = Smtp::start(&[fault, "3"]).await?;
        let post = Post::open().await?;
        post.queue(&mails(1)).await?;
        let mut running = Running::start(&post.store, options(&smtp.url()))?;
        smtp.takes(1).await?;
        running.done(&post.store).await?;
        assert_eq!(running.told.put_off(), 3, "{fault}");
        assert!(running.told.set_aside().is_empty());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_sender_that_is_refused_counts_against_no_message() -> Result<()> {
    let smtp = Smtp::start(&["--defer-sender", "5"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(10)).await?;
    let mut running = Running::start(&post.store, options(&smtp.url()))?;
    let down = |health: &quorate::delivery::Health| matches!(&health.mail, Reach::Down { why, .. } if why.contains("MAIL FROM") && why.contains("451"));
    running.health("the server takes nothing from us", down).await?;
    smtp.takes(10).await?;
    running.done(&post.store).await?;
    assert_eq!(running.told.put_off(), 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_one_recipient_that_does_not_exist_is_set_aside() -> Result<()> {
    let smtp = Smtp::start(&["--reject", "person3@example.com"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(10)).await?;
    let mut running = Running::start(&post.store, options(&smtp.url()))?;
    let mails = smtp.takes(9).await?;
    let set_aside = |health: &quorate::delivery::Health| health.census.set_aside == 1 && health.census.queued == 0;
    let health = running.health("one is set aside", set_aside).await?;
    let newest = &health.census.newest[0];
    assert!(newest.reason.contains("RCPT TO") && newest.reason.contains("550"), "{}", newest.reason);
    assert_eq!(newest.about.name.as_deref(), Some("firewall"));
    assert_eq!(running.told.set_aside(), std::slice::from_ref(newest));
    assert_eq!(health.mail, Reach::Up);
    assert!(arrived(&mails).values().all(|&times| times == 1));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_never_taken_is_set_aside_in_the_end() -> Result<()> {
    let smtp = Smtp::start(&["--defer", "1000"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(1)).await?;
    let mut running = Running::start(&post.store, options(&smtp.url()))?;
    let health = running.health("it is set aside", |health| health.census.set_aside == 1).await?;
    let reason = &health.census.newest[0].reason;
    assert!(reason.starts_with("given up after 20 attempts: after DATA: ") && reason.contains("451"), "{reason}");
    assert_eq!(running.told.put_off(), 19);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_a_repeat_that_smtp_makes_unavoidable_has_the_same_message_id() -> Result<()> {
    let smtp = Smtp::start(&["--drop", "2"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(5)).await?;
    let mut running = Running::start(&post.store, Options { connections: Some(1), ..options(&smtp.url()) })?;
    let mails = smtp.takes(7).await?;
    running.done(&post.store).await?;
    let arrived = arrived(&mails);
    assert_eq!(arrived.len(), 5);
    assert_eq!(arrived.values().filter(|&&times| times == 2).count(), 2);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_and_a_server_that_is_crowded_cost_no_attempt() -> Result<()> {
    let smtp = Smtp::start(&["--close-after", "3", "--most", "2"]).await?;
    let post = Post::open().await?;
    post.queue(&mails(30)).await?;
    let mut running = Running::start(&post.store, Options { connections: Some(6), ..options(&smtp.url()) })?;
    let mails = smtp.takes(30).await?;
    running.done(&post.store).await?;
    assert_eq!(arrived(&mails).len(), 30);
    assert_eq!(running.told.put_off(), 0);
    running.stop().await
}
