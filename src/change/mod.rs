//! Changes of objects that need approval: what exactly is asked for, who has to be asked, and what becomes of it.
//!
//! Pure: no IO, no clock. [`select()`] finds the processes that one operation matches, in order; [`payload`] says what of it means
//! something and hashes it; [`differences`] shows it to people without what nobody may see; [`about`] evaluates whom and which
//! role it is about. Called by the gate, for what admission shows, and by the controller of change requests, for what people
//! wrote by hand. [`advance()`] goes by [`facts`]: it asks the processes of each change one after the other, gives the grant, sees the effect and ends;
//! [`carrier()`] says who carries out what the gate held.

pub mod about;
pub mod advance;
pub mod carrier;
mod carrying;
pub mod cover;
pub mod differences;
pub mod facts;
pub mod payload;
pub mod select;
mod words;

pub use advance::advance;
pub use carrier::{Carrier, Kept, carrier};
pub use cover::Attempt;
pub use payload::held;
pub use select::{Candidate, Selection, select};

#[cfg(test)]
mod tests;
