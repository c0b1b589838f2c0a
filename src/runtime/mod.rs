//! What every part needs around it: the connection, the clock, watches, logs and metrics, events, the manifests. Decides
//! nothing.

pub mod client;
pub mod clock;
pub mod events;
pub mod manifests;
pub mod notifications;
pub mod operator;
pub mod telemetry;
pub mod watch;
