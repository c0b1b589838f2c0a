//! Which tasks the last mail of a Digest counted, for each person: what is new to them follows from it. Pure.
//!
//! A role may have thousands of holders with thousands of tasks, nearly the same ones for each. So tasks are numbered once for a
//! Digest, in the order in which they opened, and a person has ranges of numbers. A number is never given twice while somebody's
//! ranges have it: those of closed tasks may stay in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// What the last mails of one Digest counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// The number of every task that was open at the last run, by [`super::OpenTask::key`].
    pub tasks: BTreeMap<String, u64>,
    /// By the key of the person: the tasks that their last mail counted.
    pub people: BTreeMap<String, Numbers>,
}

/// What a run changes in [`Seen`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// Tasks with the number that they have from now on.
    pub opened: Vec<(String, u64)>,
    /// Tasks that are no longer open.
    pub closed: Vec<String>,
    /// What the mail of each of these people counted.
    pub told: Vec<(String, Numbers)>,
    /// People whose last mail counted nothing that is still open.
    pub done: Vec<String>,
}

/// Numbers as ranges, in order, with both ends included. Written `1-4,9`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Numbers(Vec<(u64, u64)>);

impl Seen {
    /// A number that nothing has, and nothing above it.
    #[must_use]
    pub fn next(&self) -> u64 {
        let told = self.people.values().filter_map(|numbers| numbers.0.last()).map(|(_, last)| *last);
        told.chain(self.tasks.values().copied()).max().map_or(1, |highest| highest + 1)
    }

    /// The same after a run.
    #[must_use]
    pub fn after(mut self, change: Change) -> Self {
        self.tasks.retain(|key, _| change.closed.binary_search(key).is_err());
        self.tasks.extend(change.opened);
        self.people.retain(|person, _| change.done.binary_search(person).is_err());
        self.people.extend(change.told);
        self
    }
}

impl Numbers {
    /// Whether the number is one of them.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|range| number <= self.0[range].1)
    }

    /// Whether one of the others is among them.
    #[must_use]
    pub fn have_any(&self, others: &BTreeSet<u64>) -> bool {
        self.0.iter().any(|(first, last)| others.range(first..=last).next().is_some())
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ordered: Vec<_> = numbers.into_iter().collect();
        ordered.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in ordered {
            match ranges.last_mut() {
                Some((_, last)) if number <= last.saturating_add(1) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no list of numbers such as 1-4,9");
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first: u64 = first.parse().map_err(|_| wrong())?;
            let last: u64 = last.parse().map_err(|_| wrong())?;
            if last < first || ranges.last().is_some_and(|(_, before)| first <= *before) {
                return Err(wrong());
            }
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Numbers, Seen};
    use std::collections::BTreeSet;

    fn numbers(of: &[u64]) -> Numbers {
        of.iter().copied().collect()
    }

    #[test]
    fn numbers_are_kept_as_ranges() {
        for (of, written) in [
            (&[][..], ""),
            (&[7], "7"),
            (&[3, 1, 2, 9, 2], "1-3,9"),
            (&[1, 2, 4, 5], "1-2,4-5"),
            (&[u64::MAX, u64::MAX - 1], "18446744073709551614-18446744073709551615"),
        ] {
            assert_eq!(numbers(of).to_string(), written);
            assert_eq!(written.parse(), Ok(numbers(of)), "{written}");
            for number in 0..12 {
                assert_eq!(numbers(of).has(number), of.contains(&number), "{number} in {written}");
            }
        }
    }

    #[test]
    fn what_is_no_list_of_numbers_is_refused() {
        for text in [",", "1,", "a", "-", "3-1", "1-4,4", "5,3", "1--2", "-1"] {
            assert_eq!(text.parse::<Numbers>(), Err(format!("{text} is no list of numbers such as 1-4,9")));
        }
    }

    #[test]
    fn numbers_that_others_have_are_found() {
        let some = numbers(&[2, 3, 4, 9]);
        assert!(some.have_any(&BTreeSet::from([1, 4])));
        assert!(!some.have_any(&BTreeSet::from([1, 5, 8, 10])));
        assert!(!numbers(&[]).have_any(&BTreeSet::from([1])));
    }

    #[test]
    fn a_number_is_not_given_twice_while_somebody_has_it() {
        let seen = Seen {
            tasks: [("a".to_owned(), 4)].into(),
            people: [("identity mary".to_owned(), numbers(&[1, 9]))].into(),
        };
        assert_eq!(seen.next(), 10);
        assert_eq!(Seen::default().next(), 1);
    }

    #[test]
    fn a_run_changes_what_it_names_alone() {
        let seen = Seen {
            tasks: [("a".to_owned(), 1), ("b".to_owned(), 2)].into(),
            people: [("john".to_owned(), numbers(&[1])), ("mary".to_owned(), numbers(&[2]))].into(),
        };
        let change = Change {
            opened: vec![("c".to_owned(), 3)],
            closed: vec!["a".to_owned()],
            told: vec![("alita".to_owned(), numbers(&[2, 3]))],
            done: vec!["john".to_owned()],
        };
        let after = Seen {
            tasks: [("b".to_owned(), 2), ("c".to_owned(), 3)].into(),
            people: [("alita".to_owned(), numbers(&[2, 3])), ("mary".to_owned(), numbers(&[2]))].into(),
        };
        assert_eq!(seen.after(change), after);
    }
}
