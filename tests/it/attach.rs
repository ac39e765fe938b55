//! Attached plugins: real NATS services beside real servers.

mod authenticate;
mod command;
mod conformance;
mod events;
mod examples;
mod flood;
mod review;
mod roster;
mod schema;
mod silence;
mod subscribe;
mod unreached;
