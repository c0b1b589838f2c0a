//! The texts that are built in, put together from files: a topic in a language is one file for mail in plain text, whose first
//! line is the subject, and one for HTML, and both take what they share from `parts`.
//!
//! `[[name]]` stands for a part; `[[name words]]` for one with words in it, where the part says `[[argument]]`, or for a row,
//! `[[row label | value]]`.

use super::render::Compiled;
use crate::api::Template;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The languages, the one that stands in for every other first.
pub(super) const LANGUAGES: [&str; 2] = ["en", "cs"];

struct Files {
    text: &'static str,
    html: &'static str,
}

struct Part {
    text: Option<&'static str>,
    html: Option<&'static str>,
}

macro_rules! files {
    ($language:literal: $($topic:literal),+) => {
        [$(($topic, Files {
            text: include_str!(concat!("texts/", $language, "/", $topic, ".txt")),
            html: include_str!(concat!("texts/", $language, "/", $topic, ".html")),
        })),+]
    };
}

macro_rules! topics {
    ($($topic:literal),+ $(,)?) => {
        /// The names of the topics that are built in.
        pub const NAMES: &[&str] = &[$($topic),+];
        static ENGLISH: &[(&str, Files)] = &files!("en": $($topic),+);
        static CZECH: &[(&str, Files)] = &files!("cs": $($topic),+);
    };
}

topics!(
    "task-assigned",
    "partition-waiting",
    "partition-changed",
    "task-digest",
    "reminder-low",
    "reminder-medium",
    "reminder-high",
    "reminder-manager",
    "escalated",
    "request-done",
    "decision-recorded",
);

macro_rules! part {
    (both $path:expr) => {
        Part {
            text: Some(include_str!(concat!("texts/", $path, ".txt"))),
            html: Some(include_str!(concat!("texts/", $path, ".html"))),
        }
    };
    (text $path:expr) => {
        Part { text: Some(include_str!(concat!("texts/", $path, ".txt"))), html: None }
    };
    (html $path:expr) => {
        Part { text: None, html: Some(include_str!(concat!("texts/", $path, ".html"))) }
    };
}

macro_rules! parts {
    ($folder:literal: $($kind:ident $name:literal),+ $(,)?) => {
        &[$(($name, part!($kind concat!($folder, "/", $name)))),+]
    };
}

static SHARED: &[(&str, Part)] = parts!("parts":
    html "bad", html "button", html "calm", html "command", html "frame", html "good", html "heading", html "paragraph",
    html "row", html "table", html "title", html "verdict",
);
static ENGLISH_PARTS: &[(&str, Part)] = parts!("en/parts":
    text "ages", both "decide", text "decision", text "event", both "facts", both "footer", both "inbox", text "meaning",
    text "outcome", both "request", both "see", both "tasks", both "total", both "who",
);
static CZECH_PARTS: &[(&str, Part)] = parts!("cs/parts":
    text "ages", both "decide", text "decision", text "event", both "facts", both "footer", both "inbox", text "meaning",
    text "outcome", both "request", both "see", both "tasks", both "total", both "who",
);

static COMPILED: LazyLock<BTreeMap<(&str, &str), Compiled>> = LazyLock::new(|| {
    let topics = LANGUAGES.into_iter().flat_map(|language| NAMES.iter().map(move |topic| (*topic, language)));
    topics.filter_map(|key| Some((key, Compiled::new(&template(key.0, key.1)?).ok()?))).collect()
});

/// The built-in text of a topic in a language.
pub(super) fn compiled(topic: &str, language: &str) -> Option<&'static Compiled> {
    let topic = NAMES.iter().find(|name| **name == topic)?;
    let language = LANGUAGES.into_iter().find(|known| *known == language)?;
    COMPILED.get(&(*topic, language))
}

/// The built-in text of a topic in a language, as a template that one may start from.
pub(super) fn template(topic: &str, language: &str) -> Option<Template> {
    let topics = if language == "cs" { CZECH } else { ENGLISH };
    let (_, files) = topics.iter().find(|(name, _)| *name == topic)?;
    let (subject, text) = files.text.strip_prefix("Subject: ")?.split_once('\n')?;
    let assembly = Assembly { language };
    let subject = assembly.fill(subject, false).trim_end().to_owned();
    let frame = part("frame", language, true)?.trim_end();
    let frame = frame.replace("[[content]]", files.html.trim_end()).replace("[[lang]]", language);
    let html = assembly.fill(&frame.replace("[[subject]]", &subject), true);
    Some(Template { locale: language.to_owned(), subject, text: assembly.fill(text, false), html: Some(html) })
}

fn part(name: &str, language: &str, html: bool) -> Option<&'static str> {
    let own = if language == "cs" { CZECH_PARTS } else { ENGLISH_PARTS };
    let (_, part) = own.iter().chain(SHARED).find(|(known, _)| *known == name)?;
    if html { part.html.or(part.text) } else { part.text }
}

struct Assembly<'a> {
    language: &'a str,
}

impl Assembly<'_> {
    /// Puts parts in the place of their names, the innermost first.
    fn fill(&self, source: &str, html: bool) -> String {
        let mut source = source.to_owned();
        while let Some(end) = source.find("]]") {
            let Some(start) = source[..end].rfind("[[") else { break };
            let inside = &source[start + 2..end];
            let (name, argument) = inside.split_once(' ').unwrap_or((inside, ""));
            let (label, value) = argument.split_once(" | ").unwrap_or(("", argument));
            let part = part(name, self.language, html).unwrap_or_default().trim_end_matches('\n');
            let filled = part.replace("[[argument]]", argument).replace("[[label]]", label).replace("[[value]]", value);
            source.replace_range(start..end + 2, &filled);
        }
        source
    }
}
