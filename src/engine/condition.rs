//! What the facts decide: conditions over the role, the people and the request (requirement R2).
//!
//! An operand that is missing satisfies no operator but `DoesNotExist`: the instance goes on by `else`. Operands that cannot be
//! compared end the instance as Failed, with both of them in the message. An expression that cannot be evaluated stalls it
//! (semantics.md 14).

use super::Facts;
use super::input::{self, SCOPE};
use super::source::{Need, RoleOf};
use crate::api::{ConditionType, NodeCondition, Operator};
use crate::cel::{Expression, Input};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::cmp::Ordering;

/// The largest compiled pattern, in bytes: what a pattern can cost.
const PATTERN_SIZE: usize = 64 * 1024;

/// A condition, compiled.
#[derive(Clone, Debug)]
pub struct Test {
    written: NodeCondition,
    expression: Option<Expression>,
    pattern: Option<Regex>,
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// Why a condition cannot be told.
pub(super) enum Untold {
    /// It never will be: the operands cannot be compared.
    Failed(String),
    /// Perhaps later: an expression failed.
    Stalled(String),
}

impl Test {
    /// Compiles a condition.
    ///
    /// # Errors
    /// Each fault: the field within the condition, and what to do.
    pub(super) fn compile(written: &NodeCondition) -> Result<Self, Vec<(&'static str, String)>> {
        let mut faults = shape(written);
        let mut expression = None;
        let source = match written.type_ {
            ConditionType::Expression => written
                .expression
                .as_ref()
                .map(|text| (".expression", text))
                .or_else(|| written.left.as_ref().map(|text| (".left", text))),
            _ => None,
        };
        if let Some((place, source)) = source {
            match Expression::compile(source, &SCOPE) {
                Ok(compiled) => expression = Some(compiled),
                Err(why) => faults.push((place, why)),
            }
        }
        let mut pattern = None;
        if let (Some(Operator::Matches), Some(Value::String(text))) = (written.operator, &written.right) {
            match RegexBuilder::new(text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build() {
                Ok(compiled) => pattern = Some(compiled),
                Err(why) => faults.push((".right", format!("is no regular expression: {why}"))),
            }
        }
        if faults.is_empty() { Ok(Self { written: written.clone(), expression, pattern }) } else { Err(faults) }
    }

    /// What the request must supply for it.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        match self.written.type_ {
            ConditionType::RoleAttribute | ConditionType::GuarantorExists | ConditionType::RoleCriticality => {
                vec![Need::Role(RoleOf::Request)]
            }
            ConditionType::IdentityAttribute => vec![Need::Subjects],
            ConditionType::Expression => self.expression.iter().flat_map(input::needs).collect(),
        }
    }

    /// The expression, where there is one.
    #[must_use]
    pub fn expression(&self) -> Option<&Expression> {
        self.expression.as_ref()
    }

    /// The condition in words, e.g. `role criticality GreaterThan 3`.
    #[must_use]
    pub fn words(&self) -> String {
        let written = &self.written;
        let left = written.left.as_deref().unwrap_or_default();
        let subject = match written.type_ {
            ConditionType::RoleAttribute => format!("role {left}"),
            ConditionType::GuarantorExists => {
                format!(
                    "{}guarantor",
                    written.guarantor_type.as_ref().map(|type_| format!("{type_} ")).unwrap_or_default()
                )
            }
            ConditionType::RoleCriticality => "role criticality".to_owned(),
            ConditionType::IdentityAttribute => format!("subject {left}"),
            ConditionType::Expression => written.expression.clone().unwrap_or_else(|| left.to_owned()),
        };
        let operator = written.operator.map(|operator| format!(" {operator:?}")).unwrap_or_default();
        let right = written.right.as_ref().map(|right| format!(" {}", plain(right))).unwrap_or_default();
        format!("{subject}{operator}{right}")
    }

    /// Whether the condition holds.
    pub(super) fn holds(&self, facts: &Facts<'_>, input: &Input) -> Result<bool, Untold> {
        let written = &self.written;
        let spec = facts.instance.spec;
        let role = spec.role.as_deref().unwrap_or_default();
        let known_role = || {
            let missing = format!("there is no BusinessRole {role}, which spec.role names");
            if facts.directory.has_role(role) { Ok(()) } else { Err(Untold::Failed(missing)) }
        };
        match written.type_ {
            ConditionType::RoleAttribute => {
                known_role()?;
                let left = facts.directory.role_attribute(role, written.left.as_deref().unwrap_or_default());
                self.compare(left.as_ref(), &format!("of role {role}"))
            }
            ConditionType::RoleCriticality => {
                known_role()?;
                let left = facts.directory.role_attribute(role, "criticality");
                self.compare(left.as_ref(), &format!("of role {role}"))
            }
            ConditionType::GuarantorExists => {
                known_role()?;
                let exists = facts.directory.has_guarantor(role, written.guarantor_type.as_deref(), facts.now);
                Ok(exists == (written.operator == Some(Operator::Exists)))
            }
            ConditionType::IdentityAttribute => {
                let name = written.left.as_deref().unwrap_or_default();
                for subject in spec.subjects.iter().map(|subject| facts.directory.subject(subject)) {
                    let left = facts.directory.person_attribute(subject, name);
                    if !self.compare(left.as_ref(), &format!("of {subject}"))? {
                        return Ok(false);
                    }
                }
                Ok(!spec.subjects.is_empty())
            }
            ConditionType::Expression => {
                let Some(expression) = &self.expression else {
                    return Err(Untold::Failed("it has no expression".to_owned()));
                };
                let told = |why| Untold::Stalled(format!("expression {}: {why}", expression.source()));
                if written.operator.is_none() {
                    return expression.holds(input).map_err(told);
                }
                let left = expression.evaluate(input).map_err(told)?;
                let left = (!left.is_null()).then_some(left);
                self.compare(left.as_ref(), "of the expression")
            }
        }
    }

    fn compare(&self, left: Option<&Value>, whose: &str) -> Result<bool, Untold> {
        let Some(operator) = self.written.operator else {
            return Err(Untold::Failed("it has no operator".to_owned()));
        };
        let Some(left) = left.filter(|left| !left.is_null()) else {
            return Ok(operator == Operator::DoesNotExist);
        };
        let right = self.written.right.as_ref().unwrap_or(&Value::Null);
        let failed = |why: &str| {
            let name = self.written.left.as_deref().unwrap_or("value");
            // What people recorded never reaches the status (rule 28).
            let recorded = self.expression.as_ref().is_some_and(|expression| expression.references("decisions"));
            let shown = if recorded { "something recorded".to_owned() } else { plain(left) };
            Untold::Failed(format!("{name} {whose} is {shown}, {why}: {operator:?} {}", plain(right)))
        };
        let order = || match (number(left), number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right).ok_or_else(|| failed("which cannot be compared")),
            _ => Err(failed("which cannot be compared as a number")),
        };
        let among = || match (left, right) {
            (Value::Array(_) | Value::Object(_), _) => Err(failed("which is no single value")),
            (_, Value::Array(items)) => Ok(items.iter().any(|item| same(left, item))),
            _ => Err(failed("and right is no list")),
        };
        Ok(match operator {
            Operator::Exists => true,
            Operator::DoesNotExist => false,
            Operator::Equals => same(left, right),
            Operator::NotEquals => !same(left, right),
            Operator::GreaterThan => order()? == Ordering::Greater,
            Operator::GreaterOrEqual => order()? != Ordering::Less,
            Operator::LessThan => order()? == Ordering::Less,
            Operator::LessOrEqual => order()? != Ordering::Greater,
            Operator::In => among()?,
            Operator::NotIn => !among()?,
            Operator::Contains => match (left, right) {
                (Value::Array(items), _) => items.iter().any(|item| same(item, right)),
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                _ => return Err(failed("which is neither a list nor a text that could contain it")),
            },
            Operator::Matches => match (left, &self.pattern) {
                (Value::String(text), Some(pattern)) => pattern.is_match(text),
                (Value::Number(_) | Value::Bool(_), Some(pattern)) => pattern.is_match(&plain(left)),
                _ => return Err(failed("which is no text")),
            },
        })
    }
}

/// What is wrong with the operands of a condition before anything is evaluated.
fn shape(written: &NodeCondition) -> Vec<(&'static str, String)> {
    use ConditionType::{Expression, GuarantorExists, RoleCriticality};
    let mut faults = Vec::new();
    let mut must_not = |place, present: bool, why: &str| {
        if present {
            faults.push((place, format!("{why}; remove it")));
        }
    };
    let type_ = written.type_;
    must_not(
        ".guarantorType",
        type_ != GuarantorExists && written.guarantor_type.is_some(),
        "goes with the type GuarantorExists alone",
    );
    must_not(".expression", type_ != Expression && written.expression.is_some(), "goes with the type Expression alone");
    let no_left = matches!(type_, GuarantorExists | RoleCriticality);
    must_not(".left", no_left && written.left.is_some(), "this type has no left operand");
    if type_ == Expression && written.expression.is_some() {
        must_not(".left", written.left.is_some(), "expression says it all");
        must_not(".operator", written.operator.is_some(), "expression says it all");
        must_not(".right", written.right.is_some(), "expression says it all");
        return faults;
    }
    if !no_left && written.left.is_none() {
        let message = match type_ {
            Expression => "a condition of type Expression needs expression, or left, operator and right",
            _ => "the name of an attribute is missing",
        };
        faults.push((".left", message.to_owned()));
    }
    let Some(operator) = written.operator else {
        // An expression may be a whole condition on the left too.
        if type_ != Expression {
            faults.push((".operator", "is missing".to_owned()));
        } else if written.right.is_some() {
            faults.push((".operator", "is missing: how is left compared with right?".to_owned()));
        }
        return faults;
    };
    let existence = matches!(operator, Operator::Exists | Operator::DoesNotExist);
    if type_ == GuarantorExists && !existence {
        faults.push((
            ".operator",
            format!("{operator:?} does not go with GuarantorExists; write Exists or DoesNotExist"),
        ));
    }
    let numeric = matches!(
        operator,
        Operator::GreaterThan | Operator::GreaterOrEqual | Operator::LessThan | Operator::LessOrEqual
    );
    let right = written.right.as_ref().filter(|right| !right.is_null());
    match right {
        None if !existence => {
            faults.push((".right", format!("is missing; {operator:?} needs something to compare with")));
        }
        Some(_) if existence => faults.push((".right", format!("{operator:?} compares with nothing; remove it"))),
        Some(right) => {
            if numeric && number(right).is_none() {
                faults.push((".right", format!("{} is no number, and {operator:?} compares numbers", plain(right))));
            }
            if matches!(operator, Operator::In | Operator::NotIn) {
                if !matches!(right, Value::Array(items) if items.iter().all(single)) {
                    faults.push((".right", format!("{operator:?} needs a list of texts, numbers, or true and false")));
                }
            } else if !single(right) {
                faults.push((".right", "is neither a text, a number, nor true or false".to_owned()));
            }
            if operator == Operator::Matches && !right.is_string() {
                faults.push((".right", "is no text; Matches needs a regular expression".to_owned()));
            }
            let equality = matches!(operator, Operator::Equals | Operator::NotEquals);
            if type_ == RoleCriticality && equality && number(right).is_none() {
                faults.push((".right", format!("{} is no number, and a criticality is one", plain(right))));
            }
        }
        None => {}
    }
    if type_ == RoleCriticality && matches!(operator, Operator::Contains | Operator::Matches) {
        faults.push((".operator", format!("{operator:?} compares texts, and a criticality is a number")));
    }
    faults
}

fn single(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// A number, or the text that spells one: directories keep numbers as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// Whether two single values are the same. A number equals the text that spells it, and so does true; texts are compared letter
/// by letter.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Bool(truth), Value::String(text)) | (Value::String(text), Value::Bool(truth)) => {
            *text == truth.to_string()
        }
        (Value::Number(left), Value::Number(right)) if left == right => true,
        (Value::Number(_), Value::Number(_) | Value::String(_)) | (Value::String(_), Value::Number(_)) => number(left)
            .zip(number(right))
            .is_some_and(|(left, right)| left.partial_cmp(&right) == Some(Ordering::Equal)),
        _ => left == right,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
