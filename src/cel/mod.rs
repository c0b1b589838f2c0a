//! The one door to CEL: expressions are compiled and bounded here, and evaluated over JSON.
//!
//! Pure and total: no IO, no clock, and every evaluation ends within a budget of steps and bytes, whatever the
//! expression and the input. `docs/cel.md` says what can be written; `tests/cel_differential.rs` compares it with cel-go.
//!
//! [`Template`] is JSON with expressions in its strings, `${…}`. `lexer` and `parser` read the text, `check` resolves its names, `evaluate` walks the result with `operators` and
//! `functions` over a `value`. Positions survive from the first to the last, so that every `fault` says where it is. The
//! language is small enough to be had whole: the crate for it had no budget, overflowed its stack on 4 KiB of `1+1+…`, and
//! lost the positions.

mod budget;
mod check;
mod comprehension;
mod evaluate;
mod fault;
mod functions;
mod lexer;
mod operators;
mod parser;
mod pattern;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use evaluate::Evaluation;
use fault::Fault;
use jiff::Timestamp;
use std::sync::Arc;

pub use budget::{MAX_BYTES, MAX_STEPS};
pub use template::{MAX_EXPRESSIONS, MAX_RENDERED, Misfit, Template};

/// The longest expression, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// The deepest nesting of comprehensions (`all`, `exists`, `map`, `filter`).
pub const MAX_COMPREHENSIONS: usize = 2;

/// The largest input, as JSON, in bytes.
pub const MAX_INPUT: usize = 256 * 1024;

/// What an expression may name.
#[derive(Debug)]
pub struct Scope {
    /// The variables.
    pub variables: &'static [&'static str],
    /// Whether the functions over the directory may be called: `members`, `guarantors`, `managers`.
    pub directory: bool,
}

/// What the functions over the directory ask. Identities are named by their metadata.name.
pub trait Directory: Send + Sync {
    /// The Identities that hold a role.
    fn members(&self, role: &str) -> Vec<String>;
    /// The Identities that guarantee a role; of one type, or of any.
    fn guarantors(&self, role: &str, type_: Option<&str>) -> Vec<String>;
    /// The managers of an Identity.
    fn managers(&self, identity: &str) -> Vec<String>;
}

/// What an expression is evaluated over.
#[derive(Clone, Default)]
pub struct Input {
    /// One field for each variable of the scope; what is missing is null.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The variable `now`, where the scope has it.
    pub now: Option<Timestamp>,
    /// The directory, where the scope has it.
    pub directory: Option<Arc<dyn Directory>>,
}

/// An expression that compiled, within its bounds.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    checked: Arc<check::Checked>,
    scope: &'static Scope,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && std::ptr::eq(self.scope, other.scope)
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it and where, for people: syntax, an unknown name or function, or a bound that it exceeds.
    pub fn compile(source: &str, scope: &'static Scope) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("the expression has {} bytes, at most {MAX_LENGTH} are allowed", source.len()));
        }
        let tree = parser::parse(source).map_err(|fault| fault.told(source))?;
        let checked = check::check(tree, scope).map_err(|fault| fault.told(source))?;
        Ok(Self { source: source.to_owned(), checked: Arc::new(checked), scope })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression names a variable of its scope.
    #[must_use]
    pub fn references(&self, variable: &str) -> bool {
        self.checked.variables.contains(variable)
    }

    /// What the expression comes to, as JSON.
    ///
    /// # Errors
    /// Why it cannot be told and where, for people.
    pub fn evaluate(&self, input: &Input) -> Result<serde_json::Value, String> {
        let size = value::length(&input.variables, MAX_INPUT);
        if size > MAX_INPUT {
            return Err(format!("what it is evaluated over has more than the {MAX_INPUT} bytes that are allowed"));
        }
        let root = &self.checked.root;
        let mut evaluation = Evaluation::new(input, &self.checked.patterns);
        let outcome = evaluation.value(root).and_then(|value| value.json(evaluation.budget()));
        // Nothing outlives its budget, not even what looks decided.
        match (evaluation.budget().exhausted(), outcome) {
            (Some(_), Err(fault)) if fault.at.is_some() => Err(fault.told(&self.source)),
            (Some(fault), _) => Err(fault.placed(root.at, String::new).told(&self.source)),
            (None, outcome) => outcome.map_err(|fault: Fault| fault.placed(root.at, String::new).told(&self.source)),
        }
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// Why it cannot be told, for people.
    pub fn holds(&self, input: &Input) -> Result<bool, String> {
        match self.evaluate(input)? {
            serde_json::Value::Bool(holds) => Ok(holds),
            other => Err(format!("it yields {}, not true or false", type_of(&other))),
        }
    }

    /// The list of strings that the expression comes to.
    ///
    /// # Errors
    /// Why it cannot be told, for people; anything but a list of strings is an error.
    pub fn strings(&self, input: &Input) -> Result<Vec<String>, String> {
        let serde_json::Value::Array(items) = self.evaluate(input)? else {
            return Err("it does not yield a list of strings".to_owned());
        };
        let strings = items.into_iter().map(|item| match item {
            serde_json::Value::String(text) => Ok(text),
            other => Err(format!("it yields a list with {}, not a list of strings", type_of(&other))),
        });
        strings.collect()
    }
}

fn type_of(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a bool",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "a map",
    }
}
