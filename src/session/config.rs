//! Every number of a session, each with its bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outbox::Resend;
use super::transactions::Bounds;
use crate::stomp::Limits;

/// The rules of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions that one user may have.
    pub max_per_user: u32,
    /// Unconfirmed deliveries that a session holds; further ones wait in the record.
    pub window: usize,
    /// Time from the transport's opening to CONNECT, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The server's heart-beat, sent and asked for, in milliseconds.
    pub heartbeat_ms: u64,
    /// How many further intervals a silent client is given; 1 to 4.
    pub heartbeat_grace: u32,
    /// When an unconfirmed delivery comes again: first, then every so often, in milliseconds.
    pub resend_first_ms: u64,
    pub resend_every_ms: u64,
    /// How often it comes again at most, and how long after the first time at most.
    pub resend_most: u32,
    pub resend_within_ms: u64,
    /// Octets of a frame's body.
    pub max_body: usize,
    /// Headers of a frame.
    pub max_headers: usize,
    /// Octets of a header line.
    pub max_header_line: usize,
    pub max_subscriptions: usize,
    pub max_transactions: usize,
    /// Frames and octets that may wait for a COMMIT, over all transactions of a session.
    pub max_transaction_frames: usize,
    pub max_transaction_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_per_user: 10,
            window: 256,
            connect_timeout_ms: 10_000,
            heartbeat_ms: 10_000,
            heartbeat_grace: 2,
            resend_first_ms: 5_000,
            resend_every_ms: 5_000,
            resend_most: 12,
            resend_within_ms: 60_000,
            max_body: 65_536,
            max_headers: 64,
            max_header_line: 16_384,
            max_subscriptions: 64,
            max_transactions: 8,
            max_transaction_frames: 256,
            max_transaction_bytes: 1_048_576,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `session`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("max_per_user", u64::from(self.max_per_user), 1, 1_000_000),
            ("window", self.window as u64, 1, 65_536),
            ("connect_timeout_ms", self.connect_timeout_ms, 1, 600_000),
            ("heartbeat_ms", self.heartbeat_ms, 100, 3_600_000),
            ("heartbeat_grace", u64::from(self.heartbeat_grace), 1, 4),
            ("resend_first_ms", self.resend_first_ms, 1, 3_600_000),
            ("resend_every_ms", self.resend_every_ms, 1, 3_600_000),
            ("resend_most", u64::from(self.resend_most), 0, 10_000),
            ("resend_within_ms", self.resend_within_ms, 0, 86_400_000),
            ("max_body", self.max_body as u64, 1, 16_777_216),
            ("max_headers", self.max_headers as u64, 1, 10_000),
            ("max_header_line", self.max_header_line as u64, 64, 1_048_576),
            ("max_subscriptions", self.max_subscriptions as u64, 1, 10_000),
            ("max_transactions", self.max_transactions as u64, 1, 1_000),
            ("max_transaction_frames", self.max_transaction_frames as u64, 1, 100_000),
            (
                "max_transaction_bytes",
                self.max_transaction_bytes as u64,
                1,
                33_554_432,
            ),
        ];
        bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect()
    }
}

/// The same, as the session uses it; one for all sessions.
#[derive(Debug)]
pub struct Rules {
    pub window: usize,
    pub connect_timeout: Duration,
    pub heartbeat: Duration,
    pub heartbeat_grace: u32,
    pub resend: Resend,
    pub frame: Limits,
    pub max_subscriptions: usize,
    pub transactions: Bounds,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let ms = Duration::from_millis;
        Self {
            window: config.window,
            connect_timeout: ms(config.connect_timeout_ms),
            heartbeat: ms(config.heartbeat_ms),
            heartbeat_grace: config.heartbeat_grace,
            resend: Resend {
                first: ms(config.resend_first_ms),
                every: ms(config.resend_every_ms),
                most: config.resend_most,
                within: ms(config.resend_within_ms),
            },
            frame: Limits {
                body: config.max_body,
                headers: config.max_headers,
                header_line: config.max_header_line,
            },
            max_subscriptions: config.max_subscriptions,
            transactions: Bounds {
                transactions: config.max_transactions,
                frames: config.max_transaction_frames,
                bytes: config.max_transaction_bytes,
            },
        }
    }
}
