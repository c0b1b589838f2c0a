//! JSON with expressions in its strings: `name: "web-${object.metadata.name}"`.
//!
//! A string that is exactly one `${…}` stands for the value, with its type; in a longer string texts, numbers, true and false are
//! written out. `$${` is a plain `${`. Names of fields are never expressions.

use super::{Expression, Input, Scope, lexer, type_of};
use serde_json::Value;
use std::collections::BTreeSet;

/// The most expressions of one template.
pub const MAX_EXPRESSIONS: usize = 32;

/// The largest result, as JSON, in bytes.
pub const MAX_RENDERED: usize = 256 * 1024;

/// JSON with expressions in its strings, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    written: Value,
    root: Part,
}

/// What does not work, and where in the template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misfit {
    /// The field, from the root of the template on, such as `.spec.subjects[0].name`; empty for the root itself.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// As it is.
    Plain(Value),
    /// What an expression comes to.
    Whole(Expression),
    /// A text with expressions in it.
    Text(Vec<Piece>),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Plain(String),
    Expression(Expression),
}

impl Template {
    /// Compiles every string of this JSON.
    ///
    /// # Errors
    /// Each fault with its place.
    pub fn compile(written: &Value, scope: &'static Scope) -> Result<Self, Vec<Misfit>> {
        let mut compiler = Compiler { scope, count: 0, faults: Vec::new() };
        let root = compiler.part(written, "");
        if compiler.count > MAX_EXPRESSIONS {
            let message = format!("it has {} expressions, at most {MAX_EXPRESSIONS} are allowed", compiler.count);
            compiler.faults.push(Misfit { place: String::new(), message });
        }
        if compiler.faults.is_empty() { Ok(Self { written: written.clone(), root }) } else { Err(compiler.faults) }
    }

    /// The JSON as it was written.
    #[must_use]
    pub fn written(&self) -> &Value {
        &self.written
    }

    /// Every expression in it, in order.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut expressions = Vec::new();
        collect(&self.root, &mut expressions);
        expressions
    }

    /// The variables that it names.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<&'static str> {
        self.expressions().into_iter().flat_map(|expression| expression.checked.variables.iter().copied()).collect()
    }

    /// The JSON with every expression replaced by what it comes to.
    ///
    /// # Errors
    /// The first expression that cannot be evaluated, or whose value does not fit into its text; or a result that is too large.
    pub fn render(&self, input: &Input) -> Result<Value, Misfit> {
        let mut room = MAX_RENDERED;
        render(&self.root, "", input, &mut room)
    }
}

struct Compiler {
    scope: &'static Scope,
    count: usize,
    faults: Vec<Misfit>,
}

impl Compiler {
    fn part(&mut self, written: &Value, place: &str) -> Part {
        match written {
            Value::String(text) => self.text(text, place),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Part::List(items.map(|(at, item)| self.part(item, &format!("{place}[{at}]"))).collect())
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    let place = format!("{place}.{name}");
                    if name.contains("${") {
                        let message = "the name of a field cannot be an expression; write it out".to_owned();
                        self.faults.push(Misfit { place: place.clone(), message });
                    }
                    (name.clone(), self.part(value, &place))
                });
                Part::Map(fields.collect())
            }
            other => Part::Plain(other.clone()),
        }
    }

    fn text(&mut self, text: &str, place: &str) -> Part {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(dollar) = rest.find("${") {
            if let Some(before) = rest[..dollar].strip_suffix('$') {
                plain.push_str(before);
                plain.push_str("${");
                rest = &rest[dollar + 2..];
                continue;
            }
            plain.push_str(&rest[..dollar]);
            if !plain.is_empty() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            let inside = &rest[dollar + 2..];
            match self.expression(inside) {
                Ok((expression, behind)) => {
                    self.count += 1;
                    pieces.push(Piece::Expression(expression));
                    rest = &inside[behind..];
                }
                Err(message) => {
                    self.faults.push(Misfit { place: place.to_owned(), message });
                    return Part::Plain(Value::Null);
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Plain(_))) {
            let plain = pieces.into_iter().map(|piece| match piece {
                Piece::Plain(text) => text,
                Piece::Expression(_) => String::new(),
            });
            return Part::Plain(Value::String(plain.collect()));
        }
        match <[Piece; 1]>::try_from(pieces) {
            Ok([Piece::Expression(only)]) => Part::Whole(only),
            Ok(other) => Part::Text(other.into()),
            Err(pieces) => Part::Text(pieces),
        }
    }

    /// The expression at the beginning of this text, and where the text goes on behind its brace.
    fn expression(&self, inside: &str) -> Result<(Expression, usize), String> {
        let end = lexer::closing_brace(inside).map_err(|fault| format!("${{…}}: {}", fault.told(inside)))?;
        let Some(end) = end else {
            return Err("a ${ is never closed; write } behind the expression, or $${ for a plain ${".to_owned());
        };
        let source = &inside[..end];
        let expression =
            Expression::compile(source, self.scope).map_err(|why| format!("${{{}}}: {why}", excerpt(source)))?;
        Ok((expression, end + 1))
    }
}

fn collect<'a>(part: &'a Part, expressions: &mut Vec<&'a Expression>) {
    match part {
        Part::Plain(_) => {}
        Part::Whole(expression) => expressions.push(expression),
        Part::Text(pieces) => expressions.extend(pieces.iter().filter_map(|piece| match piece {
            Piece::Expression(expression) => Some(expression),
            Piece::Plain(_) => None,
        })),
        Part::List(items) => items.iter().for_each(|item| collect(item, expressions)),
        Part::Map(fields) => fields.iter().for_each(|(_, value)| collect(value, expressions)),
    }
}

fn render(part: &Part, place: &str, input: &Input, room: &mut usize) -> Result<Value, Misfit> {
    let misfit = |message: String| Misfit { place: place.to_owned(), message };
    let mut take = |bytes: usize| {
        *room = room.checked_sub(bytes).ok_or_else(|| {
            misfit(format!("it comes to more than the {MAX_RENDERED} bytes that are allowed; make it smaller"))
        })?;
        Ok(())
    };
    let evaluate = |expression: &Expression| {
        expression.evaluate(input).map_err(|why| misfit(format!("${{{}}}: {why}", excerpt(expression.source()))))
    };
    match part {
        Part::Plain(value) => {
            take(length(value))?;
            Ok(value.clone())
        }
        Part::Whole(expression) => {
            let value = evaluate(expression)?;
            take(length(&value))?;
            Ok(value)
        }
        Part::Text(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                let before = text.len();
                match piece {
                    Piece::Plain(plain) => text.push_str(plain),
                    Piece::Expression(expression) => match evaluate(expression)? {
                        Value::String(value) => text.push_str(&value),
                        value @ (Value::Number(_) | Value::Bool(_)) => text.push_str(&value.to_string()),
                        other => {
                            let source = excerpt(expression.source());
                            let is = type_of(&other);
                            return Err(misfit(format!(
                                "${{{source}}}: it yields {is}, which does not go into a text"
                            )));
                        }
                    },
                }
                take(text.len() - before)?;
            }
            Ok(Value::String(text))
        }
        Part::List(items) => {
            take(items.len())?;
            let items = items.iter().enumerate();
            let items: Result<_, _> =
                items.map(|(at, item)| render(item, &format!("{place}[{at}]"), input, room)).collect();
            Ok(Value::Array(items?))
        }
        Part::Map(fields) => {
            take(fields.iter().map(|(name, _)| name.len() + 3).sum())?;
            let fields = fields.iter();
            let fields: Result<_, _> = fields
                .map(|(name, value)| Ok((name.clone(), render(value, &format!("{place}.{name}"), input, room)?)))
                .collect();
            Ok(Value::Object(fields?))
        }
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        other => other.to_string().len(),
    }
}

/// The source of an expression, short enough for a message.
fn excerpt(source: &str) -> String {
    super::fault::excerpt(source.trim())
}

#[cfg(test)]
mod tests {
    use super::{MAX_EXPRESSIONS, Misfit, Template};
    use crate::cel::{Input, Scope};
    use serde_json::{Value, json};

    static SCOPE: Scope = Scope { variables: &["object", "now"], directory: false };

    fn compiled(written: &Value) -> Result<Template, Vec<Misfit>> {
        Template::compile(written, &SCOPE)
    }

    fn rendered(written: &Value) -> Result<Value, String> {
        let template = compiled(written).expect("compiles");
        let Value::Object(variables) =
            json!({"object": {"name": "web", "n": 3, "labels": {"a": "b"}, "none": null, "text": "x".repeat(100_000)}})
        else {
            unreachable!()
        };
        let input = Input { variables, ..Input::default() };
        template.render(&input).map_err(|misfit| format!("{}: {}", misfit.place, misfit.message))
    }

    #[test]
    fn a_string_that_is_one_expression_keeps_the_type_of_its_value() {
        let written =
            json!({"n": "${object.n}", "map": "${ object.labels }", "null": "${object.none}", "same": [1, true]});
        let expected = json!({"n": 3, "map": {"a": "b"}, "null": null, "same": [1, true]});
        assert_eq!(rendered(&written), Ok(expected));
    }

    #[test]
    fn expressions_within_a_text_are_written_out() {
        let written = json!(["${object.name}-${object.n + 1}", "is ${object.n > 1}", "plain", "5 $ {x} $"]);
        assert_eq!(rendered(&written), Ok(json!(["web-4", "is true", "plain", "5 $ {x} $"])));
    }

    #[test]
    fn braces_and_quotes_belong_to_the_expression() {
        let written = json!(["${ {'a': {'b': '}'}}.a.b }|", "${\"}\"}{}"]);
        assert_eq!(rendered(&written), Ok(json!(["}|", "}{}"])));
    }

    #[test]
    fn a_doubled_dollar_is_a_plain_one() {
        assert_eq!(rendered(&json!(["$${object.n}", "a$${b}${object.n}"])), Ok(json!(["${object.n}", "a${b}3"])));
    }

    #[test]
    fn faults_name_their_place() {
        for (written, place, message) in [
            (json!({"spec": {"list": ["x", "${nobody.name}"]}}), ".spec.list[1]", "there is no variable nobody"),
            (json!({"a": "${object.n"}), ".a", "a ${ is never closed"),
            (json!({"a": "${'x}"}), ".a", "a string is never closed"),
            (json!({"a": "${}"}), ".a", "syntax error"),
            (json!({"${object.n}": 1}), ".${object.n}", "the name of a field cannot be an expression"),
            (json!(vec!["${1}"; MAX_EXPRESSIONS + 1]), "", "at most 32 are allowed"),
        ] {
            let faults = compiled(&written).expect_err("refused");
            assert_eq!(faults[0].place, place, "{faults:?}");
            assert!(faults[0].message.contains(message), "{faults:?}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_names_its_place() {
        for (written, told) in [
            (
                json!({"a": ["x-${object.labels}"]}),
                ".a[0]: ${object.labels}: it yields a map, which does not go into a text",
            ),
            (json!({"a": "x${object.none}"}), ".a: ${object.none}: it yields null, which does not go into a text"),
            (json!({"a": "${object.missing}"}), ".a: ${object.missing}: line 1, column 8: there is no field missing"),
            (json!(vec!["${object.text}"; 3]), "[2]: it comes to more than the 262144 bytes that are allowed"),
        ] {
            let why = rendered(&written).expect_err("cannot be rendered");
            assert!(why.starts_with(told), "{why}");
        }
    }

    #[test]
    fn the_variables_that_are_read_are_known() {
        let template = compiled(&json!({"a": "${object.n} at ${now}", "b": "none"})).expect("compiles");
        assert_eq!(template.variables().into_iter().collect::<Vec<_>>(), ["now", "object"]);
    }
}
