//! What has been dealt with, by id: computing it again repeats nothing. Called by the controllers of notifications.

use super::{Error, ROWS, Store, millis, placeholders};
use jiff::{SignedDuration, Timestamp};
use sqlx::AssertSqlSafe;
use std::collections::HashSet;

/// Something of an instance that has been dealt with.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mark {
    /// What follows from what was dealt with ([`crate::notify::id_of`]).
    pub id: String,
    /// The uid of the instance.
    pub instance: String,
}

impl Store {
    /// Those of the ids that are not marked yet, in the order in which they came.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unmarked(&self, mut ids: Vec<String>) -> Result<Vec<String>, Error> {
        let mut marked = HashSet::new();
        for chunk in ids.chunks(ROWS) {
            let sql = format!("SELECT id FROM marks WHERE id IN {}", placeholders(1, 1, chunk.len()));
            let mut query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id.as_str());
            }
            marked.extend(query.fetch_all(&self.pool).await?);
        }
        ids.retain(|id| !marked.contains(id));
        Ok(ids)
    }

    /// Says that an instance is gone: its marks may go after the retention. Whoever looks at finished instances must never see
    /// this one again, or its people hear everything twice.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget(&self, instance: &str, now: Timestamp) -> Result<(), Error> {
        self.trip("forget");
        let sql = self.in_order("UPDATE marks SET gone_at = $1", "marks", "instance = $2 AND gone_at IS NULL");
        sqlx::query(sql).bind(millis(now)).bind(instance).execute(&self.pool).await?;
        self.trip("forgotten");
        Ok(())
    }

    /// The uids of instances that have marks and are not said to be gone: what to compare with what the cluster has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn marked_instances(&self) -> Result<Vec<String>, Error> {
        let query = sqlx::query_scalar("SELECT DISTINCT instance FROM marks WHERE gone_at IS NULL");
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Removes what was sent, and the marks of instances that are gone, longer than the retention ago. What was set aside stays
    /// as long, for people to look at.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune(&self, retention: SignedDuration, now: Timestamp) -> Result<u64, Error> {
        let before = millis(now.saturating_sub(retention).unwrap_or(Timestamp::MIN));
        self.trip("prune");
        let mut transaction = self.pool.begin().await?;
        let mut removed = 0;
        for (table, condition) in
            [("marks", "gone_at IS NOT NULL AND gone_at < $1"), ("outbox", "due_at IS NULL AND done_at < $1")]
        {
            let sql = self.in_order(&format!("DELETE FROM {table}"), table, condition);
            removed += sqlx::query(sql).bind(before).execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        self.trip("pruned");
        Ok(removed)
    }
}
