//! What people are told: hands what happened to [`crate::notify`] and what that makes of it to the outbox.
//!
//! - [`facts`]: an instance as it stands
//! - [`open`]: the open tasks of all instances
//! - [`queue`]: the instances of which something may have to be told

pub mod facts;
pub mod open;
pub mod queue;
