//! Mails from the outbox into a mail server on this machine, against plain loops of the same mail library: same server, same
//! messages, as many connections.
//!
//! A loop keeps nothing. What the operator adds is that it claims and records each mail, so that nothing is lost and nothing
//! repeated; the difference is the price of that. There are two loops, for the library's own pool of connections waits 40 ms for
//! every mail (it sends the end of a mail apart, and leaves the kernel's delay on): one with that pool, one with connections of
//! the library that have no delay. The second is what the operator is measured against.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use quorate::delivery::channels::Channels;
use quorate::delivery::settings::Options;
use quorate::delivery::{Courier, Timing};
use quorate::notify::{Destination, Message, id_of};
use quorate::store::Store;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::sink::Sink;

/// How many connections both have.
const CONNECTIONS: usize = 8;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Notifications {
    /// Mails that were put into the outbox.
    pub queued_per_second: f64,
    /// Mails that went from the outbox into the server.
    pub per_second: f64,
    /// Mails that a plain loop sent, over connections without delay.
    pub plain_per_second: f64,
    /// Mails that a plain loop sent, over the library's own pool.
    pub pool_per_second: f64,
    mails: usize,
    connections: usize,
}

/// Sends so many mails in both ways.
pub async fn measure(mails: usize) -> Result<Notifications> {
    let messages: Vec<Message> = (0..mails).map(message).collect();
    let pool_per_second = pool(&messages[..mails / 10]).await?;
    let plain_per_second = plain(&messages).await?;
    let folder = tempfile::tempdir()?;
    let store = Store::open(&format!("sqlite:{}", folder.path().join("bench.db").display())).await?;
    let started = Instant::now();
    for some in messages.chunks(100) {
        store.enqueue(&[], some, Timestamp::now()).await?;
    }
    let queued_per_second = rate(mails, started);

    let sink = Sink::start().await?;
    let options = Options {
        url: Some(sink.url()),
        from: "Quorate <quorate@example.com>".to_owned(),
        connections: Some(CONNECTIONS),
        ..Options::default()
    };
    let courier = Courier::new(store.clone(), options.ready()?, Channels::default(), Arc::new(Timestamp::now));
    let stop = CancellationToken::new();
    let started = Instant::now();
    let running = tokio::spawn(courier.with_timing(Timing::default()).run(stop.clone()));
    while sink.count() < mails {
        ensure!(started.elapsed() < Duration::from_mins(10), "{} of {mails} mails in ten minutes", sink.count());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let per_second = rate(mails, started);
    stop.cancel();
    running.await?;
    ensure!(sink.count() == mails, "{} mails for {mails} messages", sink.count());
    ensure!(store.census(0).await?.queued == 0, "everything is recorded as sent");
    Ok(Notifications {
        queued_per_second,
        per_second,
        plain_per_second,
        pool_per_second,
        mails,
        connections: CONNECTIONS,
    })
}

/// What the library's own pool does.
async fn pool(messages: &[Message]) -> Result<f64> {
    let sink = Sink::start().await?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(sink.address.ip().to_string())
        .port(sink.address.port())
        .pool_config(PoolConfig::new().max_size(u32::try_from(CONNECTIONS)?))
        .build();
    let started = Instant::now();
    let sending = futures::stream::iter(messages.iter().map(async |message| {
        transport.send(letter(message)?).await.context("the sink refuses a mail")?;
        anyhow::Ok(())
    }));
    sending.buffer_unordered(CONNECTIONS).try_collect::<()>().await?;
    let rate = rate(messages.len(), started);
    ensure!(sink.count() == messages.len(), "{} mails for {} messages", sink.count(), messages.len());
    Ok(rate)
}

/// What its connections do without delay.
async fn plain(messages: &[Message]) -> Result<f64> {
    let sink = Sink::start().await?;
    let started = Instant::now();
    let sending = messages.chunks(messages.len().div_ceil(CONNECTIONS)).map(async |part| {
        let stream = TcpStream::connect(sink.address).await?;
        stream.set_nodelay(true)?;
        let hello = ClientId::default();
        let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?;
        for message in part {
            let letter = letter(message)?;
            connection.send(letter.envelope(), &letter.formatted()).await.context("the sink refuses a mail")?;
        }
        connection.quit().await?;
        anyhow::Ok(())
    });
    futures::future::try_join_all(sending).await?;
    let rate = rate(messages.len(), started);
    ensure!(sink.count() == messages.len(), "{} mails for {} messages", sink.count(), messages.len());
    Ok(rate)
}

fn letter(message: &Message) -> Result<lettre::Message> {
    let Destination::Mail { address, .. } = &message.to else { anyhow::bail!("no mail") };
    let parts = MultiPart::alternative_plain_html(message.text.clone(), message.html.clone().unwrap_or_default());
    let letter = lettre::Message::builder()
        .from(Mailbox::new(Some("Quorate".to_owned()), "quorate@example.com".parse()?))
        .to(Mailbox::new(None, address.parse()?))
        .subject(&message.subject)
        .message_id(Some(format!("<{}@example.com>", message.id)));
    Ok(letter.multipart(parts)?)
}

#[allow(clippy::cast_precision_loss)]
fn rate(mails: usize, since: Instant) -> f64 {
    mails as f64 / since.elapsed().as_secs_f64()
}

fn message(number: usize) -> Message {
    let lines = "Mary asks for the role firewall-admin in the namespace shop.\n".repeat(20);
    Message {
        id: id_of(&["bench", &number.to_string()]),
        to: Destination::Mail { address: format!("person{number}@example.com"), name: None },
        topic: "assigned".to_owned(),
        subject: format!("Please decide: task {number}"),
        html: Some(format!("<p>{lines}</p>")),
        text: lines,
        thread: Some("bench".to_owned()),
        about: ObjectReference::default(),
        event: Value::Null,
    }
}
