#![doc = include_str!("../../docs/guarantees.md")]
//!
//! # The search
//!
//! Breadth first over every reachable state of a scene, each kept whole and visited once; the shortest way to a broken guarantee
//! is told. It is exhaustive within the bounds of a scene: its letters (each sent at most once, at any time), its seconds, its
//! directories. The replicas are alike, so states that differ only in which is which are one; nothing else is left out.
//!
//! The search is our own, not stateright's (0.31): that keeps 64-bit fingerprints, of which two may be alike, clones whole states, and
//! says that its `eventually` is wrong on cycles, of which watches make many. Here statuses and plans are numbered once, so a
//! state is three words, the engine is asked each question once, and a thread visits some 80,000 states a second, unoptimised.
//!
//! # The world
//!
//! - [`scene`]: what a search is about; [`scenes`]: all of them
//! - [`world`]: server, people, clock; what can happen, and what then is; [`replica`]: an operator
//! - [`shell`]: how plans are carried out, and the flaws that the search must find
//! - [`oracle`]: asks the engine; the one place where facts are put together
//! - [`packing`]: states in three words, and where they are kept
//! - [`properties`]: the guarantees of a status, a plan, a write
//!
//! To extend it: another kind of letter is a constructor beside [`scene::approve`] and what it may do in
//! [`properties::of_status`]; another fact is a field of [`oracle::Question`] and two lines in `Oracle::advance` and `key`; another
//! event is an [`world::Action`]. What else a plan has
//! to do is a bit of `todo` in [`replica`].

mod oracle;
mod packing;
mod properties;
mod replica;
mod scene;
mod scenes;
mod search;
mod shell;
mod world;

use scene::Scene;
use search::{Found, search};
use shell::{Flaw, Shell};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Fewer states than that would be no proof of anything.
const AT_LEAST: usize = 1_000_000;

#[test]
fn every_state_keeps_the_guarantees() {
    let found = search_all(&[Shell::TOGETHER, Shell::ONE_AT_A_TIME]);
    let total: usize = found.iter().map(|found| found.states).sum();
    println!("{total} different states");
    let occurred: BTreeSet<_> = found.iter().flat_map(|found| found.occurred.iter().copied()).collect();
    assert_eq!(occurred.len(), 6, "only {occurred:?} came up");
    assert!(total >= AT_LEAST, "only {total} states were visited");
}

/// Searches all scenes, on two threads.
fn search_all(shells: &[Shell]) -> Vec<Found> {
    let scenes = shells.iter().flat_map(|shell| scenes::all().into_iter().map(|scene| scene.by(*shell)));
    let queue = Mutex::new(scenes);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).map(search_one).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().expect("every guarantee holds")).collect()
    })
}

fn search_one(scene: Scene) -> Found {
    let (name, shell, expected) = (scene.name, scene.shell, scene.outcomes);
    let found = search(scene).unwrap_or_else(|broken| panic!("{}\n{}", broken.violation, broken.story));
    println!(
        "{name:<21} {:?}: {} states, {} actions, at most {} deep, {} questions, {} statuses, {:.1} s",
        shell.turns,
        found.states,
        found.actions,
        found.depth,
        found.questions,
        found.statuses,
        found.took.as_secs_f64()
    );
    let names = |outcomes: &[quorate::api::Outcome]| outcomes.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (found_outcomes, expected) = (names(&found.outcomes), names(expected));
    // With both at work there are fewer letters.
    let enough = shell == Shell::TOGETHER && found_outcomes.is_subset(&expected);
    assert!(enough || found_outcomes == expected, "{name} came to {found_outcomes:?}, not {expected:?}");
    found
}

/// Searches a scene that must break that guarantee.
fn breaks(scene: Scene, shell: Shell, guarantee: &str) {
    match search(scene.by(shell)) {
        Ok(found) => panic!("{} states, and {guarantee} holds", found.states),
        Err(broken) => {
            println!("{}\n{}", broken.violation, broken.story);
            assert!(broken.violation.starts_with(&format!("{guarantee}:")), "{}", broken.violation);
        }
    }
}

/// What the search must be able to find.
mod would_be_noticed {
    use super::{Flaw, Shell, breaks, scenes};

    #[test]
    fn a_server_that_takes_stale_statuses() {
        breaks(scenes::two_of_three(), Shell::flawed(Flaw::StaleStatusAccepted), "G5");
    }

    #[test]
    fn a_server_that_takes_a_second_verdict() {
        breaks(scenes::early_letter(), Shell::flawed(Flaw::SecondVerdictAccepted), "G6");
    }

    #[test]
    fn verdicts_before_the_record() {
        breaks(scenes::two_of_three(), Shell::flawed(Flaw::VerdictsFirst), "G6");
    }

    #[test]
    fn an_object_decided_before_the_record() {
        breaks(scenes::contested_object(), Shell::flawed(Flaw::WriteBackFirst), "G8");
    }

    #[test]
    fn time_that_is_over_while_signals_are_on_their_way() {
        breaks(scenes::deadline(), Shell::flawed(Flaw::SeenTooEarly), "G11");
    }

    /// A verdict is written, its answer is lost, and the signal is judged anew without having been read again.
    #[test]
    fn a_verdict_that_was_written_unnoticed() {
        breaks(scenes::early_letter(), Shell { answers_lost: true, ..Shell::ONE_AT_A_TIME }, "G7");
    }

    #[test]
    fn verdicts_that_are_never_written() {
        breaks(scenes::two_of_three(), Shell::flawed(Flaw::VerdictLost), "G9");
    }
}

/// What does not hold, and why it is promised only under a condition. Each test fails as soon as the condition can go.
mod known_not_to_hold {
    use super::{Shell, breaks, scenes};

    /// Refusals are not recorded in the status, so nothing keeps one operator from refusing what the other counts.
    #[test]
    fn g7_with_two_operators_at_work() {
        breaks(scenes::early_letter(), Shell { promises_g7: true, ..Shell::TOGETHER }, "G7");
    }

    /// A vote that is seen late, while its sender has handed the task over, is refused; once the task is taken back in the same
    /// batch, the batch counts it when it is judged again.
    #[test]
    fn g10_when_a_task_is_handed_over() {
        breaks(scenes::handed_over(), Shell { promises_same_verdicts: true, ..Shell::ONE_AT_A_TIME }, "G10");
    }
}
