//! The topics at one moment: the texts that are built in, and what `NotificationTopics` say instead. Called by whatever composes
//! messages, and by the controller of topics, which reports faults.
//!
//! Whatever is wrong with a template, the message goes out: a built-in text is sent instead, and the fault is told.

use super::Rendered;
use super::built_in;
use super::plural::tag_of;
use super::render::{Compiled, Fault, Filled, one_line, parameters};
use super::sample;
use crate::api::NotificationTopicSpec;
use minijinja::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, OnceLock};

pub use built_in::NAMES as BUILT_IN;

/// The built-in topics of messages about requests.
pub const OF_REQUESTS: &[&str] =
    &["task-assigned", "partition-waiting", "partition-changed", "escalated", "decision-recorded", "request-done"];

/// All topics at one moment.
pub struct Topics {
    overrides: BTreeMap<String, Override>,
    default_locale: String,
}

struct Override {
    enabled: bool,
    templates: Vec<Own>,
}

/// A template of a `NotificationTopic`.
struct Own {
    tag: String,
    place: String,
    compiled: Result<Compiled, Fault>,
    /// The built-in topics whose messages it can write, once somebody asked: that is tried with all of them.
    suits: OnceLock<BTreeSet<&'static str>>,
}

impl Topics {
    /// The topics with what objects of these names say. `default_locale` is the language of whoever reads none that there is.
    pub fn new<'a>(
        overrides: impl IntoIterator<Item = (&'a str, &'a NotificationTopicSpec)>,
        default_locale: &str,
    ) -> Self {
        let overrides = overrides.into_iter().map(|(name, spec)| (name.to_owned(), Override::of(spec))).collect();
        Self { overrides, default_locale: normal(default_locale) }
    }

    /// Whether anything of a topic is sent: unless an object of that name says otherwise.
    #[must_use]
    pub fn is_enabled(&self, topic: &str) -> bool {
        self.overrides.get(topic).is_none_or(|own| own.enabled)
    }

    /// Whether there is a topic of that name, built in or as an object.
    #[must_use]
    pub fn is_known(&self, topic: &str) -> bool {
        self.overrides.contains_key(topic) || built_in::NAMES.contains(&topic)
    }

    /// The message of a topic in a language. `stand_in` is the built-in topic whose text is sent when there is none of `topic`, or
    /// when it is broken. It never fails: what is wrong is told beside the text that stands in.
    #[must_use]
    pub fn render(
        &self,
        topic: &str,
        stand_in: &str,
        locale: Option<&str>,
        parameters_given: &serde_json::Value,
    ) -> Rendered {
        let parameters = parameters(parameters_given);
        let tags = self.tags(locale);
        let (mut fault, mut unsuited) = (None, None);
        match self.choose(topic, &tags) {
            Choice::Own(own) => match own.render(&parameters) {
                Ok(filled) => return rendered(filled),
                Err(why) if own.is_for_others(&[stand_in]) => unsuited = Some(another_kind(topic, &why)),
                Err(why) => fault = Some(why),
            },
            Choice::BuiltIn => {}
            Choice::Nothing if self.overrides.contains_key(topic) => {
                fault = Some(format!(
                    "spec.templates: there is none, and {topic} is not built in; add one for each language"
                ));
            }
            Choice::Nothing => {
                unsuited = Some(format!(
                    "there is no NotificationTopic {topic}, and none is built in; create it, or choose one of {}",
                    built_in::NAMES.join(", ")
                ));
            }
        }
        for name in [topic, stand_in] {
            for compiled in tags.iter().filter_map(|tag| built_in::compiled(name, tag)).take(1) {
                match compiled.render(&parameters) {
                    Ok(filled) => return Rendered { fault, unsuited, ..rendered(filled) },
                    Err(why) => {
                        if built_in_is_for_others(name, &[stand_in]) {
                            unsuited.get_or_insert_with(|| another_kind(name, &why.to_string()));
                        } else {
                            let why = || format!("the built-in text {name} does not suit this message: {why}");
                            fault.get_or_insert_with(why);
                        }
                        if let Ok(filled) = compiled.plain(&parameters) {
                            return Rendered { fault, unsuited, ..rendered(filled) };
                        }
                    }
                }
            }
        }
        Rendered { fault, unsuited, ..last_resort(topic, parameters_given) }
    }

    /// Why a topic does not suit the messages that any of these built-in topics is about; none when it does, or does nowhere.
    #[must_use]
    pub fn unsuited(&self, topic: &str, stand_ins: &[&str]) -> Option<String> {
        let own = self.overrides.get(topic).map(|own| own.templates.as_slice()).unwrap_or_default();
        if let Some(own) = own.iter().find(|own| own.is_for_others(stand_ins)) {
            return Some(another_kind(topic, &own.place));
        }
        (own.is_empty() && built_in_is_for_others(topic, stand_ins)).then(|| another_kind(topic, "the built-in text"))
    }

    /// The language, then shorter tags of it, then the same of the default, then English.
    fn tags(&self, locale: Option<&str>) -> Vec<String> {
        let mut tags: Vec<String> = Vec::new();
        for wanted in [locale.map(normal).unwrap_or_default(), self.default_locale.clone(), "en".to_owned()] {
            let mut wanted = Some(wanted.as_str()).filter(|tag| !tag.is_empty());
            while let Some(tag) = wanted {
                if !tags.iter().any(|known| known == tag) {
                    tags.push(tag.to_owned());
                }
                wanted = tag.rsplit_once('-').map(|(shorter, _)| shorter);
            }
        }
        tags
    }

    fn choose(&self, topic: &str, tags: &[String]) -> Choice<'_> {
        let own = self.overrides.get(topic).map(|own| own.templates.as_slice()).unwrap_or_default();
        for tag in tags {
            if let Some(own) = own.iter().find(|own| own.tag == *tag) {
                return Choice::Own(own);
            }
            if built_in::compiled(topic, tag).is_some() {
                return Choice::BuiltIn;
            }
        }
        own.first().map_or(Choice::Nothing, Choice::Own)
    }
}

enum Choice<'a> {
    Own(&'a Own),
    BuiltIn,
    Nothing,
}

impl Override {
    fn of(spec: &NotificationTopicSpec) -> Self {
        let templates = spec.templates.iter().enumerate().map(|(number, template)| Own {
            tag: normal(&template.locale),
            place: place(number, &template.locale),
            compiled: Compiled::new(template).map_err(first),
            suits: OnceLock::new(),
        });
        Self { enabled: spec.enabled, templates: templates.collect() }
    }
}

impl Own {
    fn render(&self, parameters: &Value) -> Result<Filled, String> {
        let compiled = self.compiled.as_ref().map_err(|fault| format!("{}: {fault}", self.place))?;
        compiled.render(parameters).map_err(|fault| format!("{}: {fault}", self.place))
    }

    /// Whether it can be used, but for none of the messages that these built-in topics are for.
    fn is_for_others(&self, stand_ins: &[&str]) -> bool {
        let suits = || self.compiled.as_ref().map(suited).unwrap_or_default();
        are_others(self.suits.get_or_init(suits), stand_ins)
    }
}

/// The built-in topics whose messages each built-in text can write.
static BUILT_IN_SUIT: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
    let texts = built_in::NAMES.iter().filter_map(|name| Some((*name, built_in::compiled(name, "en")?)));
    texts.map(|(name, compiled)| (name, suited(compiled))).collect()
});

/// The built-in topics of whose messages a template can write one.
fn suited(compiled: &Compiled) -> BTreeSet<&'static str> {
    let suits = |topic: &&&str| {
        let samples = sample::of_built_in(topic).unwrap_or_default();
        samples.iter().any(|sample| compiled.render(&parameters(&sample.parameters)).is_ok())
    };
    built_in::NAMES.iter().filter(suits).copied().collect()
}

fn are_others(suited: &BTreeSet<&str>, stand_ins: &[&str]) -> bool {
    !suited.is_empty() && !stand_ins.iter().any(|stand_in| suited.contains(stand_in))
}

/// Whether the built-in text of a topic is for none of the messages that these built-in topics are for.
fn built_in_is_for_others(topic: &str, stand_ins: &[&str]) -> bool {
    BUILT_IN_SUIT.get(topic).is_some_and(|suited| are_others(suited, stand_ins))
}

fn another_kind(topic: &str, why: &str) -> String {
    format!(
        "the topic {topic} is for messages of another kind, so a built-in text is sent; choose another topic ({why})"
    )
}

/// What is wrong with the templates of a topic, each with its place, line and column, and what to do about it. Every template
/// is compiled and tried on made-up parameters; one of a topic that is not built in has to suit one kind of message.
#[must_use]
pub fn faults(name: &str, spec: &NotificationTopicSpec) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, template) in spec.templates.iter().enumerate() {
        let place = place(number, &template.locale);
        if tag_of(&template.locale).is_none() {
            faults.push(format!(
                "{place}: locale: {:?} is no language tag of BCP 47; write e.g. en, cs or pt-BR",
                template.locale
            ));
        }
        if !seen.insert(normal(&template.locale)) {
            faults.push(format!("{place}: locale: there is a template for this language already; remove one of them"));
        }
        if template.subject.trim_end_matches('\n').contains(['\n', '\r']) {
            let message = "a subject is one line; join them".to_owned();
            let offset = template.subject.find(['\n', '\r']).unwrap_or_default();
            faults.push(format!("{place}: {}", Fault::at("subject", &template.subject, offset, message)));
        }
        match Compiled::new(template) {
            Err(wrong) => faults.extend(wrong.iter().map(|fault| format!("{place}: {fault}"))),
            Ok(compiled) => {
                let unknown = compiled.unknown(&sample::parameter_names(name));
                if unknown.is_empty() {
                    faults.extend(tried(name, &compiled).map(|why| format!("{place}: {why}")));
                } else {
                    faults.extend(unknown.iter().map(|fault| format!("{place}: {fault}")));
                }
            }
        }
    }
    if spec.enabled && spec.templates.is_empty() && !built_in::NAMES.contains(&name) {
        faults.push(format!("spec.templates: there is none, and {name} is not built in; add one for each language"));
    }
    faults
}

/// What a template says to made-up parameters.
fn tried(name: &str, compiled: &Compiled) -> Option<String> {
    let attempt = |sample: &sample::Sample| {
        let wrong = compiled.render(&parameters(&sample.parameters)).err();
        wrong.map(|fault| format!("{fault} (with {})", sample.what))
    };
    match sample::of_built_in(name) {
        Some(samples) => samples.iter().find_map(attempt),
        None => {
            let wrong: Option<Vec<_>> = sample::of_any().iter().map(attempt).collect();
            wrong.and_then(|wrong| wrong.into_iter().next())
        }
    }
}

/// A tag as it is compared.
fn normal(tag: &str) -> String {
    tag.replace('_', "-").to_ascii_lowercase()
}

fn place(number: usize, locale: &str) -> String {
    format!("spec.templates[{number}] ({locale})")
}

fn first(faults: Vec<Fault>) -> Fault {
    let none = Fault { part: "text", line: 1, column: 1, message: "it cannot be used".to_owned() };
    faults.into_iter().next().unwrap_or(none)
}

fn rendered(filled: Filled) -> Rendered {
    let Filled { subject, text, html } = filled;
    Rendered { subject, text, html, ..Rendered::default() }
}

/// Words for a message that no text suits: what it is about, and where to look.
fn last_resort(topic: &str, parameters: &serde_json::Value) -> Rendered {
    let instance = &parameters["instance"];
    let about = instance["title"].as_str().or_else(|| instance["name"].as_str()).unwrap_or(topic);
    let subject = one_line(about);
    let text = format!("{subject}\n\n{}\n", one_line(parameters["url"].as_str().unwrap_or_default()));
    Rendered { subject, text, ..Rendered::default() }
}

#[cfg(test)]
mod tests;
