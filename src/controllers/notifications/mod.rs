//! What people are told: hands what happened to [`crate::notify`] and what that makes of it to the outbox.
//!
//! - [`facts`]: an instance as it stands
//! - [`queue`]: the instances of which something may have to be told

pub mod facts;
pub mod queue;
