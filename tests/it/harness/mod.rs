//! What the stories are told with: a real server process, and tabs that speak STOMP to it.

mod adapters;
mod cluster;
pub mod crowd;
mod events;
mod link;
pub mod plugin;
pub mod random;
mod server;
pub mod servers;
mod tab;

pub use cluster::Cluster;
pub use events::{Event, Stream};
pub use link::Line;
pub use server::{Answer, Server, tempdir};
pub use tab::{Delivery, Tab, delivery};

use std::time::Duration;

/// Longest wait for anything: generous, for a machine that builds at the same time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `what`, or fails the test with its name.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Asks again until `check` holds, for what gives no event.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    within(what, async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if check().await {
                return;
            }
        }
    })
    .await;
}

/// Lets an outage last: what is told is what happens in this time.
pub async fn lasts(duration: Duration) {
    tokio::time::interval_at(tokio::time::Instant::now() + duration, duration)
        .tick()
        .await;
}
