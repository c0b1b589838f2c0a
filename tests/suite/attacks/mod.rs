//! The attacks of the trust model that must fail, by their numbers. Each leaves the state as it was, and the refusal can
//! be seen: in the answer of the API server, or in the verdict of the signal.
//!
//! - [`identity`]: 1–4, 6, 7, 9–12, in whose name something is done
//! - [`installation`]: 5 and a part of 28, who may do everything turns the lock off or takes a snapshot away
//! - [`path`]: 13, 18, 19, 21–23, ways around the signals
//! - [`logic`]: 26, 28–32, 36, what the engine must see through
//!
//! Attack 8 (alias, inactive twin) is a scenario of the engine, `tests/scenarios/attack08_*`. Attack 34 (the clock) is
//! the unit test `attack_34_a_clock_that_jumps_a_day_is_pulled_back` of `src/runtime/clock.rs` and the scenarios
//! `attack34_*`: the clock of a machine that runs other tests too cannot be turned.

mod identity;
mod installation;
mod logic;
mod path;
