//! What went wrong and where, in words for the author of the expression.

use std::borrow::Cow;

/// Something that cannot be compiled or told.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The byte of the source it is about; none until somebody knows.
    pub at: Option<usize>,
    /// What is wrong.
    pub message: Cow<'static, str>,
}

/// The text of a fault that says: these types do not fit. Who called knows their names.
const MISMATCH: &str = "mismatch";

impl Fault {
    /// A fault whose place is not known yet.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { at: None, message: message.into() }
    }

    /// A fault at a byte of the source.
    pub fn at(at: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self { at: Some(at), message: message.into() }
    }

    /// The arguments are of types that a function does not take.
    pub fn mismatch() -> Self {
        Self { at: None, message: Cow::Borrowed(MISMATCH) }
    }

    /// Fills in the place, and for a mismatch the words, where they are still missing.
    pub fn placed(mut self, at: usize, words: impl FnOnce() -> String) -> Self {
        if self.at.is_none() {
            self.at = Some(at);
            if self.message == MISMATCH {
                self.message = Cow::Owned(words());
            }
        }
        self
    }

    /// For people: the place as line and column of the source, and what is wrong there.
    pub fn told(&self, source: &str) -> String {
        let Some(at) = self.at else { return self.message.clone().into_owned() };
        let before = source.get(..at).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {}", self.message)
    }
}

/// A text of the user's, short enough for a message.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
