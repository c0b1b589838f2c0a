//! Messages on their way, against real servers: a mail server in Python that reads every mail as a mail client does, and fails as
//! it is told; postfix; webhooks; the outbox in SQLite and in PostgreSQL.
//!
//! Every server listens on 127.0.0.1 on a port of its own and ends with the test that started it.
#![allow(clippy::doc_markdown, reason = "names of servers are words here")]

mod channels;
mod cluster;
mod faults;
mod kill;
mod limits;
mod mail;
mod outbox;
mod post;
mod postfix;
mod schedules;
mod servers;
#[path = "../cluster/bench/sink.rs"]
mod sink;
