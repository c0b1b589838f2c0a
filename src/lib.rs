//! Quorate: approvals for Kubernetes. This page is the map of the code.
//!
//! One idea carries it: a workflow is a pure function of facts. Whatever can go wrong (a crash, a retry, a stale cache, two
//! leaders) is handled once, by computing again from the facts.
//!
//! ```text
//!             facts                                   pure                                effects
//!  WorkflowInstance ─┐                    ┌──────────────────────────┐   status (1 write, with resourceVersion)
//!  ApprovalSignals  ─┼─ gather ─ Facts ─▶ │ engine::advance(facts)   │ ─▶ then verdicts (1 write each),
//!  directory, proof ─┤                    │          → Plan          │    the outcome written back, Events
//!  the moment       ─┘                    └──────────────────────────┘
//! ```
//!
//! | room | what lives there | what it may not do |
//! |---|---|---|
//! | [`api`] | the kinds, one file each; [`api::crds`] is the only list of them | decide anything |
//! | [`engine`] | [`engine::advance()`], the one place where a decision is made: the graph, who may decide, verdicts, time limits; [`engine::explain()`] says why | IO, time, chance: a test reads its imports |
//! | [`calendar`] | when a number of business days is over | IO, time: the zones are built in |
//! | [`diagram`] | a workflow as a picture: [`diagram::mermaid()`], [`diagram::svg()`] | IO, time, chance: the same drawing gives the same bytes |
//! | [`directory`] | who a username is, who holds a role, who vouches, manages and stands in for whom, at one moment | IO |
//! | [`change`] | what exactly an operation changes, which processes have to agree to it, what becomes of a request for it | IO, time, chance |
//! | [`gate`] | holds live operations back: judges them, speaks to the API server | let anything pass because something failed |
//! | [`pending`] | which process takes an object that waits, whether it still does, what is written to it; what a certificate request asks for | IO |
//! | [`collection`] | what belongs to a collection, and what enters or leaves it | IO |
//! | [`cel`] | the one door to CEL, with its bounds | IO, time: a budget of steps and bytes ends every evaluation |
//! | [`activities`] | carries out what actions ask for: objects, calls, Jobs | decide anything |
//! | [`notify`] | what people are told: what happened, whom it concerns, texts in their language, mails on a schedule, as rendered messages | IO, time, chance |
//! | [`store`] | what must outlive the operator and is no Kubernetes object: the outbox, what was told already, schedules; `SQLite` or `PostgreSQL` | decide anything |
//! | [`delivery`] | carries messages from the outbox to SMTP, webhooks and chats | decide who is told what |
//! | [`endpoints`] | the servers that the configuration lets the operator call, and signed calls to them | call anything that a user's object names |
//! | [`proof`] | proves that the API server proves who sends what | judge signals |
//! | [`scenario`] | approval policy tested as data: plays a story through the engine as the operator does | IO |
//! | [`controllers`] | gather facts, ask, carry out plans | decide anything |
//! | `hex` | bytes as text, for names and hashes | anything else |
//! | [`runtime`] | connection, clock, watches, events, logs, metrics, the program | decide anything |
//! | [`cli`] | the subcommands for people: they read files, or a cluster, and print | decide anything |
//!
//! What is installed lies in `charts/quorate`; the CRDs there and in `crds/` are written by `make crds` from [`api`]. The
//! admission policies under `charts/quorate/files/policies` are compiled into the operator too, which compares them with what the
//! cluster has. `tests/scenarios` holds the engine's tests as data, `tests/suite` those on a real control plane, which
//! `tests/cluster` starts.
//!
//! The order of writing is what keeps decisions safe: an instance's status, with the resourceVersion that it was computed from,
//! *is* the record of what counted. Verdicts and effects follow it; after a crash in between they are computed again from it.

pub mod activities;
pub mod api;
pub mod calendar;
pub mod cel;
pub mod change;
pub mod cli;
pub mod collection;
pub mod controllers;
pub mod delivery;
pub mod diagram;
pub mod directory;
pub mod endpoints;
pub mod engine;
pub mod gate;
mod hex;
pub mod notify;
pub mod pending;
pub mod proof;
pub mod runtime;
pub mod scenario;
pub mod store;
