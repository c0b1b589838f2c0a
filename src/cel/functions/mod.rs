//! The functions that an expression may call: one table, and what they have in common.
//!
//! A function takes values and gives one. It spends its work from the budget before it works, and is the same for the same
//! arguments. Which arguments it takes is said in `docs/cel.md`, where a test looks for every name.

pub mod convert;
pub mod directory;
pub mod encoders;
pub mod format;
pub mod lists;
pub mod math;
pub mod optional;
pub mod regex;
pub mod sets;
pub mod strings;
pub mod time;

use super::Input;
use super::budget::Budget;
use super::evaluate::Outcome;
use super::fault::Fault;
use super::pattern::{COMPILING, MAX_CACHE, Pattern, Patterns, Search};
use super::value::{List, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Computes a function.
pub type Run = for<'a> fn(&Call<'a>, &[Value<'a>]) -> Outcome<'a>;

/// A function.
#[derive(Debug)]
pub struct Function {
    /// Its name, with its namespace.
    pub name: &'static str,
    /// Whether it is called on a value, which counts as its first argument.
    pub member: bool,
    /// The fewest arguments.
    pub fewest: usize,
    /// The most arguments.
    pub most: usize,
    /// Whether it asks the directory.
    pub directory: bool,
    /// Whether its second argument is a regular expression.
    pub pattern: bool,
    /// What it does.
    pub run: Run,
}

/// What a function has at hand beside its arguments.
pub struct Call<'a> {
    /// The budget of the evaluation.
    pub budget: Budget,
    /// What is evaluated over.
    pub input: &'a Input,
    patterns: &'a Patterns,
    /// The patterns at work.
    searches: RefCell<BTreeMap<String, Search>>,
}

impl<'a> Call<'a> {
    /// At the beginning of an evaluation.
    pub fn new(input: &'a Input, patterns: &'a Patterns) -> Self {
        Self { budget: Budget::new(), input, patterns, searches: RefCell::default() }
    }

    /// Does something with a pattern, which is compiled once.
    pub fn search<T>(&self, text: &str, work: impl FnOnce(&mut Search) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut searches = self.searches.borrow_mut();
        if let Some(search) = searches.get_mut(text) {
            return work(search);
        }
        self.budget.hold(2 * MAX_CACHE)?;
        let pattern = if let Some(pattern) = self.patterns.get(text) {
            Arc::clone(pattern)
        } else {
            self.budget.spend(COMPILING)?;
            Arc::new(Pattern::compile(text).map_err(Fault::new)?)
        };
        work(searches.entry(text.to_owned()).or_insert(Search::new(pattern, &self.budget)?))
    }
}

/// A function that is called on a value; the arguments are counted with it.
const fn member(name: &'static str, fewest: usize, most: usize, run: Run) -> Function {
    Function { name, member: true, fewest, most, directory: false, pattern: false, run }
}

/// A function that is called by itself.
const fn global(name: &'static str, fewest: usize, most: usize, run: Run) -> Function {
    Function { name, member: false, fewest, most, directory: false, pattern: false, run }
}

/// As many arguments as one likes.
const ANY: usize = 1000;

fn all() -> impl Iterator<Item = &'static Function> {
    let parts = [
        convert::FUNCTIONS,
        strings::FUNCTIONS,
        regex::FUNCTIONS,
        lists::FUNCTIONS,
        sets::FUNCTIONS,
        math::FUNCTIONS,
        encoders::FUNCTIONS,
        time::FUNCTIONS,
        optional::FUNCTIONS,
        directory::FUNCTIONS,
    ];
    parts.into_iter().flatten()
}

/// The functions of a name: at most one that is called on a value and one that is not.
pub fn named(name: &str) -> impl Iterator<Item = &'static Function> {
    all().filter(move |function| function.name == name)
}

/// All names, macros included, in their order.
pub fn names(with_directory: bool) -> BTreeSet<&'static str> {
    let macros =
        ["has", "all", "exists", "exists_one", "map", "filter", "sortBy", "optMap", "optFlatMap", "or", "orValue"];
    let functions = all().filter(|function| with_directory || !function.directory).map(|function| function.name);
    functions.chain(macros).collect()
}

/// Text among the arguments.
fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Fault> {
    if let Value::Text(text) = value { Ok(text.as_str()) } else { Err(Fault::mismatch()) }
}

/// A whole number among the arguments.
fn int(value: &Value<'_>) -> Result<i64, Fault> {
    if let Value::Int(value) = value { Ok(*value) } else { Err(Fault::mismatch()) }
}

/// A list among the arguments.
fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>, Fault> {
    if let Value::List(items) = value { Ok(items) } else { Err(Fault::mismatch()) }
}

/// A list of text, charged for.
fn texts<'a, 't>(items: impl ExactSizeIterator<Item = &'t str>, budget: &Budget) -> Outcome<'a> {
    budget.hold_list(items.len())?;
    let items: Result<Vec<_>, _> = items.map(|item| Value::text(item, budget)).collect();
    Ok(Value::list(items?))
}

/// A position among the arguments, at most the length.
fn position(value: &Value<'_>, length: usize) -> Result<usize, Fault> {
    let given = int(value)?;
    let fits = usize::try_from(given).ok().filter(|position| *position <= length);
    fits.ok_or_else(|| Fault::new(format!("position {given} is out of range: the length is {length}")))
}

/// A length as a value.
fn length<'a>(length: usize) -> Value<'a> {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}
