//! The attacks of the trust model that must fail, by their numbers. Each leaves the state as it was, and the refusal can
//! be seen: in the answer of the API server, or in the verdict of the signal.
//!
//! - [`identity`]: 1–4, 6, 7, 9–12, in whose name something is done
//! - [`installation`]: 5 and a part of 28, who may do everything turns the lock off or takes a snapshot away
//! - [`path`]: 13, 18, 19, 21–23, ways around the signals
//! - [`logic`]: 26, 28–33, 36, what the engine must see through
//! - [`substitutes`]: 8, 35 and a part of 5, deciding under another name, through others, or for others
//! - [`input`]: 37, 38, too much, too deep, too slow
//!
//! What can be done to a Delegation by PUT, patch, apply and through its status is tried by
//! `a_delegation_is_the_principals_alone` of `language/delegations.rs`. Attack 34 (the clock) is
//! the unit test `attack_34_a_clock_that_jumps_a_day_is_pulled_back` of `src/runtime/clock.rs` and the scenarios
//! `attack34_*`: the clock of a machine that runs other tests too cannot be turned.

mod identity;
mod input;
mod installation;
mod logic;
mod path;
mod substitutes;
