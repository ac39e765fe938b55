//! Three nodes, NATS, Redis and PostgreSQL as processes: what a user is promised when parts of it go away.

mod away;
mod forwarding;
mod plugins;
mod reach;
mod rolling;
