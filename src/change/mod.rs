//! Changes of objects that need approval: what becomes of a request for them.
//!
//! Pure: no IO, no clock. [`advance()`] asks the processes of each change one after the other, gives the grant and ends.

pub mod advance;
mod words;

pub use advance::advance;
