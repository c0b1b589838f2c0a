//! What is in the outbox: how much, since when, for whom. Called by [`crate::delivery`], and by whoever shows it.

use super::outbox::{Claimed, LONGEST_WAIT, about_of, destination_of};
use super::{Error, ROWS, Store, millis, moment, placeholders};
use crate::notify::Destination;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;

/// So many that were set aside are shown at most.
const SHOWN: i64 = 1000;

/// A message that was set aside.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// The id of the message.
    pub id: String,
    /// Where it should have gone.
    pub to: Destination,
    /// Its topic.
    pub topic: String,
    /// What it is about.
    pub about: ObjectReference,
    /// Why it cannot be sent.
    pub reason: String,
    /// When it was set aside.
    pub at: Timestamp,
}

/// How many messages there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    /// Those that wait or are being sent.
    pub queued: u64,
    /// Those that were set aside and are still kept.
    pub set_aside: u64,
    /// The newest of these, of each topic, Digest and Reminder.
    pub newest: Vec<SetAside>,
}

impl Store {
    /// When the next message of a lane is due; the lease of one that is being sent counts as well.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn next_due(&self, lane: &str) -> Result<Option<Timestamp>, Error> {
        let query = sqlx::query_scalar::<_, Option<i64>>(
            "SELECT MIN(due_at) FROM outbox WHERE lane = $1 AND due_at IS NOT NULL",
        );
        Ok(query.bind(lane).fetch_one(&self.pool).await?.map(moment))
    }

    /// The moments at which mails to these recipients were sent since, by recipient in lower case; those that other operators
    /// are sending count as sent now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn sent_to(
        &self,
        recipients: &[String],
        holder: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Vec<Timestamp>>, Error> {
        let mut sent: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for chunk in recipients.chunks(ROWS) {
            let sql = format!(
                "SELECT recipient, done_at FROM outbox WHERE lane = 'mail' AND recipient IN {} \
                 AND ((state = 'sent' AND done_at > $1) OR (state = 'sending' AND holder <> $2))",
                placeholders(3, 1, chunk.len())
            );
            let mut query = sqlx::query_as::<_, (String, Option<i64>)>(AssertSqlSafe(sql));
            query = query.bind(millis(since)).bind(holder);
            for recipient in chunk {
                query = query.bind(recipient.as_str());
            }
            for (recipient, at) in query.fetch_all(&self.pool).await? {
                sent.entry(recipient).or_default().push(at.map_or(now, moment));
            }
        }
        Ok(sent)
    }

    /// Brings back what a clock that was wrong has put off for too long.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn heal(&self, now: Timestamp) -> Result<(), Error> {
        self.trip("heal");
        let late = millis(now.saturating_add(LONGEST_WAIT * 2).unwrap_or(Timestamp::MAX));
        let sql = self.in_order("UPDATE outbox SET due_at = $1", "outbox", "due_at > $2");
        sqlx::query(sql).bind(millis(now)).bind(late).execute(&self.pool).await?;
        self.trip("healed");
        Ok(())
    }

    /// Lets those be looked at again that were put off without a try, because their recipients had enough: the limit may be another
    /// one now. Returns how many those are.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reconsider(&self, now: Timestamp) -> Result<u64, Error> {
        self.trip("reconsider");
        let put_off = "state = 'queued' AND attempts = 0 AND due_at > $1";
        let sql = self.in_order("UPDATE outbox SET due_at = $1", "outbox", put_off);
        let changed = sqlx::query(sql).bind(millis(now)).execute(&self.pool).await?.rows_affected();
        self.trip("reconsidered");
        Ok(changed)
    }

    /// The lanes that messages wait in.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lanes(&self) -> Result<Vec<String>, Error> {
        let query = sqlx::query_scalar("SELECT DISTINCT lane FROM outbox WHERE due_at IS NOT NULL");
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Messages that wait in a lane, in the order in which they were queued, behind that place: for showing them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn waiting(
        &self,
        lane: &str,
        behind: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let (at, id) = behind.map_or((i64::MIN, String::new()), |(at, id)| (millis(at), id));
        let rows = sqlx::query(
            "SELECT id, lane, destination, name, topic, subject, text, html, thread, about, event, attempts, created_at \
             FROM outbox WHERE lane = $1 AND due_at IS NOT NULL AND (created_at > $2 OR (created_at = $2 AND id > $3)) \
             ORDER BY created_at, id LIMIT $4",
        )
        .bind(lane)
        .bind(at)
        .bind(id)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Claimed::of).collect()
    }

    /// How many messages there are, and those that were set aside last: the newest `newest` of each topic, and of each Digest and
    /// Reminder, so that what fails often hides nothing else.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn census(&self, newest: usize) -> Result<Census, Error> {
        let count = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.pool);
        let queued = count("SELECT COUNT(*) FROM outbox WHERE due_at IS NOT NULL").await?;
        let set_aside = count("SELECT COUNT(*) FROM outbox WHERE state = 'failed'").await?;
        let rows = sqlx::query(
            "SELECT id, lane, destination, name, topic, about, reason, done_at FROM ( \
                 SELECT id, lane, destination, name, topic, about, reason, done_at, ROW_NUMBER() OVER ( \
                     PARTITION BY topic, CASE WHEN thread IS NULL THEN about ELSE '' END ORDER BY done_at DESC, id) AS nth \
                 FROM outbox WHERE state = 'failed') AS failed \
             WHERE nth <= $1 ORDER BY done_at DESC, id LIMIT $2",
        )
        .bind(i64::try_from(newest).unwrap_or(i64::MAX))
        .bind(SHOWN)
        .fetch_all(&self.pool)
        .await?;
        let newest = rows.iter().map(SetAside::of).collect::<Result<_, _>>()?;
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        Ok(Census { queued: number(queued), set_aside: number(set_aside), newest })
    }
}

impl SetAside {
    fn of(row: &AnyRow) -> Result<Self, Error> {
        let id: String = row.try_get("id")?;
        Ok(Self {
            to: destination_of(row)?,
            topic: row.try_get("topic")?,
            about: about_of(row, &id)?,
            reason: row.try_get::<Option<String>, _>("reason")?.unwrap_or_default(),
            at: moment(row.try_get::<Option<i64>, _>("done_at")?.unwrap_or_default()),
            id,
        })
    }
}
