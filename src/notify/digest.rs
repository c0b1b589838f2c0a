//! One mail with all open tasks of a person, when there are new ones since the last (semantics.md 32). Pure.

use super::OpenTask;
use super::run::{Mail, Occasion, Run};
use super::seen::{Change, Numbers, Seen};
use crate::api::DigestSpec;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// The topic that is sent where that of the Digest cannot be.
const TOPIC: &str = "task-digest";

/// A run of a Digest.
///
/// A person gets a mail when a task has become decidable by them since their last mail of this Digest, that is: one that it did
/// not count. It lists their open tasks, the new ones first and then the oldest first. Whoever has no address is not told, so
/// everything stays new to them. A topic that is disabled tells nobody, and counts as told: switching it on again brings no flood.
#[must_use]
pub fn digest<'a>(occasion: Occasion<'a>, spec: &'a DigestSpec, seen: &Seen) -> Run<'a> {
    let enabled = occasion.topics.is_enabled(&spec.topic);
    let mut run = Run::new(occasion);
    let unknown = unknown(&occasion, seen);
    let numbers = number(&occasion, seen, &unknown, &mut run.seen);
    let nothing = Numbers::default();
    for person in occasion.deciders() {
        let before = seen.people.get(&person.key).unwrap_or(&nothing);
        let (new, old): (Vec<usize>, Vec<usize>) =
            person.tasks.iter().copied().partition(|task| !before.has(numbers[*task]));
        if new.is_empty() {
            continue;
        }
        if person.contact.email.is_none() {
            run.without_address.insert(person.contact.username);
            continue;
        }
        let counted = person.tasks.iter().map(|task| numbers[*task]);
        let before = unknown.values().copied().filter(|number| before.has(*number));
        run.seen.told.push((person.key.clone(), counted.chain(before).collect()));
        if !enabled {
            continue;
        }
        let at_most = usize::try_from(spec.tasks_to_send).unwrap_or(usize::MAX);
        let listed: Vec<usize> = new.iter().chain(&old).copied().take(at_most).collect();
        let counts = [
            ("newCount", new.len()),
            ("restCount", person.tasks.len() - listed.len()),
            ("totalCount", person.tasks.len()),
        ];
        run.mails.push(Mail {
            id: vec![person.key],
            to: person.contact,
            topic: &spec.topic,
            stand_in: TOPIC,
            new: new.len().min(listed.len()),
            listed,
            links: true,
            parameters: counts
                .map(|(name, count)| (name.to_owned(), Value::from(count)))
                .into_iter()
                .collect::<Map<_, _>>(),
        });
    }
    run.seen.done = done(seen, &run.seen);
    run
}

/// The number of each task. One that has none gets the next, in the order in which they opened; closed ones are told too.
fn number(occasion: &Occasion<'_>, seen: &Seen, unknown: &BTreeMap<&String, u64>, change: &mut Change) -> Vec<u64> {
    let mut numbers = vec![0; occasion.tasks.len()];
    let mut next = seen.next();
    let mut open = BTreeSet::new();
    for task in occasion.oldest_first() {
        let key = occasion.tasks[task].key();
        numbers[task] = seen.tasks.get(&key).copied().unwrap_or(next);
        if numbers[task] == next {
            next += 1;
            change.opened.push((key.clone(), numbers[task]));
        }
        open.insert(key);
    }
    let is_closed = |key: &&String| !open.contains(*key) && !unknown.contains_key(*key);
    change.closed = seen.tasks.keys().filter(is_closed).cloned().collect();
    numbers
}

/// The tasks of instances that could not be looked at: neither closed nor listed, and not new when they are seen again.
fn unknown<'s>(occasion: &Occasion<'_>, seen: &'s Seen) -> BTreeMap<&'s String, u64> {
    let passed_over = seen.tasks.iter().filter(|(key, _)| occasion.passed_over.contains(OpenTask::instance_of(key)));
    passed_over.map(|(key, number)| (key, *number)).collect()
}

/// The people who were not told now, and whose last mail counted nothing that is still open.
fn done(seen: &Seen, change: &Change) -> Vec<String> {
    let mut open = seen.tasks.clone();
    for key in &change.closed {
        open.remove(key);
    }
    let open: BTreeSet<u64> = open.into_values().collect();
    let told: BTreeMap<&str, &Numbers> =
        change.told.iter().map(|(person, numbers)| (person.as_str(), numbers)).collect();
    let rest = seen.people.iter().filter(|(person, _)| !told.contains_key(person.as_str()));
    rest.filter(|(_, numbers)| !numbers.have_any(&open)).map(|(person, _)| person.clone()).collect()
}
