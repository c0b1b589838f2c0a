//! The outbox: queues messages, hands them out to be sent, records what came of them.
//!
//! ```text
//! queued ──claim──▶ sending ──▶ sent
//!    ▲                 │  └───▶ failed: set aside, with a reason
//!    └──again, later───┘
//! ```
//!
//! A message that is being sent belongs to its holder until a moment that the holder moves on; after that anybody may take it.
//! When the operator dies between a server's acceptance and the record of it, the message goes out again under the same id.

pub use super::census::{Census, SetAside};
use super::{Error, LOCKED_IN_ORDER, Mark, ROWS, Store, millis, moment, placeholders};
use crate::notify::{Destination, Message};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};
use std::collections::HashSet;

/// Nothing waits longer than this before it is looked at again: what seems to, waits for a clock that was wrong.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// The lane of mail.
pub const MAIL: &str = "mail";

/// How many columns a new message fills.
const QUEUED_COLUMNS: usize = 17;

/// A message that was handed out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The message.
    pub message: Message,
    /// How often it has been tried in vain.
    pub attempts: u32,
    /// When it was queued.
    pub created_at: Timestamp,
}

/// What came of a message that was handed out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// A server has taken it.
    Sent,
    /// The attempt failed; it is tried again.
    Again {
        /// Not before.
        due: Timestamp,
        /// What happened.
        reason: String,
    },
    /// It was not tried; it waits its turn.
    Later {
        /// Not before.
        due: Timestamp,
    },
    /// It will never be sent.
    SetAside {
        /// Why.
        reason: String,
    },
}

/// What carries messages to a destination: `mail`, or `channel/` and a name.
#[must_use]
pub fn lane(to: &Destination) -> String {
    match to {
        Destination::Mail { .. } => MAIL.to_owned(),
        Destination::Channel(name) => channel_lane(name),
    }
}

/// The lane of a channel.
#[must_use]
pub fn channel_lane(name: &str) -> String {
    format!("channel/{name}")
}

/// Whose mails are counted together.
#[must_use]
pub fn recipient(to: &Destination) -> String {
    match to {
        Destination::Mail { address, .. } => address.to_lowercase(),
        Destination::Channel(name) => name.clone(),
    }
}

impl Store {
    /// In one transaction: marks what has been dealt with, and queues messages; what is marked or queued already is left alone.
    /// Returns how many messages are new.
    ///
    /// # Errors
    /// When the store does not answer; nothing is marked or queued then.
    pub async fn enqueue(&self, marks: &[Mark], messages: &[Message], now: Timestamp) -> Result<usize, Error> {
        if marks.is_empty() && messages.is_empty() {
            return Ok(0);
        }
        // In the order of ids, so that two operators who queue the same never wait for each other in a circle.
        let mut marks: Vec<&Mark> = marks.iter().collect();
        marks.sort_unstable();
        let mut messages: Vec<(usize, &Message)> = messages.iter().enumerate().collect();
        messages.sort_unstable_by_key(|(_, message)| &message.id);
        self.trip("enqueue");
        let mut transaction = self.pool.begin().await?;
        for chunk in marks.chunks(ROWS) {
            mark(&mut transaction, chunk, now).await?;
        }
        let mut new = 0;
        for chunk in messages.chunks(ROWS) {
            new += queue(&mut transaction, chunk, now).await?;
        }
        transaction.commit().await?;
        self.trip("enqueued");
        if new > 0 {
            self.queued.send_modify(|count| *count += 1);
        }
        Ok(usize::try_from(new).unwrap_or(usize::MAX))
    }

    /// Hands out messages of a lane that are due, the longest waiting first: they belong to the holder until that moment.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim(
        &self,
        lane: &str,
        holder: &str,
        limit: usize,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.trip("claim");
        // What another operator is taking is passed over, not waited for.
        let skip = if self.lite { "" } else { "FOR UPDATE SKIP LOCKED" };
        let sql = format!(
            "WITH due AS MATERIALIZED ( \
                 SELECT id FROM outbox WHERE lane = $4 AND due_at <= $3 ORDER BY due_at, created_at, place LIMIT $5 {skip}) \
             UPDATE outbox SET state = 'sending', holder = $1, due_at = $2 WHERE id IN (SELECT id FROM due) \
             RETURNING id, lane, destination, name, topic, subject, text, html, thread, about, event, \
                 attempts, created_at, place"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(holder)
            .bind(millis(until))
            .bind(millis(now))
            .bind(lane)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        self.trip("claimed");
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let order: (i64, i64) = (row.try_get("created_at")?, row.try_get("place")?);
            claimed.push((order, Claimed::of(row)?));
        }
        claimed.sort_by_key(|(order, _)| *order);
        Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
    }

    /// Whatever the holder has belongs to it until that moment.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn renew(&self, holder: &str, until: Timestamp) -> Result<(), Error> {
        self.trip("renew");
        let sql = self.in_order("UPDATE outbox SET due_at = $1", "outbox", "holder = $2 AND state = 'sending'");
        sqlx::query(sql).bind(millis(until)).bind(holder).execute(&self.pool).await?;
        self.trip("renewed");
        Ok(())
    }

    /// Records what came of messages, in one transaction. That one was sent is recorded whoever holds it now; the record outlives a
    /// loss of power, or everything that was sent lately would be sent again.
    ///
    /// # Errors
    /// When the store does not answer; nothing is recorded then.
    pub async fn settle(&self, holder: &str, fates: &[(String, Fate)], now: Timestamp) -> Result<(), Error> {
        if fates.is_empty() {
            return Ok(());
        }
        self.trip("settle");
        let mut connection = self.pool.acquire().await?;
        if self.lite {
            connection.execute("PRAGMA synchronous = FULL").await?;
        }
        let mut transaction = connection.begin().await?;
        let mut fates: Vec<&(String, Fate)> = fates.iter().collect();
        if !self.lite {
            let locked = lock(&mut transaction, &fates).await?;
            fates.retain(|(id, _)| locked.contains(id));
        }
        let sent: Vec<&String> = fates.iter().filter(|(_, fate)| *fate == Fate::Sent).map(|(id, _)| id).collect();
        for chunk in sent.chunks(ROWS) {
            record_sent(&mut transaction, chunk, now).await?;
        }
        for (id, fate) in &fates {
            match fate {
                Fate::Sent => {}
                Fate::Again { due, reason } => {
                    let sql = "UPDATE outbox SET state = 'queued', holder = NULL, due_at = $1, reason = $2, \
                               attempts = attempts + 1 WHERE id = $3 AND holder = $4";
                    let update = sqlx::query(sql).bind(millis(*due)).bind(plain(reason));
                    update.bind(id.as_str()).bind(holder).execute(&mut *transaction).await?;
                }
                Fate::Later { due } => {
                    let sql = "UPDATE outbox SET state = 'queued', holder = NULL, due_at = $1 \
                               WHERE id = $2 AND holder = $3";
                    let update = sqlx::query(sql).bind(millis(*due)).bind(id.as_str());
                    update.bind(holder).execute(&mut *transaction).await?;
                }
                Fate::SetAside { reason } => {
                    let sql = "UPDATE outbox SET state = 'failed', holder = NULL, due_at = NULL, done_at = $1, \
                               reason = $2, attempts = attempts + 1 WHERE id = $3 AND holder = $4";
                    let update = sqlx::query(sql).bind(millis(now)).bind(plain(reason));
                    update.bind(id.as_str()).bind(holder).execute(&mut *transaction).await?;
                }
            }
        }
        transaction.commit().await?;
        if self.lite {
            connection.execute("PRAGMA synchronous = NORMAL").await?;
        }
        self.trip("settled");
        Ok(())
    }
}

impl Claimed {
    pub(super) fn of(row: &AnyRow) -> Result<Self, Error> {
        let id: String = row.try_get("id")?;
        let event: String = row.try_get("event")?;
        let event = serde_json::from_str(&event).map_err(|error| unreadable("event", &id, &error))?;
        let message = Message {
            to: destination_of(row)?,
            topic: row.try_get("topic")?,
            subject: row.try_get("subject")?,
            text: row.try_get("text")?,
            html: row.try_get("html")?,
            thread: row.try_get("thread")?,
            about: about_of(row, &id)?,
            event,
            id,
        };
        let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX);
        Ok(Self { message, attempts, created_at: moment(row.try_get("created_at")?) })
    }
}

pub(super) fn destination_of(row: &AnyRow) -> Result<Destination, Error> {
    let (lane, destination): (String, String) = (row.try_get("lane")?, row.try_get("destination")?);
    if lane == MAIL {
        return Ok(Destination::Mail { address: destination, name: row.try_get("name")? });
    }
    Ok(Destination::Channel(destination))
}

pub(super) fn about_of(row: &AnyRow, id: &str) -> Result<ObjectReference, Error> {
    let about: String = row.try_get("about")?;
    serde_json::from_str(&about).map_err(|error| unreadable("about", id, &error))
}

fn unreadable(what: &'static str, id: &str, why: &serde_json::Error) -> Error {
    Error::Unreadable { what, id: id.to_owned(), why: why.to_string() }
}

async fn mark(connection: &mut AnyConnection, marks: &[&Mark], now: Timestamp) -> Result<(), Error> {
    let rows = placeholders(1, marks.len(), 3);
    let sql = format!("INSERT INTO marks (id, instance, marked_at) VALUES {rows} ON CONFLICT (id) DO NOTHING");
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for mark in marks {
        query = query.bind(mark.id.as_str()).bind(mark.instance.as_str()).bind(millis(now));
    }
    query.execute(connection).await?;
    Ok(())
}

pub(super) async fn queue(
    connection: &mut AnyConnection,
    messages: &[(usize, &Message)],
    now: Timestamp,
) -> Result<u64, Error> {
    let rows = placeholders(1, messages.len(), QUEUED_COLUMNS);
    let sql = format!(
        "INSERT INTO outbox (id, lane, destination, recipient, name, topic, subject, text, html, thread, about, event, \
         due_at, created_at, place, state, attempts) VALUES {rows} ON CONFLICT (id) DO NOTHING"
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (place, message) in messages {
        let (destination, name) = match &message.to {
            Destination::Mail { address, name } => (address, name.as_deref()),
            Destination::Channel(name) => (name, None),
        };
        let about = serde_json::to_string(&message.about).unwrap_or_else(|_| "{}".to_owned());
        query = query
            .bind(message.id.as_str())
            .bind(lane(&message.to))
            .bind(plain(destination))
            .bind(plain(&recipient(&message.to)))
            .bind(name.map(plain))
            .bind(message.topic.as_str())
            .bind(plain(&message.subject))
            .bind(plain(&message.text))
            .bind(message.html.as_deref().map(plain))
            .bind(message.thread.as_deref())
            .bind(about)
            .bind(message.event.to_string())
            .bind(millis(now))
            .bind(millis(now))
            .bind(i64::try_from(*place).unwrap_or(i64::MAX))
            .bind("queued")
            .bind(0_i64);
    }
    Ok(query.execute(connection).await?.rows_affected())
}

/// Takes the rows of messages in the order of ids, see [`Store::in_order`]. Those that are there: one that appears after that is
/// out of order, and not what was sent.
async fn lock(connection: &mut AnyConnection, fates: &[&(String, Fate)]) -> Result<HashSet<String>, Error> {
    let mut ids: Vec<&String> = fates.iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    let mut locked = HashSet::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS) {
        let rows = placeholders(1, 1, chunk.len());
        let sql = format!("SELECT id FROM outbox WHERE id IN {rows} {LOCKED_IN_ORDER}");
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind(id.as_str());
        }
        locked.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(locked)
}

async fn record_sent(connection: &mut AnyConnection, ids: &[&String], now: Timestamp) -> Result<(), Error> {
    let sql = format!(
        "UPDATE outbox SET state = 'sent', holder = NULL, due_at = NULL, done_at = $1, reason = NULL, \
         text = '', html = NULL, event = 'null' WHERE state <> 'sent' AND id IN {}",
        placeholders(2, 1, ids.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(millis(now));
    for id in ids {
        query = query.bind(id.as_str());
    }
    query.execute(connection).await?;
    Ok(())
}

/// Text that every database takes: `PostgreSQL` has no letter NUL.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
