//! All tests, one binary: a file a capability. Servers are real processes with files of their own; nothing here sleeps.

mod architecture;
mod auth;
mod bad_input;
#[allow(dead_code, unused_imports)] // the same
mod checker;
mod cli;
mod clients;
mod compose;
mod config;
mod contract;
mod crash;
mod delivery;
mod disk;
#[allow(dead_code, unused_imports)] // until the stories of a cluster use it
mod harness;
mod http;
mod idempotency;
mod inbox_rest;
mod jetstream;
mod mysql;
mod nats_ingest;
mod operations;
mod origin;
mod page;
mod presence;
mod programs;
mod publish;
mod revoke;
mod servers;
mod session;
mod stomp_properties;
mod stomp_rules;
mod stomp_wire;
mod sync;
mod tail;
mod vital;
