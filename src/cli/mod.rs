//! The subcommands of the program that run on somebody's own machine, without a cluster: they read files and print. What they
//! say is worked out elsewhere.

pub mod test;
