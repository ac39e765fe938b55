//! Attached plugins: real NATS services beside real servers.

mod conformance;
mod events;
mod examples;
mod roster;
mod schema;
mod unreached;
