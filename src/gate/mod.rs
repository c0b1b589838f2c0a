//! The gate: live operations on the API server, held back by admission until they are approved.
//!
//! ```text
//!  API server ── AdmissionReview ─▶ server ─▶ answer ─┬─ select (which processes) ─┐
//!                                                     ├─ payload (what, hashed)    ├─▶ judge ─▶ allow, claim, open, refuse
//!                                                     └─ change requests it knows ─┘
//! ```
//!
//! [`judge`], [`message`], [`review`] and [`configuration`] are pure, and so is when a certificate is renewed
//! ([`certificates::plan`]). [`answer`] gathers and writes, [`server`] speaks TLS. What the API server is told about the gate is
//! kept by [`crate::controllers::gate`].
//!
//! Whatever goes wrong refuses: nothing passes because the gate is slow, away or confused.

pub mod answer;
pub mod certificates;
pub mod configuration;
pub mod judge;
pub mod message;
pub mod review;
pub mod server;
mod state;
#[cfg(test)]
mod tests;
mod written;

pub use state::{Gate, Loaded, Secrets, Settings};
