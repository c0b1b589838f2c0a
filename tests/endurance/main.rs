//! What the operator holds through: crowds, kills in the middle, kills after every write; and how little it writes.
//!
//! Each test has a control plane of its own, for it kills operators and counts what the API server did.

#[path = "../cluster/mod.rs"]
mod cluster;
mod kill;
mod load;
mod nothing_lost;
mod writes;
