//! Lists: those of Kubernetes (isSorted, sum, min, max, indexOf) and of cel-go's lists extension.

use super::{Call, Function, global, int, length, list, member, position};
use crate::cel::budget::Budget;
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::operators::{binary, compare, equal, order, weight};
use crate::cel::value::{List, Value};
use std::cmp::Ordering;

/// The table. What lists have in common with text is in [`super::strings`].
pub const FUNCTIONS: &[Function] = &[
    member("isSorted", 1, 1, is_sorted),
    member("sum", 1, 1, sum),
    member("min", 1, 1, |call, arguments| extreme(call, list(&arguments[0])?, Ordering::Less)),
    member("max", 1, 1, |call, arguments| extreme(call, list(&arguments[0])?, Ordering::Greater)),
    member("distinct", 1, 1, |call, arguments| distinct(list(&arguments[0])?, &call.budget)),
    member("flatten", 1, 2, flatten),
    member("slice", 3, 3, slice),
    member("sort", 1, 1, sort),
    member("first", 1, 1, |_, arguments| Ok(optional(list(&arguments[0])?.get(0)))),
    member("last", 1, 1, |_, arguments| Ok(optional(list(&arguments[0])?.iter().next_back()))),
    global("lists.range", 1, 1, range),
];

fn optional(value: Option<Value<'_>>) -> Value<'_> {
    value.map_or(Value::Optional(None), Value::some)
}

/// Where a value stands first.
pub fn index_of<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    found(items.iter().enumerate(), arguments, &call.budget)
}

/// Where a value stands last.
pub fn last_index_of<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    found(items.iter().enumerate().rev(), arguments, &call.budget)
}

fn found<'a>(items: impl Iterator<Item = (usize, Value<'a>)>, arguments: &[Value<'a>], budget: &Budget) -> Outcome<'a> {
    if arguments.len() > 2 {
        return Err(Fault::mismatch());
    }
    for (position, item) in items {
        if equal(&item, &arguments[1], budget)? {
            return Ok(length(position));
        }
    }
    Ok(Value::Int(-1))
}

fn is_sorted<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    call.budget.spend(2 * items.len())?;
    for (left, right) in items.iter().zip(items.iter().skip(1)) {
        if compare(&left, &right, &call.budget)?.is_some_and(Ordering::is_gt) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    call.budget.spend(items.len())?;
    let mut items = items.iter();
    let Some(mut sum) = items.next() else { return Ok(Value::Int(0)) };
    if !matches!(sum, Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)) {
        return Err(Fault::mismatch());
    }
    for item in items {
        sum = binary("+", &sum, &item, &call.budget)?;
    }
    Ok(sum)
}

fn extreme<'a>(call: &Call<'a>, items: &List<'a>, wanted: Ordering) -> Outcome<'a> {
    call.budget.spend(items.len())?;
    let mut items = items.iter();
    let mut best = items.next().ok_or_else(|| Fault::new("an empty list has neither min nor max"))?;
    for item in items {
        if compare(&item, &best, &call.budget)? == Some(wanted) {
            best = item;
        }
    }
    Ok(best)
}

fn slice<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    let (from, to) = (position(&arguments[1], items.len())?, position(&arguments[2], items.len())?);
    if from > to {
        return Err(Fault::new(format!("it would begin at {from}, after its end at {to}")));
    }
    call.budget.hold_list(to - from)?;
    call.budget.spend((to - from) / 2)?;
    Ok(Value::list((from..to).filter_map(|position| items.get(position)).collect()))
}

fn flatten<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    fn add<'a>(items: &List<'a>, depth: usize, built: &mut Vec<Value<'a>>, budget: &Budget) -> Result<(), Fault> {
        for item in items.iter() {
            budget.hold_list(1)?;
            budget.spend(1)?;
            match item {
                Value::List(inner) if depth > 0 => add(&inner, depth - 1, built, budget)?,
                item => built.push(item),
            }
        }
        Ok(())
    }
    let depth = arguments.get(1).map_or(Ok(1), int)?;
    let depth = usize::try_from(depth).map_err(|_| Fault::new("the depth cannot be negative"))?;
    let mut built = Vec::new();
    add(list(&arguments[0])?, depth, &mut built, &call.budget)?;
    Ok(Value::list(built))
}

fn range<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let end = int(&arguments[0])?;
    let length = usize::try_from(end).unwrap_or_default();
    call.budget.spend(length)?;
    call.budget.hold_list(length)?;
    Ok(Value::list((0..end).map(Value::Int).collect()))
}

/// The elements in their order, each once.
pub fn distinct<'a>(items: &List<'a>, budget: &Budget) -> Outcome<'a> {
    let mut firsts = positions(items, budget)?;
    firsts.dedup_by(|later, earlier| order(&later.1, &earlier.1).is_eq());
    firsts.sort_unstable_by_key(|(position, _)| *position);
    Ok(Value::list(firsts.into_iter().map(|(_, item)| item).collect()))
}

/// The elements in their total order, equal ones by position.
fn positions<'a>(items: &List<'a>, budget: &Budget) -> Result<Vec<(usize, Value<'a>)>, Fault> {
    pay_for_sorting(items, budget)?;
    let mut items: Vec<_> = items.iter().enumerate().collect();
    items.sort_by(|left, right| order(&left.1, &right.1));
    Ok(items)
}

fn pay_for_sorting(items: &List<'_>, budget: &Budget) -> Result<(), Fault> {
    budget.hold_list(items.len().saturating_mul(2))?;
    let mut sum = 0_usize;
    for item in items.iter() {
        sum += weight(&item, budget)?;
    }
    budget.spend(sum.saturating_mul(1 + items.len().ilog2_or_zero()) / 2)
}

/// The logarithm of a length.
trait Log {
    fn ilog2_or_zero(self) -> usize;
}

impl Log for usize {
    fn ilog2_or_zero(self) -> usize {
        self.checked_ilog2().map_or(0, |log| log as usize)
    }
}

fn sort<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    sorted_by(items, &items.iter().collect::<Vec<_>>(), &call.budget)
}

/// A list in the order of keys, of which there is one for each element.
pub fn sorted_by<'a>(items: &List<'a>, keys: &[Value<'a>], budget: &Budget) -> Outcome<'a> {
    let keys = List::Owned(std::rc::Rc::new(keys.to_vec()));
    for pair in [(0, 0)].into_iter().chain((1..keys.len()).map(|next| (0, next))) {
        let (Some(first), Some(next)) = (keys.get(pair.0), keys.get(pair.1)) else { break };
        // All keys must have an order among each other.
        let fits = compare(&first, &next, budget).is_ok() && first.type_name() == next.type_name();
        if !fits {
            budget.spend(1)?;
            let (first, next) = (first.type_name(), next.type_name());
            return Err(Fault::new(format!("{first} and {next} cannot be sorted together")));
        }
    }
    let sorted = positions(&keys, budget)?;
    Ok(Value::list(sorted.into_iter().filter_map(|(position, _)| items.get(position)).collect()))
}

/// A list in which values are looked up faster than one by one.
pub struct Lookup<'a> {
    items: Vec<Value<'a>>,
}

impl<'a> Lookup<'a> {
    /// Prepares a list.
    pub fn new(items: &List<'a>, budget: &Budget) -> Result<Self, Fault> {
        Ok(Self { items: positions(items, budget)?.into_iter().map(|(_, item)| item).collect() })
    }

    /// Whether a value is among them.
    pub fn contains(&self, value: &Value<'_>, budget: &Budget) -> Result<bool, Fault> {
        let steps = weight(value, budget)?.saturating_mul(1 + self.items.len().ilog2_or_zero());
        budget.spend(steps / 2)?;
        Ok(self.items.binary_search_by(|item| order(item, value)).is_ok())
    }
}
