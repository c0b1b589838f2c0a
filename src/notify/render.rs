//! A template as it is used: compiled once, rendered for each message within bounds, and never a cause of panic.
//!
//! What the values bring with them does no harm: they are escaped in HTML, lines and control characters cannot be smuggled into a
//! subject, the direction of text cannot be turned around, and a link leads to the web or nowhere.

use super::guard::{Names, Refusal, Variables, line_start, look_over};
use super::plural::{FORMS, Plurals};
use crate::api::Template;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use std::fmt;
use std::fmt::Write as _;

/// Steps of one rendering. A list of a thousand tasks takes more than a hundred thousand.
const FUEL: u64 = 250_000;
/// The longest text or HTML that comes out, in bytes: a list of a thousand tasks takes about half of it.
const MAX_OUTPUT: usize = 2 * 1024 * 1024;
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 200;
/// The longest that a filter makes of several values, in characters.
const MAX_JOINED: usize = 4096;

/// The filters that there are.
pub(super) const FILTERS: [&str; 14] = [
    "capitalize",
    "default",
    "first",
    "int",
    "last",
    "length",
    "link",
    "lower",
    "names",
    "plural",
    "time",
    "trim",
    "truncate",
    "upper",
];
/// The tests that there are.
pub(super) const TESTS: [&str; 7] = ["defined", "divisibleby", "even", "none", "number", "odd", "undefined"];

/// What is wrong with a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// Which of subject, text and html.
    pub(super) part: &'static str,
    /// The line, from 1.
    pub(super) line: usize,
    /// The character within the line, from 1.
    pub(super) column: usize,
    /// What is wrong and what to do about it.
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, line, column, message } = self;
        write!(f, "{part}: line {line}, column {column}: {message}")
    }
}

impl Fault {
    pub(super) fn at(part: &'static str, source: &str, offset: usize, message: String) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        Self { part, line, column, message }
    }
}

/// What a template gives.
pub(super) struct Filled {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: Option<String>,
}

/// A template of one language, compiled.
pub(super) struct Compiled {
    environment: Environment<'static>,
    /// The variables that each part reads.
    variables: Vec<(&'static str, Variables)>,
}

impl Compiled {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with each part.
    pub(super) fn new(template: &Template) -> Result<Self, Vec<Fault>> {
        let syntax = syntax();
        let mut environment = environment(&template.locale);
        environment.set_syntax(syntax.clone());
        let (mut faults, mut variables) = (Vec::new(), Vec::new());
        for (part, source) in parts(template) {
            let names = Names { filters: &FILTERS, tests: &TESTS };
            match look_over(source, &syntax, &names) {
                Err(Refusal { offset, why }) => faults.push(Fault::at(part, source, offset, why)),
                Ok(read) => {
                    variables.push((part, read));
                    if let Err(error) = environment.add_template_owned(part, source.to_owned()) {
                        faults.push(fault(part, source, &error));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(Self { environment, variables }) } else { Err(faults) }
    }

    /// The variables that are read and are not among those that there are.
    pub(super) fn unknown(&self, there_are: &[&str]) -> Vec<Fault> {
        let parts =
            self.variables.iter().flat_map(|(part, read)| read.iter().map(move |(name, at)| (*part, name, *at)));
        let unknown = parts.filter(|(_, name, _)| !there_are.contains(&name.as_str()));
        unknown
            .filter_map(|(part, name, at)| {
                let template = self.environment.get_template(part).ok()?;
                let message = format!("there is no parameter {name}; there are {}", there_are.join(", "));
                Some(Fault::at(part, template.source(), at, message))
            })
            .collect()
    }

    /// Renders it.
    ///
    /// # Errors
    /// Why it cannot be rendered with these parameters.
    pub(super) fn render(&self, parameters: &Value) -> Result<Filled, Fault> {
        Ok(Filled { html: self.part("html", parameters)?, ..self.plain(parameters)? })
    }

    /// Renders it without HTML.
    ///
    /// # Errors
    /// Why it cannot be rendered with these parameters.
    pub(super) fn plain(&self, parameters: &Value) -> Result<Filled, Fault> {
        let subject = one_line(&self.part("subject", parameters)?.unwrap_or_default());
        Ok(Filled { subject, text: self.part("text", parameters)?.unwrap_or_default(), html: None })
    }

    fn part(&self, part: &'static str, parameters: &Value) -> Result<Option<String>, Fault> {
        let Ok(template) = self.environment.get_template(part) else { return Ok(None) };
        let mut output = vec![0; MAX_OUTPUT];
        let mut rest = output.as_mut_slice();
        template
            .render_captured_to(parameters.clone(), &mut rest)
            .map_err(|error| fault(part, template.source(), &error))?;
        let length = MAX_OUTPUT - rest.len();
        output.truncate(length);
        Ok(Some(String::from_utf8_lossy(&output).into_owned()))
    }
}

fn parts(template: &Template) -> impl Iterator<Item = (&'static str, &str)> {
    let always = [("subject", template.subject.as_str()), ("text", template.text.as_str())];
    always.into_iter().chain(template.html.as_deref().map(|html| ("html", html)))
}

/// The parameters as templates see them: every text on one line and without characters that change how others look, the command
/// apart, which is a block of lines.
pub(super) fn parameters(parameters: &serde_json::Value) -> Value {
    let mut parameters = parameters.clone();
    if let serde_json::Value::Object(fields) = &mut parameters {
        for (name, field) in fields {
            tidy(field, name == "command");
        }
    }
    Value::from(Serde(&parameters))
}

fn tidy(value: &mut serde_json::Value, lines: bool) {
    match value {
        serde_json::Value::String(text) if lines => text.retain(|letter| letter == '\n' || !is_harmful(letter)),
        serde_json::Value::String(text) if text.contains(|letter| is_harmful(letter) || is_line_end(letter)) => {
            *text = flat(text);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, false)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| tidy(field, false)),
        _ => {}
    }
}

/// Characters that are no text: controls, and those that turn the direction of what stands around them.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn flat(text: &str) -> String {
    let text = text.replace(is_line_end, " ");
    text.chars().filter(|letter| !is_harmful(*letter)).collect()
}

/// A subject: one line, its spaces single, not too long.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<_> = flat(text).split_whitespace().map(str::to_owned).collect();
    cut(&words.join(" "), MAX_SUBJECT)
}

/// At most so many characters; what is cut off is shown by an ellipsis.
fn cut(text: &str, length: usize) -> String {
    if text.chars().nth(length).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Tags on a line of their own leave no empty line behind.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    syntax.build().unwrap_or_default()
}

fn environment(locale: &str) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|part| if part == "html" { AutoEscape::Html } else { AutoEscape::None });
    environment.set_formatter(print);
    let plurals = Plurals::of(locale);
    environment.add_filter("plural", move |number: &Value, forms: Kwargs| plural(&plurals, number, &forms));
    environment.add_filter("time", |state: &State<'_, '_>, moment: &Value, form: Option<String>| {
        time(state, moment, form.as_deref())
    });
    environment.add_filter("link", link);
    environment.add_filter("names", names);
    environment.add_filter("truncate", |text: String, length: Option<usize>| cut(&text, length.unwrap_or(80)));
    environment.add_filter("capitalize", minijinja::filters::capitalize);
    environment.add_filter("default", minijinja::filters::default);
    environment.add_filter("first", minijinja::filters::first);
    environment.add_filter("int", minijinja::filters::int);
    environment.add_filter("last", minijinja::filters::last);
    environment.add_filter("length", minijinja::filters::length);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("trim", minijinja::filters::trim);
    environment.add_filter("upper", minijinja::filters::upper);
    environment.add_test("defined", minijinja::tests::is_defined);
    environment.add_test("divisibleby", minijinja::tests::is_divisibleby);
    environment.add_test("even", minijinja::tests::is_even);
    environment.add_test("none", minijinja::tests::is_none);
    environment.add_test("number", minijinja::tests::is_number);
    environment.add_test("odd", minijinja::tests::is_odd);
    environment.add_test("undefined", minijinja::tests::is_undefined);
    environment
}

/// How a value is printed: what is absent as nothing, and nothing that is not for people.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => Ok(()),
        ValueKind::String | ValueKind::Number | ValueKind::Bool => escape_formatter(out, state, value),
        kind => Err(invalid(format!("a {kind} cannot be printed; choose a field of it, or take {{% for %}}"))),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn plural(plurals: &Plurals, number: &Value, forms: &Kwargs) -> Result<String, Error> {
    let written = number.to_string();
    let form = plurals.form(&written).filter(|_| !number.is_none() && !number.is_undefined());
    let Some(form) = form else { return Err(invalid(format!("plural: {written} is not a number"))) };
    for name in FORMS {
        forms.get::<Option<Value>>(name)?;
    }
    forms.assert_all_used()?;
    let Some(other) = forms.get::<Option<String>>("other")? else {
        return Err(Error::new(
            ErrorKind::MissingArgument,
            "plural: the form other is missing; write plural(one='task', other='tasks')",
        ));
    };
    Ok(forms.get::<Option<String>>(form)?.unwrap_or(other))
}

/// A moment as people write it, in the time zone of the message; nothing for nothing.
fn time(state: &State<'_, '_>, moment: &Value, form: Option<&str>) -> Result<String, Error> {
    if moment.is_none() {
        return Ok(String::new());
    }
    let parsed = moment.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(parsed) = parsed else {
        return Err(invalid(format!("time: {moment} is not a moment; give it a parameter such as task.deadline")));
    };
    let zone = state.lookup("timeZone").and_then(|zone| zone.as_str().and_then(|name| TimeZone::get(name).ok()));
    let moment = parsed.to_zoned(zone.unwrap_or(TimeZone::UTC));
    let form = form.unwrap_or("%Y-%m-%d %H:%M %Z");
    let mut written = String::new();
    jiff::fmt::strtime::BrokenDownTime::from(&moment)
        .format(form, jiff::fmt::StdFmtWrite(&mut written))
        .map_err(|error| invalid(format!("time: {error}; write it as in time('%Y-%m-%d %H:%M')")))?;
    Ok(written)
}

/// An address of the web, or nothing: no script, no file, no words.
fn link(address: &Value) -> String {
    let parsed = address.as_str().and_then(|text| url::Url::parse(text.trim()).ok());
    let web = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    web.map(String::from).unwrap_or_default()
}

/// People by the names that others know them by: `Mary, John`.
fn names(people: &Value) -> Result<String, Error> {
    if people.is_none() {
        return Ok(String::new());
    }
    let mut written = String::new();
    for person in people.try_iter()? {
        let field = |name: &str| person.get_attr(name).ok().and_then(|value| value.as_str().map(str::to_owned));
        let Some(name) = field("displayName").or_else(|| field("username")) else {
            return Err(invalid("names: these are not people; give it subjects"));
        };
        let separator = if written.is_empty() { "" } else { ", " };
        write!(written, "{separator}{name}").map_err(|_| invalid("names: it cannot be written"))?;
        if written.len() > MAX_JOINED {
            break;
        }
    }
    Ok(cut(&written, MAX_JOINED))
}

/// What the engine found, at its place.
fn fault(part: &'static str, source: &str, error: &Error) -> Fault {
    let offset = match error.range() {
        Some(range) => range.start,
        None => line_start(source, error.line().unwrap_or(1)),
    };
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let message = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps; make its loops shorter".to_owned(),
        ErrorKind::WriteFailure => format!("it gives more than {} KiB; make it shorter", MAX_OUTPUT / 1024),
        ErrorKind::UndefinedError => {
            format!("{detail}; docs/notifications.md lists the parameters; ask for what may be absent by {{% if %}}")
        }
        _ => detail,
    };
    Fault::at(part, source, offset, message)
}
