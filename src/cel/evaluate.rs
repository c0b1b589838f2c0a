//! What an expression comes to: one walk over its tree, each part of which takes a step of the budget.

use super::budget::Budget;
use super::fault::Fault;
use super::functions::{Call, Function};
use super::pattern::Patterns;
use super::tree::{Node, Task};
use super::value::{Map, Value, spend_on_keys};
use super::{Input, operators};
use std::rc::Rc;

/// What a part comes to, or why it cannot be told.
pub type Outcome<'a> = Result<Value<'a>, Fault>;

/// One evaluation.
pub struct Evaluation<'a> {
    call: Call<'a>,
    locals: Vec<Value<'a>>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation with a whole budget.
    pub fn new(input: &'a Input, patterns: &'a Patterns) -> Self {
        Self { call: Call::new(input, patterns), locals: Vec::new() }
    }

    /// The budget.
    pub fn budget(&self) -> &Budget {
        &self.call.budget
    }

    /// What a part of the expression comes to.
    pub fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.call.budget.spend(1).and_then(|()| self.task(node)).map_err(|fault| fault.placed(node.at, String::new))
    }

    /// Every arm that needs more than a word has a function: the deepest expression has this one 128 times on the stack.
    fn task(&mut self, node: &'a Node) -> Outcome<'a> {
        match &node.task {
            Task::Null => Ok(Value::Null),
            Task::Bool(value) => Ok(Value::Bool(*value)),
            Task::Int(value) => Ok(Value::Int(*value)),
            Task::Uint(value) => Ok(Value::Uint(*value)),
            Task::Double(value) => Ok(Value::Double(*value)),
            Task::Text(text) => Ok(Value::borrowed(text)),
            Task::Bytes(bytes) => Value::bytes(bytes, &self.call.budget),
            Task::Type(name) => Ok(Value::Type(name)),
            Task::Variable(name) => Ok(self.call.input.variables.get(*name).map_or(Value::Null, Value::from)),
            Task::Now => Ok(self.call.input.now.map_or(Value::Null, Value::Timestamp)),
            Task::Local(position) => Ok(self.locals[*position].clone()),
            Task::Select(operand, field) => self.select(operand, field),
            Task::OptionalSelect(operand, field) => self.optional_select(operand, field),
            Task::Has(operand, field) => self.has(operand, field),
            Task::Index(both) => self.index(both),
            Task::OptionalIndex(both) => self.optional_index(both),
            Task::List(items) => self.list(items),
            Task::Map(entries) => self.map(entries),
            Task::Not(operand) => self.not(operand),
            Task::Negate(operand) => self.value(operand).and_then(|operand| operators::negate(&operand)),
            Task::Binary(sign, both) => self.binary(node.at, sign, both),
            Task::Chain(or, operands) => self.chain(*or, operands),
            Task::Conditional(parts) => self.conditional(parts),
            Task::Call(function, arguments) => self.function(node.at, function, arguments),
            Task::Otherwise { operands, unwrap } => self.otherwise(operands, *unwrap),
            Task::OptionalMap(flat, both) => self.optional_map(*flat, both),
            Task::Loop(comprehension) => self.comprehension(comprehension),
        }
    }

    fn optional_select(&mut self, operand: &'a Node, field: &'a str) -> Outcome<'a> {
        let operand = self.value(operand)?;
        optionally(&operand, |value| self.looked_up(value, &Value::borrowed(field)))
    }

    fn has(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        match self.value(operand)? {
            Value::Map(map) => Ok(Value::Bool(map.field(field).is_some())),
            Value::Optional(inside) => Ok(Value::Bool(match inside.as_deref() {
                Some(Value::Map(map)) => map.field(field).is_some(),
                _ => false,
            })),
            other => Err(no_field(&other, field)),
        }
    }

    fn index(&mut self, both: &'a (Node, Node)) -> Outcome<'a> {
        let (operand, index) = (self.value(&both.0)?, self.value(&both.1)?);
        match &operand {
            Value::Optional(_) => optionally(&operand, |value| self.looked_up(value, &index)),
            value => self.looked_up(value, &index)?.ok_or_else(|| missing(value)),
        }
    }

    fn optional_index(&mut self, both: &'a (Node, Node)) -> Outcome<'a> {
        let (operand, index) = (self.value(&both.0)?, self.value(&both.1)?);
        optionally(&operand, |value| self.looked_up(value, &index))
    }

    fn not(&mut self, operand: &'a Node) -> Outcome<'a> {
        match self.value(operand)? {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            other => Err(Fault::new(format!("! is not defined for {}", other.type_name()))),
        }
    }

    fn binary(&mut self, at: usize, sign: &str, both: &'a (Node, Node)) -> Outcome<'a> {
        let (left, right) = (self.value(&both.0)?, self.value(&both.1)?);
        operators::binary(sign, &left, &right, &self.call.budget).map_err(|fault| {
            fault.placed(at, || format!("{sign} is not defined for {} and {}", left.type_name(), right.type_name()))
        })
    }

    fn conditional(&mut self, parts: &'a (Node, Node, Node)) -> Outcome<'a> {
        match self.value(&parts.0)? {
            Value::Bool(true) => self.value(&parts.1),
            Value::Bool(false) => self.value(&parts.2),
            other => Err(Fault::new(format!("before ? stands {}, not a bool", other.type_name()))),
        }
    }

    fn function(&mut self, at: usize, function: &Function, arguments: &'a [Node]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        self.call.budget.spend(2)?;
        (function.run)(&self.call, &values).map_err(|fault| {
            fault.placed(at, || {
                let types: Vec<_> = values.iter().map(Value::type_name).collect();
                format!("{} is not defined for {}", function.name, types.join(", "))
            })
        })
    }

    fn otherwise(&mut self, operands: &'a (Node, Node), unwrap: bool) -> Outcome<'a> {
        match self.value(&operands.0)? {
            Value::Optional(Some(value)) if unwrap => Ok(value.as_ref().clone()),
            some @ Value::Optional(Some(_)) => Ok(some),
            Value::Optional(None) => match self.value(&operands.1)? {
                other if unwrap || matches!(other, Value::Optional(_)) => Ok(other),
                other => {
                    let type_name = other.type_name();
                    Err(Fault::new(format!("or takes an optional value, not {type_name}; write orValue")))
                }
            },
            other => {
                let name = if unwrap { "orValue" } else { "or" };
                Err(Fault::new(format!("{name} is called on an optional value, not on {}", other.type_name())))
            }
        }
    }

    fn optional_map(&mut self, flat: bool, both: &'a (Node, Node)) -> Outcome<'a> {
        match self.value(&both.0)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => match self.with(value.as_ref().clone(), &both.1)? {
                mapped if !flat => Ok(Value::some(mapped)),
                mapped @ Value::Optional(_) => Ok(mapped),
                other => Err(Fault::new(format!("optFlatMap yields an optional value, not {}", other.type_name()))),
            },
            other => Err(Fault::new(format!("optMap is called on an optional value, not on {}", other.type_name()))),
        }
    }

    /// What a part comes to when the variable of its macro has a value.
    pub fn with(&mut self, local: Value<'a>, node: &'a Node) -> Outcome<'a> {
        self.locals.push(local);
        let outcome = self.value(node);
        self.locals.pop();
        outcome
    }

    fn select(&mut self, operand: &'a Node, field: &'a str) -> Outcome<'a> {
        match &self.value(operand)? {
            Value::Map(map) => map.field(field).ok_or_else(|| Fault::new(format!("there is no field {field}"))),
            some @ Value::Optional(_) => optionally(some, |value| self.looked_up(value, &Value::borrowed(field))),
            other => Err(no_field(other, field)),
        }
    }

    /// What a map has under a key, or a list at a position; nothing when it has not.
    fn looked_up(&self, operand: &Value<'a>, key: &Value<'_>) -> Result<Option<Value<'a>>, Fault> {
        match (operand, key) {
            (Value::Map(map), Value::Text(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Bool(_)) => {
                map.get(key, &self.call.budget)
            }
            (Value::List(items), key) => match operators::whole(key) {
                Some(position) => Ok(usize::try_from(position).ok().and_then(|position| items.get(position))),
                None => Err(Fault::new(format!("a list is indexed by int, not {}", key.type_name()))),
            },
            (Value::Map(_), key) => Err(Fault::new(format!("a map has no keys of type {}", key.type_name()))),
            (other, _) => Err(Fault::new(format!("{} cannot be indexed", other.type_name()))),
        }
    }

    fn list(&mut self, items: &'a [(bool, Node)]) -> Outcome<'a> {
        self.call.budget.hold_list(items.len())?;
        let mut built = Vec::with_capacity(items.len());
        for (optional, item) in items {
            let value = self.value(item)?;
            built.extend(if *optional { unwrapped(value, item.at)? } else { Some(value) });
        }
        Ok(Value::list(built))
    }

    fn map(&mut self, entries: &'a [(bool, Node, Node)]) -> Outcome<'a> {
        self.call.budget.hold_list(entries.len() * 2)?;
        let mut built: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (optional, key_node, value_node) in entries {
            let (key, value) = (self.value(key_node)?, self.value(value_node)?);
            if !matches!(key, Value::Text(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_)) {
                return Err(Fault::at(key_node.at, format!("a map has no keys of type {}", key.type_name())));
            }
            spend_on_keys(built.len(), &key, &self.call.budget)?;
            if built.iter().any(|(other, _)| operators::same_key(other, &key)) {
                return Err(Fault::at(key_node.at, "the map has this key twice"));
            }
            let value = if *optional { unwrapped(value, value_node.at)? } else { Some(value) };
            built.extend(value.map(|value| (key, value)));
        }
        Ok(Value::Map(Map::Owned(Rc::new(built))))
    }

    /// One operand that decides is enough, wherever it stands: what the others fail with does not matter then.
    fn chain(&mut self, or: bool, operands: &'a [Node]) -> Outcome<'a> {
        let mut failed = None;
        for operand in operands {
            match self.value(operand) {
                Ok(Value::Bool(value)) if value == or => return Ok(Value::Bool(or)),
                Ok(Value::Bool(_)) => {}
                Ok(other) => {
                    let sign = if or { "||" } else { "&&" };
                    let message = format!("{sign} stands between bools, not {}", other.type_name());
                    failed.get_or_insert(Fault::at(operand.at, message));
                }
                Err(fault) => {
                    self.call.budget.spend(4)?;
                    failed.get_or_insert(fault);
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!or)), Err)
    }
}

/// Looks into an optional value, or into a value that may lack what is looked for; only maps and lists have anything in them.
fn optionally<'a>(
    operand: &Value<'a>,
    look: impl FnOnce(&Value<'a>) -> Result<Option<Value<'a>>, Fault>,
) -> Outcome<'a> {
    let found = match operand {
        Value::Optional(None) => None,
        Value::Optional(Some(value)) => in_container(value, look)?,
        value => in_container(value, look)?,
    };
    Ok(Value::Optional(found.map(Rc::new)))
}

fn in_container<'a>(
    value: &Value<'a>,
    look: impl FnOnce(&Value<'a>) -> Result<Option<Value<'a>>, Fault>,
) -> Result<Option<Value<'a>>, Fault> {
    if matches!(value, Value::Map(_) | Value::List(_)) { look(value) } else { Ok(None) }
}

/// What is in an optional value that stands for an element.
fn unwrapped(value: Value<'_>, at: usize) -> Result<Option<Value<'_>>, Fault> {
    match value {
        Value::Optional(inside) => Ok(inside.map(|value| value.as_ref().clone())),
        other => Err(Fault::at(at, format!("after ? stands {}, not an optional value", other.type_name()))),
    }
}

fn no_field(operand: &Value<'_>, field: &str) -> Fault {
    Fault::new(format!("{} has no field {field}", operand.type_name()))
}

/// The key is not told: it may have been computed from what not everybody may see.
fn missing(operand: &Value<'_>) -> Fault {
    match operand {
        Value::List(items) => Fault::new(format!("the list has {} elements, none at that place", items.len())),
        _ => Fault::new("there is no such key"),
    }
}
