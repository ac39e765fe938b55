//! Attached plugins: real NATS services beside real servers.

mod authenticate;
mod broken;
mod command;
mod conformance;
mod events;
mod examples;
mod flood;
mod readme;
mod review;
mod roster;
mod schema;
mod silence;
mod subscribe;
mod unreached;
