//! Up to where schedules have been dealt with, and what the last mails of digests counted. Called by the controllers of Digest and
//! Reminder.
//!
//! What a run changes and the mails that it sends are one transaction. It holds only while the schedule still stands where the run
//! was computed from: a run that somebody else has finished, or that is finished a second time, changes nothing.

use super::outbox::{plain, queue};
use super::{Error, ROWS, Store, millis, moment, placeholders};
use crate::notify::Message;
use crate::notify::schedule::Handled;
use crate::notify::seen::{Change, Seen};
use jiff::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

#[cfg(test)]
mod tests;

/// What is known of the schedule of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScheduleState {
    /// Up to where it has been dealt with.
    pub handled: Handled,
    /// What the last mails of a Digest counted.
    pub seen: Seen,
}

impl Store {
    /// Up to where the schedule of the object with that uid has been dealt with; nothing before it has begun. Whoever only looks
    /// whether something is due needs no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn handled(&self, uid: &str) -> Result<Option<Handled>, Error> {
        let query = sqlx::query("SELECT schedule, handled_until FROM schedules WHERE uid = $1").bind(uid);
        let Some(row) = query.fetch_optional(&self.pool).await? else { return Ok(None) };
        Ok(Some(Handled { schedule: row.try_get("schedule")?, until: moment(row.try_get("handled_until")?) }))
    }

    /// What is known of the schedule of the object with that uid; nothing before it has begun.
    ///
    /// # Errors
    /// When the store does not answer, or holds what this program did not write.
    pub async fn schedule(&self, uid: &str) -> Result<Option<ScheduleState>, Error> {
        // The moment is read before what goes with it: a run that is finished in between is found out by its moment.
        let Some(handled) = self.handled(uid).await? else { return Ok(None) };
        let mut seen = Seen::default();
        let query = sqlx::query("SELECT task, number FROM seen_tasks WHERE uid = $1").bind(uid);
        for row in query.fetch_all(&self.pool).await? {
            let number: i64 = row.try_get("number")?;
            let number = u64::try_from(number).map_err(|error| unreadable("number", uid, error.to_string()))?;
            seen.tasks.insert(row.try_get("task")?, number);
        }
        let query = sqlx::query("SELECT person, numbers FROM seen_people WHERE uid = $1").bind(uid);
        for row in query.fetch_all(&self.pool).await? {
            let numbers: String = row.try_get("numbers")?;
            let numbers = numbers.parse().map_err(|error| unreadable("numbers", uid, error))?;
            seen.people.insert(row.try_get("person")?, numbers);
        }
        Ok(Some(ScheduleState { handled, seen }))
    }

    /// Lets a schedule begin, or begin again after an edit; what people have been told stays known. Whether it did: not when it no
    /// longer stands where it did `before`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_schedule(&self, uid: &str, before: Option<&Handled>, begin: &Handled) -> Result<bool, Error> {
        self.trip("begin schedule");
        let query = match before {
            None => sqlx::query(
                "INSERT INTO schedules (uid, schedule, handled_until) VALUES ($1, $2, $3) ON CONFLICT (uid) DO NOTHING",
            )
            .bind(uid)
            .bind(plain(&begin.schedule))
            .bind(millis(begin.until)),
            Some(before) => sqlx::query(
                "UPDATE schedules SET schedule = $1, handled_until = $2 \
                 WHERE uid = $3 AND schedule = $4 AND handled_until = $5",
            )
            .bind(plain(&begin.schedule))
            .bind(millis(begin.until))
            .bind(uid)
            .bind(plain(&before.schedule))
            .bind(millis(before.until)),
        };
        let took_place = query.execute(&self.pool).await?.rows_affected() > 0;
        self.trip("schedule begun");
        Ok(took_place)
    }

    /// Finishes a run: queues its messages, remembers what people have been told, and that the schedule has been dealt with up to
    /// its moment. Messages are asked for as they are written, a few at a time. How many were new; none where the schedule no
    /// longer stands at `handled`, or stands past the run already.
    ///
    /// # Errors
    /// When the store does not answer; nothing is changed then.
    pub async fn finish_run(
        &self,
        uid: &str,
        handled: &Handled,
        at: Timestamp,
        seen: &Change,
        messages: impl Iterator<Item = Message> + Send,
        now: Timestamp,
    ) -> Result<Option<usize>, Error> {
        self.trip("finish run");
        let mut transaction = self.pool.begin().await?;
        let update = sqlx::query(
            "UPDATE schedules SET handled_until = $1 \
             WHERE uid = $2 AND schedule = $3 AND handled_until = $4 AND handled_until < $1",
        );
        let update = update.bind(millis(at)).bind(uid).bind(plain(&handled.schedule)).bind(millis(handled.until));
        if update.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        change(&mut transaction, uid, seen).await?;
        let mut new = 0;
        let mut messages = messages.enumerate();
        loop {
            let chunk: Vec<(usize, Message)> = messages.by_ref().take(ROWS).collect();
            if chunk.is_empty() {
                break;
            }
            let chunk: Vec<(usize, &Message)> = chunk.iter().map(|(place, message)| (*place, message)).collect();
            new += queue(&mut transaction, &chunk, now).await?;
        }
        transaction.commit().await?;
        self.trip("run finished");
        if new > 0 {
            self.queued.send_modify(|count| *count += 1);
        }
        Ok(Some(usize::try_from(new).unwrap_or(usize::MAX)))
    }

    /// The uids of all objects whose schedules are known: what to compare with what the cluster has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn schedules(&self) -> Result<Vec<String>, Error> {
        Ok(sqlx::query_scalar("SELECT uid FROM schedules ORDER BY uid").fetch_all(&self.pool).await?)
    }

    /// Forgets everything about the schedule of an object that is gone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_schedule(&self, uid: &str) -> Result<(), Error> {
        self.trip("forget schedule");
        let mut transaction = self.pool.begin().await?;
        for sql in [
            "DELETE FROM schedules WHERE uid = $1",
            "DELETE FROM seen_tasks WHERE uid = $1",
            "DELETE FROM seen_people WHERE uid = $1",
        ] {
            sqlx::query(sql).bind(uid).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.trip("schedule forgotten");
        Ok(())
    }
}

async fn change(connection: &mut AnyConnection, uid: &str, seen: &Change) -> Result<(), Error> {
    remove(connection, "DELETE FROM seen_tasks WHERE uid = $1 AND task IN", uid, &seen.closed).await?;
    remove(connection, "DELETE FROM seen_people WHERE uid = $1 AND person IN", uid, &seen.done).await?;
    for chunk in seen.opened.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO seen_tasks (uid, task, number) VALUES {} \
             ON CONFLICT (uid, task) DO UPDATE SET number = excluded.number",
            placeholders(1, chunk.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (task, number) in chunk {
            query = query.bind(uid).bind(plain(task)).bind(i64::try_from(*number).unwrap_or(i64::MAX));
        }
        query.execute(&mut *connection).await?;
    }
    for chunk in seen.told.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO seen_people (uid, person, numbers) VALUES {} \
             ON CONFLICT (uid, person) DO UPDATE SET numbers = excluded.numbers",
            placeholders(1, chunk.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (person, numbers) in chunk {
            query = query.bind(uid).bind(plain(person)).bind(numbers.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn remove(connection: &mut AnyConnection, sql: &str, uid: &str, keys: &[String]) -> Result<(), Error> {
    for chunk in keys.chunks(ROWS) {
        let sql = format!("{sql} {}", placeholders(2, 1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(uid);
        for key in chunk {
            query = query.bind(plain(key));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn unreadable(what: &'static str, uid: &str, why: String) -> Error {
    Error::Unreadable { what, id: uid.to_owned(), why }
}
