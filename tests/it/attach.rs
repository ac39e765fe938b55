//! Attached plugins: real NATS services beside real servers.

mod conformance;
mod events;
mod examples;
mod flood;
mod roster;
mod schema;
mod silence;
mod unreached;
