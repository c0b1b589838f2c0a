//! A tree of words into one that can be evaluated: names become variables, calls become functions and macros, and what cannot
//! be evaluated is refused with its place.

use super::fault::{Fault, excerpt};
use super::functions::{self, Function};
use super::lexer::Word;
use super::pattern::{MAX_PATTERNS, Pattern, Patterns};
use super::syntax::{Form, Syntax};
use super::tree::{Comprehension, Loop, Node, Task};
use super::{MAX_COMPREHENSIONS, Scope};
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Macros: their names, how many arguments stand in their brackets, and what they go over.
const MACROS: [(&str, usize, Option<Comprehension>); 9] = [
    ("all", 2, Some(Comprehension::All)),
    ("exists", 2, Some(Comprehension::Exists)),
    ("exists_one", 2, Some(Comprehension::ExistsOne)),
    ("map", 2, Some(Comprehension::Map)),
    ("map", 3, Some(Comprehension::Map)),
    ("filter", 2, Some(Comprehension::Filter)),
    ("sortBy", 2, Some(Comprehension::SortBy)),
    ("optMap", 2, None),
    ("optFlatMap", 2, None),
];

/// Names of types, which are values as well.
const TYPES: [&str; 13] = [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
];

/// What stands before the dot of a function that belongs to no value.
const NAMESPACES: [&str; 6] = ["math", "sets", "base64", "lists", "optional", "strings"];

/// What can be evaluated, and what it names.
#[derive(Debug)]
pub struct Checked {
    /// The tree.
    pub root: Node,
    /// The variables of the scope that it names.
    pub variables: BTreeSet<&'static str>,
    /// The patterns that it is written with.
    pub patterns: Patterns,
}

/// What can be evaluated of a tree.
pub fn check(tree: Syntax, scope: &'static Scope) -> Result<Checked, Fault> {
    let mut checker =
        Checker { scope, locals: Vec::new(), comprehensions: 0, variables: BTreeSet::new(), patterns: Patterns::new() };
    let root = checker.node(tree)?;
    Ok(Checked { root, variables: checker.variables, patterns: checker.patterns })
}

struct Checker {
    scope: &'static Scope,
    locals: Vec<String>,
    comprehensions: usize,
    variables: BTreeSet<&'static str>,
    patterns: Patterns,
}

impl Checker {
    fn node(&mut self, tree: Syntax) -> Result<Node, Fault> {
        let at = tree.at;
        let task = match tree.form {
            Form::Null => Task::Null,
            Form::Bool(value) => Task::Bool(value),
            Form::Int(value) => Task::Int(value),
            Form::Literal(word) => match word {
                Word::Uint(value) => Task::Uint(value),
                Word::Double(value) => Task::Double(value),
                Word::Text(text) => Task::Text(text),
                Word::Bytes(bytes) => Task::Bytes(bytes),
                other => return Err(Fault::at(at, format!("{} is no literal", other.told()))),
            },
            Form::Name(name) => self.name(at, &name)?,
            Form::Select { operand, field, optional } => match type_named(&operand, &field) {
                Some(name) if !optional => Task::Type(name),
                _ if optional => Task::OptionalSelect(self.boxed(*operand)?, field),
                _ => Task::Select(self.boxed(*operand)?, field),
            },
            Form::Index { operand, index, optional } => {
                let both = Box::new((self.node(*operand)?, self.node(*index)?));
                if optional { Task::OptionalIndex(both) } else { Task::Index(both) }
            }
            Form::List(items) => {
                let items: Result<_, _> =
                    items.into_iter().map(|(optional, item)| Ok((optional, self.node(item)?))).collect();
                Task::List(items?)
            }
            Form::Map(entries) => {
                let entries: Result<_, _> = entries
                    .into_iter()
                    .map(|(optional, key, value)| Ok((optional, self.node(key)?, self.node(value)?)))
                    .collect();
                Task::Map(entries?)
            }
            Form::Unary("!", operand) => Task::Not(self.boxed(*operand)?),
            Form::Unary(_, operand) => Task::Negate(self.boxed(*operand)?),
            Form::Binary(sign, both) => Task::Binary(sign, Box::new((self.node(both.0)?, self.node(both.1)?))),
            Form::Chain(sign, operands) => Task::Chain(sign == "||", self.nodes(operands)?),
            Form::Conditional(parts) => {
                let (condition, then, otherwise) = *parts;
                Task::Conditional(Box::new((self.node(condition)?, self.node(then)?, self.node(otherwise)?)))
            }
            Form::Call { target, name, arguments } => self.call(at, target.map(|target| *target), &name, arguments)?,
        };
        Ok(Node { at, task })
    }

    fn boxed(&mut self, tree: Syntax) -> Result<Box<Node>, Fault> {
        self.node(tree).map(Box::new)
    }

    fn nodes(&mut self, trees: Vec<Syntax>) -> Result<Vec<Node>, Fault> {
        trees.into_iter().map(|tree| self.node(tree)).collect()
    }

    fn name(&mut self, at: usize, name: &str) -> Result<Task, Fault> {
        if let Some(position) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Task::Local(position));
        }
        if let Some(variable) = self.scope.variables.iter().find(|variable| **variable == name) {
            self.variables.insert(variable);
            return Ok(if *variable == "now" { Task::Now } else { Task::Variable(variable) });
        }
        match TYPES.iter().find(|known| **known == name) {
            Some(name) => Ok(Task::Type(name)),
            None => {
                let mut known = self.scope.variables.to_vec();
                known.extend(self.locals.iter().map(String::as_str));
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("there is no variable {}; variables are {known}", excerpt(name));
                Err(Fault::at(at, message))
            }
        }
    }

    fn call(&mut self, at: usize, target: Option<Syntax>, name: &str, arguments: Vec<Syntax>) -> Result<Task, Fault> {
        match target {
            None if name == "has" => self.has(at, arguments),
            None => self.function(at, name, false, arguments),
            Some(Syntax { form: Form::Name(space), .. }) if self.is_namespace(&space) => {
                self.function(at, &format!("{space}.{name}"), false, arguments)
            }
            Some(target) => {
                let count = arguments.len();
                let named = MACROS.iter().find(|(known, needed, _)| *known == name && *needed == count);
                match named {
                    Some((_, _, Some(kind))) => self.comprehension(at, *kind, target, arguments),
                    Some((_, _, None)) => {
                        let target = self.node(target)?;
                        let body = self.with_local(arguments, Self::last)?;
                        Ok(Task::OptionalMap(name == "optFlatMap", Box::new((target, body))))
                    }
                    None if matches!(name, "or" | "orValue") && count == 1 => {
                        let mut operands = Vec::from([target]);
                        operands.extend(arguments);
                        match <[Node; 2]>::try_from(self.nodes(operands)?) {
                            Ok([left, right]) => {
                                Ok(Task::Otherwise { operands: Box::new((left, right)), unwrap: name == "orValue" })
                            }
                            Err(_) => Err(Fault::at(at, "it takes one argument")),
                        }
                    }
                    None => {
                        let mut all = Vec::from([target]);
                        all.extend(arguments);
                        self.function(at, name, true, all)
                    }
                }
            }
        }
    }

    fn is_namespace(&self, name: &str) -> bool {
        NAMESPACES.contains(&name)
            && !self.scope.variables.contains(&name)
            && !self.locals.iter().any(|local| local == name)
    }

    fn has(&mut self, at: usize, arguments: Vec<Syntax>) -> Result<Task, Fault> {
        match <[Syntax; 1]>::try_from(arguments).map(|[argument]| argument.form) {
            Ok(Form::Select { operand, field, optional: false }) => Ok(Task::Has(self.boxed(*operand)?, field)),
            _ => Err(Fault::at(at, "has takes a field, such as has(object.spec.replicas)")),
        }
    }

    fn comprehension(
        &mut self,
        at: usize,
        kind: Comprehension,
        range: Syntax,
        arguments: Vec<Syntax>,
    ) -> Result<Task, Fault> {
        let range = self.boxed(range)?;
        if self.comprehensions == MAX_COMPREHENSIONS {
            return Err(Fault::at(
                at,
                format!("all, exists, map, filter and their like may be nested {MAX_COMPREHENSIONS} deep at most"),
            ));
        }
        self.comprehensions += 1;
        let (filter, body) = self.with_local(arguments, |checker, mut parts| {
            let body = parts.pop().map(|body| checker.boxed(body));
            let filter = parts.pop().map(|filter| checker.boxed(filter)).transpose()?;
            let body = body.unwrap_or_else(|| Err(Fault::at(at, "it lacks an argument")))?;
            Ok((filter, body))
        })?;
        self.comprehensions -= 1;
        Ok(Task::Loop(Loop { kind, range, filter, body }))
    }

    /// The rest of a macro's arguments, with the first one a name that they know.
    fn with_local<T>(
        &mut self,
        mut arguments: Vec<Syntax>,
        rest: impl FnOnce(&mut Self, Vec<Syntax>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let first = arguments.remove(0);
        let Form::Name(name) = first.form else {
            return Err(Fault::at(first.at, "the first argument must be a name, such as x in all(x, x > 0)"));
        };
        self.locals.push(name);
        let rest = rest(self, arguments)?;
        self.locals.pop();
        Ok(rest)
    }

    fn last(&mut self, mut arguments: Vec<Syntax>) -> Result<Node, Fault> {
        let tree = arguments.pop().ok_or_else(|| Fault::new("it lacks an argument"))?;
        self.node(tree)
    }

    /// A call of a function; a member's target counts as its first argument.
    fn function(&mut self, at: usize, name: &str, member: bool, arguments: Vec<Syntax>) -> Result<Task, Fault> {
        let count = arguments.len();
        let callable = |function: &&Function| self.scope.directory || !function.directory;
        let named: Vec<&'static Function> = functions::named(name).filter(|f| callable(f)).collect();
        let Some(function) = named.iter().find(|function| function.member == member) else {
            let given = count - usize::from(member);
            return Err(Fault::at(at, self.no_function(name, member, given, &named)));
        };
        if !(function.fewest..=function.most).contains(&count) {
            let hidden = usize::from(member);
            let (fewest, most) = (function.fewest - hidden, function.most.saturating_sub(hidden));
            let takes = match (fewest, most) {
                (fewest, most) if fewest == most => format!("{fewest}"),
                (fewest, most) if most > 100 => format!("at least {fewest}"),
                (fewest, most) => format!("{fewest} to {most}"),
            };
            let unit = if takes == "1" { "argument" } else { "arguments" };
            return Err(Fault::at(at, format!("{name} takes {takes} {unit}, not {}", count - hidden)));
        }
        let arguments = self.nodes(arguments)?;
        if let (true, Some(Node { at, task: Task::Text(text) })) = (function.pattern, arguments.get(1)) {
            let known = self.patterns.len();
            if let Entry::Vacant(entry) = self.patterns.entry(text.clone()) {
                if known == MAX_PATTERNS {
                    return Err(Fault::at(*at, format!("an expression has at most {MAX_PATTERNS} patterns")));
                }
                entry.insert(Arc::new(Pattern::compile(text).map_err(|error| Fault::at(*at, error))?));
            }
        }
        Ok(Task::Call(function, arguments))
    }

    fn no_function(&self, name: &str, member: bool, given: usize, named: &[&'static Function]) -> String {
        if let Some((_, needed, _)) = MACROS.iter().find(|(known, ..)| *known == name) {
            let takes = if name == "map" { "2 or 3".to_owned() } else { needed.to_string() };
            return if member {
                format!("{name} takes {takes} arguments, a name first, not {given}")
            } else {
                format!("{name} is called on a value, as in x.{name}(…)")
            };
        }
        match (name, named) {
            ("or" | "orValue", _) => format!("{name} is called on an optional value and takes 1 argument"),
            (_, []) => {
                let known = Vec::from_iter(functions::names(self.scope.directory)).join(", ");
                format!("there is no function {}; functions are {known}", excerpt(name))
            }
            _ if member => format!("{name} is called with its argument in brackets, as in {name}(x)"),
            _ => format!("{name} is called on a value, as in x.{name}(…)"),
        }
    }
}

/// The name of a type that is written with dots.
fn type_named(operand: &Syntax, field: &str) -> Option<&'static str> {
    let Form::Select { operand, field: middle, .. } = &operand.form else { return None };
    let Form::Name(first) = &operand.form else { return None };
    let name = format!("{first}.{middle}.{field}");
    TYPES.iter().copied().find(|known| **known == name)
}
