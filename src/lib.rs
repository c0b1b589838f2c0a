pub mod api;
pub mod cel;
pub mod controllers;
pub mod directory;
pub mod engine;
pub mod pending;
pub mod proof;
pub mod runtime;
