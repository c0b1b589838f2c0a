//! The store: what must outlive the operator and is no Kubernetes object. The outbox of messages, the marks of what has been
//! told already, the state of schedules.
//!
//! `SQLite` in a file by default, `PostgreSQL` by URL; both speak the same SQL here. Everything that belongs together is one
//! transaction, and every statement that takes a message for sending passes over what somebody else is taking, so that two
//! operators may share one database.
//!
//! - [`outbox`]: queues messages, hands them out, records what came of them
//! - [`census`]: what is in it
//! - [`marks`]: what has been dealt with, by id
//! - [`schedules`]: up to where schedules have been dealt with, and what the last mails of digests counted
//! - [`state`]: single values
//!
//! Called by the controllers of notifications, which queue, and by [`crate::delivery`], which sends. It decides nothing.

pub mod census;
pub mod marks;
pub mod outbox;
pub mod schedules;
pub mod state;

use jiff::Timestamp;
pub use marks::Mark;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor as _};
use std::fmt::{self, Write as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use url::Url;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// How long whoever needs a connection waits for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many connections to `PostgreSQL` there are at most.
const CONNECTIONS: u32 = 5;

/// How many rows one statement takes.
const ROWS: usize = 64;

/// How `PostgreSQL` locks the rows that a query finds: see [`Store::in_order`].
const LOCKED_IN_ORDER: &str = "ORDER BY id COLLATE \"C\" FOR UPDATE";

/// What `SQLite` is told at every connection. `NORMAL`: a machine that loses power may forget the last moments, as a whole; they are
/// computed again. What was sent is recorded more firmly: see [`Store::settle`].
const PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                       PRAGMA foreign_keys = ON";

/// Is told before and after every write, by its name. Tests stop the world there.
pub type Tripwire = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The store.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    /// It is `SQLite`.
    lite: bool,
    /// Counts up when messages were queued.
    queued: watch::Sender<u64>,
    tripwire: Option<Tripwire>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is none of a store.
    #[error("store {url}: {why}; write sqlite:PATH or postgres://user:password@host/database")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// It cannot be opened.
    #[error(
        "store {url} cannot be opened: {source}; see to it that it is there, and that the operator may write to it"
    )]
    Open {
        /// The URL, without its password.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Its tables cannot be brought up to date.
    #[error("store {url}: its tables cannot be brought up to date: {source}")]
    Migrate {
        /// The URL, without its password.
        url: String,
        /// Why.
        source: MigrateError,
    },
    /// It does not answer, or not as it should.
    #[error("store: {0}")]
    Database(#[from] sqlx::Error),
    /// It has something that this program did not write.
    #[error("store: {what} of {id} cannot be read: {why}")]
    Unreadable {
        /// Which column.
        what: &'static str,
        /// Which row.
        id: String,
        /// Why.
        why: String,
    },
}

impl Store {
    /// Opens the store behind `sqlite:PATH`, `sqlite::memory:` or `postgres://…`, and brings its tables up to date. A file that is
    /// missing is made.
    ///
    /// # Errors
    /// When it cannot be opened or brought up to date; the message names the URL without its password.
    pub async fn open(url: &str) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let shown = without_password(url);
        let wrong = |why: String| Error::Url { url: shown.clone(), why };
        let (url, lite) = match url.split_once(':') {
            Some(("sqlite", _)) => (created_if_missing(url), true),
            Some(("postgres" | "postgresql", _)) => (url.to_owned(), false),
            _ => return Err(wrong("is neither SQLite nor PostgreSQL".to_owned())),
        };
        let options = AnyConnectOptions::from_str(&url).map_err(|error| wrong(error.to_string()))?;
        let pool = AnyPoolOptions::new().acquire_timeout(PATIENCE);
        let pool = if lite {
            // One connection, for ever: SQLite has one writer, and what is in memory goes with its connection.
            let pool = pool.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
            pool.after_connect(|connection: &mut AnyConnection, _| {
                Box::pin(async move { connection.execute(PRAGMAS).await.map(|_| ()) })
            })
        } else {
            pool.max_connections(CONNECTIONS)
        };
        let pool = pool.connect_with(options).await.map_err(|source| Error::Open { url: shown.clone(), source })?;
        MIGRATIONS.run(&pool).await.map_err(|source| Error::Migrate { url: shown, source })?;
        Ok(Self { pool, lite, queued: watch::Sender::new(0), tripwire: None })
    }

    /// The same store, which tells of its writes before and after.
    #[must_use]
    pub fn with_tripwire(mut self, tripwire: Tripwire) -> Self {
        self.tripwire = Some(tripwire);
        self
    }

    /// Changes whenever this process has queued messages.
    #[must_use]
    pub fn queued(&self) -> watch::Receiver<u64> {
        self.queued.subscribe()
    }

    /// Ends every connection. What was recorded stays.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A statement that makes a `change` (`UPDATE table SET …`, `DELETE FROM table`) to all rows of `table` that meet `condition`.
    ///
    /// `PostgreSQL` locks them first, in the order of ids, as every writer does: two operators who change the same rows then wait for
    /// each other in turn, never in a circle, which it would end by failing one of them.
    fn in_order(&self, change: &str, table: &str, condition: &str) -> AssertSqlSafe<String> {
        let locked = if self.lite { "" } else { LOCKED_IN_ORDER };
        AssertSqlSafe(format!(
            "WITH chosen AS MATERIALIZED (SELECT id FROM {table} WHERE {condition} {locked}) \
             {change} WHERE id IN (SELECT id FROM chosen)"
        ))
    }

    fn trip(&self, at: &'static str) {
        if let Some(tripwire) = &self.tripwire {
            tripwire(at);
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return url.split_once(':').map_or_else(String::new, |(scheme, _)| format!("{scheme}:…"));
    };
    // Where there is no user there is no password.
    let _ = parsed.set_password(None);
    // PostgreSQL takes a password as a parameter too.
    parsed.set_query(None);
    parsed.to_string()
}

/// What makes the file of an `SQLite` URL that names one.
fn created_if_missing(url: &str) -> String {
    if url.contains(":memory:") || url.contains("mode=") {
        return url.to_owned();
    }
    format!("{url}{}mode=rwc", if url.contains('?') { '&' } else { '?' })
}

/// `rows` times a list of placeholders of `columns`, counted on from `from`: `($1, $2), ($3, $4)`.
fn placeholders(from: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let separator = if column == 0 { "" } else { ", " };
            // Writing into a String cannot fail.
            let _ = write!(text, "{separator}${}", from + row * columns + column);
        }
        text.push(')');
    }
    text
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests;
