//! The attacks on change requests, by their numbers.
