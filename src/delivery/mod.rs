//! Carries messages away: from the outbox ([`crate::store`]) to the mail server, to webhooks and to chats.
//!
//! ```text
//! outbox ──claim──▶ lane ──▶ carrier: SMTP, or a channel of the configuration
//!    ▲               │
//!    └────settle─────┘  sent · again later · set aside
//! ```
//!
//! Every destination has a lane of its own, so that one that hangs delays no other. What concerns one message puts off that
//! message; what concerns the server as a whole pauses the lane and counts against no message. Nothing is lost, and nothing is
//! repeated, but what was under way when the operator died: that goes out again under the same id.
//!
//! - [`settings`]: where mail goes and as whom, by the operator's configuration alone
//! - [`mail`]: a message as MIME; header injection ends here
//! - [`channels`]: webhooks and chats, and what they are sent
//! - [`backoff`], [`limits`]: when something is tried again, and how much at once; pure
//! - `smtp`, `pool`: conversations with the mail server
//! - `lane`: the loop
//!
//! [`Courier`] is what the operator runs. It decides nothing about who is told what.

pub mod backoff;
pub mod channels;
mod courier;
mod lane;
pub mod limits;
pub mod mail;
mod pool;
mod quiet;
pub mod settings;
mod smtp;

pub use courier::{Clock, Courier, Health, Observer, Reach, Timing};
