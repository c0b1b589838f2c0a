//! Regular expressions with a bound on their size, and the price of a search.
//!
//! The language is that of RE2, as in cel-go: `\d`, `\w`, `\s` and `\b` mean ASCII. A search runs on a machine that is built as it
//! goes and costs little for each byte; where that would be rebuilt all the time, it gives up, and the search is made by a slower
//! one, whose price is the length of the text times the number of states. Both are charged before, so that no pattern is a bomb.

use super::budget::Budget;
use super::fault::Fault;
use regex_automata::hybrid::dfa;
use regex_automata::hybrid::regex::{Cache, Regex};
use regex_automata::nfa::thompson;
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::util::syntax;
use regex_automata::{Input, Match, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Patterns by their text.
pub type Patterns = BTreeMap<String, Arc<Pattern>>;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 1024;

/// The largest pattern as a machine, in bytes.
const MAX_SIZE: usize = 128 * 1024;

/// The most memory of a search, in bytes.
pub const MAX_CACHE: usize = 512 * 1024;

/// The most patterns that an expression is written with.
pub const MAX_PATTERNS: usize = 20;

/// What compiling a pattern is charged that an expression only makes when it is evaluated.
pub const COMPILING: usize = 60_000;

/// A regular expression.
#[derive(Debug)]
pub struct Pattern {
    fast: Option<Regex>,
    slow: PikeVM,
    states: usize,
}

impl Pattern {
    /// Compiles a pattern.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!("the pattern has {} bytes, at most {MAX_PATTERN} are allowed", pattern.len()));
        }
        let pattern = ascii(pattern);
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(32).build();
        let tree = parser.parse(&pattern).map_err(|error| {
            let kind = match &error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                _ => "it cannot be read".to_owned(),
            };
            format!("the pattern is no regular expression: {kind}")
        })?;
        let too_large = || "the pattern is too large; repeat fewer times".to_owned();
        let config = thompson::Config::new().nfa_size_limit(Some(MAX_SIZE));
        let machine =
            thompson::Compiler::new().configure(config.clone()).build_from_hir(&tree).map_err(|_| too_large())?;
        let states = machine.states().len();
        let slow = PikeVM::new_from_nfa(machine).map_err(|_| too_large())?;
        let fast = Regex::builder()
            .syntax(syntax::Config::new().nest_limit(32))
            .thompson(config)
            .dfa(dfa::Config::new().cache_capacity(MAX_CACHE / 2).minimum_cache_clear_count(Some(1)))
            .build(&pattern)
            .ok();
        Ok(Self { fast, slow, states })
    }
}

/// A pattern at work, in one evaluation.
pub struct Search {
    pattern: Arc<Pattern>,
    /// What the fast machine has built; none once it gave up.
    fast: Option<Cache>,
    slow: Option<pikevm::Cache>,
}

impl Search {
    /// At the beginning.
    pub fn new(pattern: Arc<Pattern>, budget: &Budget) -> Result<Self, Fault> {
        budget.spend(500 + pattern.states)?;
        let fast = pattern.fast.as_ref().map(Regex::create_cache);
        Ok(Self { pattern, fast, slow: None })
    }

    /// Whether the pattern is found anywhere in a text.
    pub fn is_match(&mut self, text: &str, budget: &Budget) -> Result<bool, Fault> {
        Ok(self.next(&Input::new(text).earliest(true), budget)?.is_some())
    }

    /// What the pattern finds in a text, one after the other, at most so many times.
    pub fn found<'t>(&mut self, text: &'t str, most: usize, budget: &Budget) -> Result<Vec<&'t str>, Fault> {
        let (mut from, mut found, mut last) = (0, Vec::new(), None);
        while found.len() < most && from <= text.len() {
            let input = Input::new(text).span(Span::from(from..text.len()));
            let Some(next) = self.next(&input, budget)? else { break };
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

    fn next(&mut self, input: &Input<'_>, budget: &Budget) -> Result<Option<Match>, Fault> {
        let length = input.get_span().len();
        if let (Some(regex), Some(cache)) = (&self.pattern.fast, &mut self.fast) {
            budget.spend(10 + length / 4)?;
            let before = cache.memory_usage();
            let outcome = regex.try_search(cache, input);
            budget.spend(cache.memory_usage().saturating_sub(before) / 8)?;
            if let Ok(found) = outcome {
                return Ok(found);
            }
            budget.spend(MAX_CACHE / 8)?;
            self.fast = None;
        }
        budget.spend(10 + (length + 1).saturating_mul(self.pattern.states) / 4)?;
        let cache = self.slow.get_or_insert_with(|| self.pattern.slow.create_cache());
        let mut slots = [None, None];
        let found = self.pattern.slow.search_slots(cache, input, &mut slots);
        Ok(match (found, slots) {
            (Some(pattern), [Some(start), Some(end)]) => Some(Match::new(pattern, start.get()..end.get())),
            _ => None,
        })
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
