//! How the story looks on a terminal: numbered chapters, what somebody types, what they see, and the claims that hold.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Where the time stands at the right of a chapter's title.
const WIDTH: usize = 100;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";

/// A claim that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{claim}: expected {expected}, found {found}")]
pub struct Broken {
    /// What was claimed.
    pub claim: String,
    /// What would have made it hold.
    pub expected: String,
    /// What there is instead.
    pub found: String,
}

/// Tells the story on standard output. A reader who has left (`| head`) is no failure.
pub struct Telling {
    begun: Instant,
    colours: bool,
    chapters: Cell<u32>,
    claims: Cell<u32>,
}

impl Telling {
    /// Begins: the clock runs from here.
    pub fn begin(title: &str) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let telling = Self { begun: Instant::now(), colours, chapters: Cell::default(), claims: Cell::default() };
        telling.print(&telling.coloured(BOLD, title));
        telling
    }

    /// A chapter, with its number and the time since the beginning.
    pub fn chapter(&self, title: &str) {
        self.chapters.set(self.chapters.get() + 1);
        let title = format!("{}. {title}", self.chapters.get());
        let time = self.time();
        let gap = " ".repeat(WIDTH.saturating_sub(title.chars().count() + time.len()));
        self.print(&format!("\n{}{gap}{}", self.coloured(BOLD, &title), self.coloured(DIM, &time)));
    }

    /// What a reader needs to know.
    pub fn explain(&self, text: &str) {
        self.print(&format!("   {text}"));
    }

    /// What somebody types, with their prompt.
    pub fn typed(&self, line: &str) {
        self.print(&format!("   {line}"));
    }

    /// What somebody sees, or has in a file.
    pub fn shown(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.print(&self.coloured(DIM, &format!("     {}", line.trim_end())));
        }
    }

    /// A claim that has been checked and holds.
    pub fn holds(&self, claim: &str) {
        self.claims.set(self.claims.get() + 1);
        self.print(&format!("   {} {claim}", self.coloured(GREEN, "✓")));
    }

    /// Something was done.
    pub fn done(&self, what: &str) {
        self.print(&format!("   {} {what}", self.coloured(GREEN, "✓")));
    }

    /// Something failed; `log` is the end of what the operator logged.
    pub fn failed(&self, why: &anyhow::Error, log: Option<&str>) {
        let why = format!("{why:#}");
        let mut lines = why.trim().lines().filter(|line| !line.trim().is_empty());
        self.print(&format!("   {} {}", self.coloured(RED, "✗"), lines.next().unwrap_or_default()));
        lines.for_each(|line| self.print(&format!("     {line}")));
        if let Some(log) = log.filter(|log| !log.trim().is_empty()) {
            self.print("\n   The end of the operator's log:");
            self.shown(log);
        }
    }

    /// The end: every claim held.
    pub fn end(&self) {
        let claims = self.claims.get();
        self.print(&format!(
            "\n{} {claims} claims, all of them checked, in {}.",
            self.coloured(GREEN, "✓"),
            self.time()
        ));
    }

    fn time(&self) -> String {
        format!("{:.1} s", self.begun.elapsed().as_secs_f64())
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    #[expect(clippy::unused_self, reason = "one way to print, for whoever tells")]
    fn print(&self, line: &str) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
