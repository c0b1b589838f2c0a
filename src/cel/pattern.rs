//! Regular expressions with a bound on their size, and the price of a search.
//!
//! The language is that of RE2, as in cel-go: `\d`, `\w`, `\s` and `\b` mean ASCII. A search takes time in proportion to the length
//! of the text times the number of states of the pattern, at worst; that is what it is charged.

use super::budget::Budget;
use super::fault::Fault;
use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson;
use regex_automata::{Input, Span};
use std::collections::BTreeMap;

/// Patterns by their text.
pub type Patterns = BTreeMap<String, Pattern>;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 1024;

/// The largest pattern as a machine, in bytes.
const MAX_SIZE: usize = 128 * 1024;

/// What compiling a pattern is charged that an expression only makes when it is evaluated.
pub const COMPILING: usize = 20_000;

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    states: usize,
}

impl Pattern {
    /// Compiles a pattern.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!("the pattern has {} bytes, at most {MAX_PATTERN} are allowed", pattern.len()));
        }
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(32).build();
        let tree = parser.parse(&ascii(pattern)).map_err(|error| {
            let kind = match &error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                _ => "it cannot be read".to_owned(),
            };
            format!("the pattern is no regular expression: {kind}")
        })?;
        let too_large = || "the pattern is too large; repeat fewer times".to_owned();
        let config = thompson::Config::new().nfa_size_limit(Some(MAX_SIZE));
        let machine = thompson::Compiler::new().configure(config).build_from_hir(&tree).map_err(|_| too_large())?;
        let config = Config::new()
            .nfa_size_limit(Some(2 * MAX_SIZE))
            .hybrid_cache_capacity(4 * MAX_SIZE)
            .onepass(false)
            .dfa(false)
            .backtrack(false);
        let regex = Regex::builder().configure(config).build_from_hir(&tree).map_err(|_| too_large())?;
        Ok(Self { regex, states: machine.states().len() })
    }

    /// Whether it is found anywhere in a text.
    pub fn is_match(&self, text: &str, budget: &Budget) -> Result<bool, Fault> {
        self.charge(text.len(), budget)?;
        Ok(self.regex.is_match(text))
    }

    /// What it finds in a text, one after the other, at most so many times.
    pub fn found<'t>(&self, text: &'t str, most: usize, budget: &Budget) -> Result<Vec<&'t str>, Fault> {
        let (mut from, mut found, mut last) = (0, Vec::new(), None);
        while found.len() < most && from <= text.len() {
            self.charge(text.len() - from, budget)?;
            let Some(next) = self.regex.find(Input::new(text).span(Span::from(from..text.len()))) else { break };
            // Nothing, right after something, is not found.
            if !next.is_empty() || last != Some(next.start()) {
                budget.hold_list(1)?;
                found.push(&text[next.range()]);
            }
            last = Some(next.end());
            let step = text[next.end()..].chars().next().map_or(1, char::len_utf8);
            from = if next.is_empty() { next.end() + step } else { next.end() };
        }
        Ok(found)
    }

    fn charge(&self, bytes: usize, budget: &Budget) -> Result<(), Fault> {
        budget.spend(10 + (bytes + 1).saturating_mul(self.states) / 4)
    }
}

/// A pattern of RE2 in the words of the regex crate: classes of ASCII, and nothing in brackets that has a meaning there alone.
fn ascii(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len() * 2);
    let mut letters = pattern.chars().peekable();
    let mut inside = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => written.push_str("[0-9]"),
                Some('D') => written.push_str("[^0-9]"),
                Some('w') => written.push_str("[0-9A-Za-z_]"),
                Some('W') => written.push_str("[^0-9A-Za-z_]"),
                Some('s') => written.push_str(r"[\t\n\f\r ]"),
                Some('S') => written.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !inside => written.push_str(r"(?-u:\b)"),
                Some('Q') if !inside => {
                    while let Some(letter) = letters.next() {
                        if letter == '\\' && letters.peek() == Some(&'E') {
                            letters.next();
                            break;
                        }
                        written.push_str(&regex_syntax::escape(letter.encode_utf8(&mut [0; 4])));
                    }
                }
                Some('C') | None => written.push('\\'),
                Some(other) => written.extend(['\\', other]),
            },
            '[' if !inside => {
                inside = true;
                written.push('[');
                if letters.peek() == Some(&'^') {
                    written.extend(letters.next());
                }
                // A closing bracket in the first place stands for itself.
                if letters.peek() == Some(&']') {
                    letters.next();
                    written.push_str("\\]");
                }
            }
            '[' if letters.peek() == Some(&':') => {
                written.push('[');
                // A named class, up to its own closing bracket.
                for letter in letters.by_ref() {
                    written.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if inside => written.extend(['\\', letter]),
            ']' if inside => {
                inside = false;
                written.push(']');
            }
            letter => written.push(letter),
        }
    }
    written
}
