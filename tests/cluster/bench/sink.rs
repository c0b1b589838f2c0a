//! A mail server that takes everything and keeps nothing but who and when: fast enough that it is never what is measured.
//!
//! Used by the bench and by the tests of delivery.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The recipient.
    pub to: String,
    /// The Message-ID.
    pub id: String,
    /// When.
    pub at: Instant,
}

/// The server; it ends when it is dropped.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Starts it on a free port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let into = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let into = Arc::clone(&into);
                // A client that goes away in the middle is no matter of ours.
                tokio::spawn(async move { serve(stream, &into).await.ok() });
            }
        });
        Ok(Self { address, taken, task })
    }

    /// Where mail goes.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.address)
    }

    /// What it has taken, in that order.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much it has taken.
    pub fn count(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, taken: &Mutex<Vec<Taken>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let (mut to, mut id) = (String::new(), String::new());
    let mut data = false;
    stream.write_all(b"220 sink\r\n").await?;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let text = line.trim_end();
        if data {
            if let Some(value) = text.strip_prefix("Message-ID: ") {
                value.clone_into(&mut id);
            }
            if text != "." {
                continue;
            }
            data = false;
            let mail = Taken { to: std::mem::take(&mut to), id: std::mem::take(&mut id), at: Instant::now() };
            taken.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
            stream.write_all(b"250 taken\r\n").await?;
            continue;
        }
        let answer: &[u8] = match text.get(..4).unwrap_or_default() {
            "RCPT" => {
                to = text.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                b"250 OK\r\n"
            }
            "DATA" => {
                data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 OK\r\n",
        };
        stream.write_all(answer).await?;
    }
}
