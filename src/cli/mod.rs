//! The subcommands of the program that run on somebody's own machine: most of them without a cluster, on files. What they say
//! is worked out elsewhere.

pub mod definitions;
mod files;
mod notifications;
pub mod test;
pub mod why;
