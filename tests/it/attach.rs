//! Attached plugins: real NATS services beside real servers.

mod conformance;
mod examples;
mod roster;
mod schema;
