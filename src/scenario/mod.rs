//! Scenarios: approval policy tested as data. A file tells a story (a definition, a directory, who signs what and when) and says
//! what must come of it; `docs/scenarios.md` describes the format to users.
//!
//! [`read()`] reads a file, [`play()`] plays it through [`crate::engine::advance()`] as the operator does: the status is fed
//! back, a signal is judged until it has a verdict, an edited definition becomes another revision. What is not as expected is a
//! [`Finding`] with its place. Called by `quorate test` and by the engine's own tests.
//!
//! Pure: files that a scenario names are asked of the caller, and there is no clock but the story's.
//!
//! - [`format`](mod@format): what a file may say
//! - [`read()`]: a file, with the files that it names
//! - `document`, `schema`: where fields stand, and which there are
//! - [`moment`]: how times are written
//! - `people`: the directory
//! - `world`: what the operator would see; the only place where [`crate::engine::Facts`] are built from a story
//! - [`play()`]: the story
//! - `expect`: what is compared
//! - [`invariants`]: what holds in every story

mod document;
mod expect;
pub mod format;
pub mod invariants;
pub mod moment;
mod people;
mod play;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod world;

pub use format::Scenario;
pub use play::{Report, play};
pub use read::{NamedFile, definitions, is_manifest, read, specs};

use std::fmt;

/// Something to say about a scenario.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Whose fault it is.
    pub kind: Kind,
    /// The file that it is in, when that is another than the scenario.
    pub file: Option<String>,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The field, e.g. `timeline[2].signals[0].verdict`; may be empty.
    pub place: String,
    /// For people.
    pub message: String,
}

/// Whose fault a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The file cannot be played as it is written.
    Malformed,
    /// Something else came of it than is expected.
    Unexpected,
    /// Quorate broke a promise that it makes for every story.
    Quorate,
}

impl Finding {
    fn new(kind: Kind, place: &str, message: impl Into<String>) -> Self {
        Self { kind, file: None, line: None, place: place.to_owned(), message: message.into() }
    }

    fn malformed(place: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, place, message)
    }

    fn unexpected(place: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unexpected, place, message)
    }

    fn quorate(place: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Quorate, place, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!("line {line}"));
        let place = Some(self.place.clone()).filter(|place| !place.is_empty());
        let place: Vec<String> = [self.file.clone(), line, place].into_iter().flatten().collect();
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        if self.kind == Kind::Quorate {
            write!(f, "this is a fault of Quorate and not of the file, please report it: ")?;
        }
        f.write_str(&self.message)
    }
}
