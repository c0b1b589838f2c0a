//! Background programs that cannot outlive this process.
//!
//! A shell script, `supervise.sh`, starts them in a process group of its own and reads orders from a pipe that this
//! process holds open. When the pipe closes, for whatever reason, it kills the programs and removes their folder.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

/// How long a supervisor may be silent before it counts as dead; it shows itself twice a second.
const SILENCE: Duration = Duration::from_secs(5);

/// A folder and the programs that run in it. Dropping it kills them and removes the folder.
pub struct Supervisor {
    folder: PathBuf,
    child: Child,
    orders: Option<ChildStdin>,
}

impl Supervisor {
    /// Takes over a folder, which goes when the programs go.
    pub fn new(folder: PathBuf) -> Result<Self> {
        let mut child = Command::new("bash")
            .arg(super::root().join("tests/cluster/supervise.sh"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches this process only, which then ends its programs in order.
            .process_group(0)
            .spawn()
            .context("bash does not start")?;
        let orders = child.stdin.take();
        Ok(Self { folder, child, orders })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program under a name; its output goes to the file `NAME.log` in the folder, after what is there.
    pub async fn start(&mut self, name: &str, argv: &[String]) -> Result<()> {
        let command_line = argv.iter().flat_map(|argument| [argument, "\0"]).collect::<String>();
        std::fs::write(self.file(name, "argv"), command_line)?;
        for old in ["pid", "exit"] {
            let _ = std::fs::remove_file(self.file(name, old));
        }
        self.order(&format!("start {name}"))?;
        let started = Instant::now();
        while !self.file(name, "pid").exists() {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("{name} does not start");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Sends a running program a signal: `"TERM"`, `"KILL"`, `"STOP"`.
    pub fn signal(&mut self, name: &str, signal: &str) -> Result<()> {
        self.order(&format!("signal {name} {signal}"))
    }

    /// What the program ended with, as a shell gives it (128 + the signal that killed it); `None` while it runs.
    pub fn exit_status(&self, name: &str) -> Option<i32> {
        std::fs::read_to_string(self.file(name, "exit")).ok()?.trim().parse().ok()
    }

    /// Where the program's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.file(name, "log")
    }

    /// The end of the program's output, for a message.
    pub fn log_tail(&self, name: &str, lines: usize) -> String {
        let log = std::fs::read(self.log(name)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lets the programs run on without this process, until [`stop`].
    pub fn detach(mut self) -> Result<()> {
        self.order("detach")?;
        self.orders = None;
        // Forgetting skips `drop`, which would wait for the supervisor's end.
        std::mem::forget(self);
        Ok(())
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the supervisor takes no more orders")?;
        orders.write_all(format!("{line}\n").as_bytes()).context("the supervisor is gone")
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// Whether somebody looks after the programs in the folder, or has just made it in order to.
pub fn is_alive(folder: &Path) -> bool {
    let shown = [folder.join("alive"), folder.to_path_buf()]
        .iter()
        .find_map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    shown.is_some_and(|shown| SystemTime::now().duration_since(shown).is_ok_and(|silence| silence < SILENCE))
}

/// Ends the programs of a detached (or another process's) supervisor and removes its folder.
pub async fn stop(folder: &Path) -> Result<()> {
    if is_alive(folder) {
        std::fs::write(folder.join("stop"), "")?;
    }
    while is_alive(folder) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if folder.exists() {
        // Its supervisor was killed or the machine was restarted.
        kill_orphans(folder).await;
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Kills the programs whose process ids the folder holds and whose command lines still name the folder.
async fn kill_orphans(folder: &Path) {
    let named = folder.to_string_lossy().into_owned();
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        let Ok(pid) = std::fs::read_to_string(&path) else {
            continue;
        };
        let Ok(command_line) = std::fs::read(format!("/proc/{}/cmdline", pid.trim())) else {
            continue;
        };
        if String::from_utf8_lossy(&command_line).contains(&named) {
            let _ = tokio::process::Command::new("bash")
                .args(["-c", "kill -KILL \"$1\"", "kill", pid.trim()])
                .status()
                .await;
        }
    }
}
