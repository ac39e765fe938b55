//! The session as a state machine, in simulated time: what goes in is told as a story, what comes out as lines.

mod commands;
mod confirm;
mod connect;
mod destinations;
mod driver;
mod end;
mod events;
mod flood;
mod guarded;
mod lines;
mod model;
mod record;
mod resend;
mod resume;
mod story;
mod subscribe;
mod token;
mod transactions;
mod window;
