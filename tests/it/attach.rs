//! Attached plugins: real NATS services beside real servers.

mod conformance;
mod events;
mod examples;
mod flood;
mod review;
mod roster;
mod schema;
mod silence;
mod unreached;
