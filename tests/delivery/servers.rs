//! The servers that tests start: a mail server, PostgreSQL. They end when they are dropped, or with this process.

use crate::cluster::pki::Authority;
use crate::cluster::supervisor::Supervisor;
use crate::cluster::{generated, ports, root};
use anyhow::{Context as _, Result, ensure};
use quorate::store::Store;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What everything here is given to happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mail, as the server in Python has read it.
#[derive(Clone, Debug, Deserialize)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub tls: bool,
    pub user: Option<String>,
    #[serde(rename = "type")]
    pub content_type: String,
    headers: Vec<(String, String)>,
    pub parts: Vec<Part>,
    pub defects: Vec<String>,
    pub longest: usize,
    pub ascii: bool,
    pub verified: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    #[serde(rename = "type")]
    pub content_type: String,
    pub text: String,
}

impl Mail {
    /// The header of that name; there must be one.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => value,
            (None, _) => panic!("no {name} in {:?}", self.headers),
            (Some(_), Some(_)) => panic!("{name} is there twice in {:?}", self.headers),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }

    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// What is left of @ in the Message-ID: the id of the message.
    pub fn id(&self) -> &str {
        let id = self.header("Message-ID").trim_start_matches('<');
        id.split_once('@').map_or(id, |(id, _)| id)
    }
}

/// The mail server in Python.
pub struct Smtp {
    supervisor: Supervisor,
    pub port: u16,
}

impl Smtp {
    /// Starts it on a port that is free, with faults: see `smtp_server.py --help`.
    pub async fn start(faults: &[&str]) -> Result<Self> {
        Self::start_at(0, faults).await
    }

    /// Starts it on that port.
    pub async fn start_at(port: u16, faults: &[&str]) -> Result<Self> {
        let mut supervisor = Supervisor::new(folder("smtp")?)?;
        let packages = generated().join("mail");
        ensure!(packages.exists(), "{} is missing: run tests/cluster/build.sh", packages.display());
        let script = root().join("tests/delivery/smtp_server.py");
        let mut argv = vec![
            "env".to_owned(),
            format!("PYTHONPATH={}", packages.display()),
            "python3".to_owned(),
            script.display().to_string(),
            "--port".to_owned(),
            port.to_string(),
        ];
        argv.extend(faults.iter().map(|&fault| fault.to_owned()));
        supervisor.start("smtp", &argv).await?;
        let mut started = Self { supervisor, port };
        started.port = eventually("the mail server says where it listens", async || {
            ensure!(
                started.supervisor.exit_status("smtp").is_none(),
                "the mail server ended: {}",
                started.supervisor.log_tail("smtp", 20)
            );
            Ok(started.lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                u16::try_from(line.get("port")?.as_u64()?).ok()
            }))
        })
        .await?;
        Ok(started)
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// The mails that it has taken, in that order.
    pub fn mails(&self) -> Vec<Mail> {
        self.lines().filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// Waits until it has taken so many; more than that are no success.
    pub async fn takes(&self, count: usize) -> Result<Vec<Mail>> {
        let mails = eventually("the mails arrive", async || {
            let mails = self.mails();
            Ok((mails.len() >= count).then_some(mails))
        });
        let mails = mails.await.with_context(|| format!("{} of {count} arrived", self.mails().len()))?;
        ensure!(mails.len() == count, "{} mails arrived instead of {count}", mails.len());
        Ok(mails)
    }

    /// Waits until nobody is connected, and so nothing more arrives by itself.
    pub async fn quiet(&self) -> Result<()> {
        eventually("all connections end", async || {
            let counts = self.lines().filter_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                line.get("open")?.as_u64()
            });
            Ok((counts.last().unwrap_or(0) == 0).then_some(()))
        })
        .await
    }

    /// It hangs no more.
    pub fn wake(&mut self) -> Result<()> {
        self.supervisor.signal("smtp", "USR1")
    }

    /// Kills it. Its port is free then.
    pub async fn kill(&mut self) -> Result<()> {
        self.supervisor.signal("smtp", "KILL")?;
        eventually("the mail server ends", async || Ok(self.supervisor.exit_status("smtp"))).await?;
        Ok(())
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let log = std::fs::read(self.supervisor.log("smtp")).unwrap_or_default();
        let mut text = String::from_utf8_lossy(&log).into_owned();
        // A line that is being written is none yet.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect::<Vec<_>>().into_iter()
    }
}

/// A certificate for 127.0.0.1, in files.
pub struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    pub fn create() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::create()?;
        authority.save(folder.path())?;
        authority.server("mail")?.save(folder.path(), "mail")?;
        Ok(Self { folder })
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    pub fn certificate(&self) -> String {
        self.folder.path().join("mail.crt").display().to_string()
    }

    pub fn key(&self) -> String {
        self.folder.path().join("mail.key").display().to_string()
    }
}

/// PostgreSQL with an empty database.
pub struct Postgres {
    supervisor: Supervisor,
    argv: Vec<String>,
    port: u16,
}

impl Postgres {
    pub async fn start() -> Result<Self> {
        let folder = folder("postgres")?;
        let data = folder.join("data");
        let mut supervisor = Supervisor::new(folder.clone())?;
        let mut initdb = as_nobody_special(&folder, &program("initdb")?)?;
        initdb.extend(
            ["-D", &data.display().to_string(), "-U", "quorate", "-A", "trust", "--no-sync"].map(str::to_owned),
        );
        supervisor.start("initdb", &initdb).await?;
        let status = eventually("initdb ends", async || Ok(supervisor.exit_status("initdb"))).await?;
        ensure!(status == 0, "initdb fails: {}", supervisor.log_tail("initdb", 20));
        let port = ports::free()?.port();
        let mut postgres = as_nobody_special(&folder, &program("postgres")?)?;
        postgres.extend(["-D", &data.display().to_string(), "-p", &port.to_string(), "-k", ""].map(str::to_owned));
        postgres.extend(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"].map(str::to_owned));
        let mut started = Self { supervisor, argv: postgres, port };
        started.resume().await?;
        Ok(started)
    }

    /// Ends it at once, without order.
    pub async fn crash(&mut self) -> Result<()> {
        self.supervisor.signal("postgres", "QUIT")?;
        eventually("PostgreSQL ends", async || Ok(self.supervisor.exit_status("postgres"))).await?;
        std::fs::remove_file(self.supervisor.log("postgres"))?;
        Ok(())
    }

    /// Starts it with what it had.
    pub async fn resume(&mut self) -> Result<()> {
        self.supervisor.start("postgres", &self.argv).await?;
        let started = &*self;
        eventually("PostgreSQL listens", async || {
            ensure!(
                started.supervisor.exit_status("postgres").is_none(),
                "PostgreSQL ended: {}",
                started.supervisor.log_tail("postgres", 20)
            );
            let log = started.supervisor.log_tail("postgres", 20);
            Ok(log.contains("ready to accept connections").then_some(()))
        })
        .await
    }

    /// The stores of so many operators, which open it and migrate at the same time.
    pub async fn stores(&self, operators: usize) -> Result<Vec<Store>> {
        let url = self.url();
        let opened = futures::future::join_all((0..operators).map(async |_| Store::open(&url).await)).await;
        Ok(opened.into_iter().collect::<Result<_, _>>()?)
    }

    /// The last of what it says.
    pub fn log(&self) -> String {
        self.supervisor.log_tail("postgres", 40)
    }

    pub fn url(&self) -> String {
        format!("postgres://quorate@127.0.0.1:{}/postgres", self.port)
    }
}

/// A new folder that anybody may enter: servers that refuse to run as root work in it.
pub fn folder(what: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix(&format!("quorate-{what}-")).tempdir()?.keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// A program of PostgreSQL.
fn program(name: &str) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = path.split(':').map(PathBuf::from).chain(installed.map(|version| version.path().join("bin")));
    let found = folders.map(|folder| folder.join(name)).find(|program| program.exists());
    let found = found.with_context(|| format!("{name} is missing: run tests/cluster/build.sh"))?;
    Ok(found.display().to_string())
}

/// A command line that runs a program as the user postgres where we are root: PostgreSQL refuses to be root.
fn as_nobody_special(folder: &Path, program: &str) -> Result<Vec<String>> {
    let id = std::process::Command::new("id").arg("-u").output().context("id")?.stdout;
    if id.trim_ascii() != b"0" {
        return Ok(vec![program.to_owned()]);
    }
    let given = std::process::Command::new("chown").arg("postgres").arg(folder).status().context("chown")?;
    ensure!(given.success(), "there is no user postgres: run tests/cluster/build.sh");
    let as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", program];
    Ok(as_user.map(str::to_owned).to_vec())
}

/// Asks again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await.with_context(|| what.to_owned())? {
            return Ok(answer);
        }
        ensure!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
