//! What goes over the elements of a list or the keys of a map: `all`, `exists`, `exists_one`, `map`, `filter`
//! and `sortBy`.

use super::evaluate::{Evaluation, Outcome};
use super::fault::Fault;
use super::functions::lists::sorted_by;
use super::tree::{Comprehension, Loop, Node};
use super::value::{List, Value};
use std::rc::Rc;

impl<'a> Evaluation<'a> {
    /// What a comprehension comes to.
    pub fn comprehension(&mut self, comprehension: &'a Loop) -> Outcome<'a> {
        let range = match self.value(&comprehension.range)? {
            Value::List(items) => items,
            Value::Map(map) => {
                self.budget().hold_list(map.len().saturating_mul(2))?;
                self.budget().spend(map.len())?;
                List::Owned(Rc::new(map.entries().into_iter().map(|(key, _)| key).collect()))
            }
            other => return Err(Fault::new(format!("only lists and maps have elements, not {}", other.type_name()))),
        };
        match comprehension.kind {
            Comprehension::All => self.quantify(false, &range, &comprehension.body),
            Comprehension::Exists => self.quantify(true, &range, &comprehension.body),
            Comprehension::ExistsOne => {
                let mut found = 0_usize;
                for item in range.iter() {
                    found += usize::from(self.holds(item, &comprehension.body)?);
                }
                Ok(Value::Bool(found == 1))
            }
            Comprehension::Filter => {
                let mut built = Vec::new();
                for item in range.iter() {
                    if self.holds(item.clone(), &comprehension.body)? {
                        self.budget().hold_list(1)?;
                        built.push(item);
                    }
                }
                Ok(Value::list(built))
            }
            Comprehension::Map | Comprehension::SortBy => {
                let mut built = Vec::new();
                for item in range.iter() {
                    let chosen = match &comprehension.filter {
                        Some(filter) => self.holds(item.clone(), filter)?,
                        None => true,
                    };
                    if chosen {
                        self.budget().hold_list(1)?;
                        built.push(self.with(item, &comprehension.body)?);
                    }
                }
                match comprehension.kind {
                    Comprehension::SortBy => sorted_by(&range, &built, self.budget()),
                    _ => Ok(Value::list(built)),
                }
            }
        }
    }

    /// Whether some element fulfils a condition, or all of them do. As in a chain, an element that decides outweighs a failure.
    fn quantify(&mut self, exists: bool, range: &List<'a>, body: &'a Node) -> Outcome<'a> {
        let mut failed = None;
        for item in range.iter() {
            match self.holds(item, body) {
                Ok(holds) if holds == exists => return Ok(Value::Bool(exists)),
                Ok(_) => {}
                Err(fault) => {
                    self.budget().spend(4)?;
                    failed.get_or_insert(fault);
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!exists)), Err)
    }

    fn holds(&mut self, item: Value<'a>, body: &'a Node) -> Result<bool, Fault> {
        match self.with(item, body)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(Fault::at(body.at, format!("it yields {}, not true or false", other.type_name()))),
        }
    }
}
