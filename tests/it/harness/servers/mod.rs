//! Real servers of others, each private to the test that starts it: NATS, Redis, PostgreSQL, MariaDB. Each starts in
//! a fraction of a second on a port and a directory of its own, can be killed, frozen and started again on both, and
//! ends with the value that stands for it; its log is printed when the test fails.
//!
//! Contract tests that break nothing take a fresh database in one server of the whole run: `Postgres::shared()`,
//! `MariaDb::shared()`.

mod haproxy;
mod mariadb;
mod nats;
mod nginx;
mod postgres;
mod process;
mod redis;
mod template;

pub use haproxy::{HaProxy, haproxy};
pub use mariadb::MariaDb;
pub use nats::{Nats, NatsCluster};
pub use nginx::{Nginx, nginx, temporary};
pub use postgres::Postgres;
pub use process::free_port;
pub use redis::Redis;

/// A database in a shared server: empty, and nobody else's.
pub struct Database {
    /// With the user, without a password: the server asks for none.
    pub url: String,
}
