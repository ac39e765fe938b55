//! Attached plugins: real NATS services beside real servers.

mod roster;
mod schema;
