//! Connections to the mail server: a bounded number, used again, closed when nobody has used them for a while.

use super::settings::Server;
use super::smtp;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// After so long without use a connection is closed: servers do the same, sooner or later.
const REST: Duration = Duration::from_secs(20);

/// For so long no further connections are opened to a server that has refused one beside others.
const CROWDED: Duration = Duration::from_mins(1);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// The connections.
pub(super) struct Pool {
    server: Server,
    timeout: Duration,
    most: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    idle: Vec<(AsyncSmtpConnection, Instant)>,
    /// How many there are, idle or not, or being opened.
    open: usize,
    /// Until when no more than so many are opened.
    crowded: Option<(usize, Instant)>,
}

/// A connection that is in use. Dropped, it is closed.
pub(super) struct Taken {
    connection: Option<AsyncSmtpConnection>,
    /// Whether it has waited for this.
    pub(super) used: bool,
    pool: Arc<Pool>,
}

impl Pool {
    pub(super) fn new(server: Server, most: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { server, timeout, most, state: Mutex::default(), freed: Notify::new() })
    }

    /// A connection: one that waits, or a new one, or the next that is given back.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Taken, String> {
        loop {
            // Before looking: what is given back in between is not missed.
            let freed = self.freed.notified();
            match self.try_take() {
                Try::Idle(connection) => {
                    return Ok(Taken { connection: Some(*connection), used: true, pool: Arc::clone(self) });
                }
                Try::Open => {
                    // Counted already; closed again when this is dropped.
                    let mut taken = Taken { connection: None, used: false, pool: Arc::clone(self) };
                    match smtp::connect(&self.server, self.timeout).await {
                        Ok(connection) => {
                            taken.connection = Some(connection);
                            return Ok(taken);
                        }
                        Err(why) => {
                            drop(taken);
                            if !self.crowded() {
                                return Err(why);
                            }
                        }
                    }
                }
                Try::Wait => freed.await,
            }
        }
    }

    /// Closes what nobody has used for a while.
    pub(super) fn rest(&self) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            let mut kept = Vec::new();
            for (connection, since) in state.idle.drain(..) {
                if since.elapsed() < REST { kept.push((connection, since)) } else { gone.push(connection) }
            }
            state.idle = kept;
            state.open -= gone.len();
        }
        for connection in gone {
            farewell(connection);
        }
    }

    /// Closes everything that is not in use.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.state();
            let idle = std::mem::take(&mut state.idle);
            state.open -= idle.len();
            idle
        };
        for (mut connection, _) in idle {
            // A server that does not say goodbye is left without.
            let _ = tokio::time::timeout(GOODBYE, connection.quit()).await;
        }
    }

    fn try_take(&self) -> Try {
        let mut state = self.state();
        while let Some((connection, since)) = state.idle.pop() {
            if since.elapsed() < REST {
                return Try::Idle(Box::new(connection));
            }
            state.open -= 1;
            farewell(connection);
        }
        let most = match state.crowded {
            Some((most, until)) if Instant::now() < until => most.clamp(1, self.most),
            _ => self.most,
        };
        if state.open >= most {
            return Try::Wait;
        }
        state.open += 1;
        Try::Open
    }

    /// Whether there are other connections, which have to do for a while.
    fn crowded(&self) -> bool {
        let mut state = self.state();
        if state.open == 0 {
            return false;
        }
        state.crowded = Some((state.open, Instant::now() + CROWDED));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Try {
    Idle(Box<AsyncSmtpConnection>),
    Open,
    Wait,
}

impl Taken {
    pub(super) fn get(&mut self) -> Option<&mut AsyncSmtpConnection> {
        self.connection.as_mut()
    }

    /// Gives it back for the next mail.
    pub(super) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            let mut state = self.pool.state();
            state.idle.push((connection, Instant::now()));
            // What is dropped now is not counted out.
            state.open += 1;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.state().open -= 1;
        self.pool.freed.notify_one();
    }
}

/// Says goodbye without anybody waiting for it.
fn farewell(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move {
        let _ = tokio::time::timeout(GOODBYE, connection.quit()).await;
    });
}
