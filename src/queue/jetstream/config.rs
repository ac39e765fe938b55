//! Settings of the queue on JetStream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::queue::Durability;

/// Settings of the queue on JetStream. What describes the streams and consumers is written into NATS when they are made; afterwards it is
/// compared, and only `quick-notify migrate` changes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the ingest stream; `nats.prefix` when it is empty. That of the dead letters is this name and `-dead`.
    pub stream: String,
    /// Lanes: so many nodes can share the work. Changed only by `migrate`, after draining.
    pub partitions: u32,
    /// On how many servers each message is kept.
    pub replicas: usize,
    /// Only `workqueue`: what is settled is removed, and nothing else.
    pub retention: String,
    /// Only `new`: a full stream refuses, and says so to producers.
    pub discard: String,
    /// Only 0: nothing that was accepted is removed because of its age.
    pub max_age_seconds: u64,
    /// Notifications that may wait for the record; beyond it producers get 503.
    pub max_messages: u64,
    /// The same in bytes.
    pub max_bytes: u64,
    /// How long the server knows an id, so that a repeated publish is not queued twice.
    pub duplicate_window_seconds: u64,
    /// Bounds of the stream of dead letters. Beyond them the oldest letters go: a letter must never hold up a lane.
    pub dead_max_messages: u64,
    pub dead_max_bytes: u64,
    /// After how long an entry without a sign of life comes again, in milliseconds.
    pub ack_wait_ms: u64,
    /// Entries of a lane that may be handed out and not settled.
    pub max_ack_pending: u64,
    /// After how long a node that died or hangs loses its lanes, in milliseconds.
    pub pin_timeout_ms: u64,
    /// How often an idle lane is looked at: whether its node is gone, or something was lost on the way, in milliseconds.
    pub check_ms: u64,
    /// Entries that a lane keeps at hand for its dispatcher.
    pub prefetch: usize,
    /// The same in bytes.
    pub prefetch_bytes: usize,
    /// Longest wait for the server to say that it has an entry, in milliseconds.
    pub publish_timeout_ms: u64,
    /// Entries that may wait for that at once; beyond it producers get 503.
    pub max_publishing: usize,
    /// Longest wait at the start for streams and consumers, in milliseconds.
    pub start_timeout_ms: u64,
    /// Monitoring addresses of all NATS servers, such as `http://nats-1:8222`: there one learns whether they sync always.
    pub monitoring: Vec<String>,
    /// Refuses to start when receipts could promise less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_durability: Option<Required>,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Required {
    Fsynced,
    Replicated,
}

impl Required {
    /// Whether `known` is what was asked for. The two protect against different things: neither stands for the other.
    pub fn is_met(self, known: Known) -> bool {
        match self {
            Self::Fsynced => known.fsynced,
            Self::Replicated => known.replicated,
        }
    }
}

/// What the servers do with an accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub replicated: bool,
    pub fsynced: bool,
}

impl Known {
    /// What a receipt says.
    pub fn durability(self) -> Durability {
        match self {
            Self { replicated: true, .. } => Durability::Replicated,
            Self { fsynced: true, .. } => Durability::Fsynced,
            _ => Durability::Memory,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stream: String::new(),
            partitions: 4,
            replicas: 1,
            retention: "workqueue".into(),
            discard: "new".into(),
            max_age_seconds: 0,
            max_messages: 1_000_000,
            max_bytes: 1_073_741_824,
            duplicate_window_seconds: 120,
            dead_max_messages: 100_000,
            dead_max_bytes: 268_435_456,
            ack_wait_ms: 30_000,
            max_ack_pending: 20_000,
            pin_timeout_ms: 3_000,
            check_ms: 1_000,
            prefetch: 8_000,
            prefetch_bytes: 16_777_216,
            publish_timeout_ms: 5_000,
            max_publishing: 20_000,
            start_timeout_ms: 30_000,
            monitoring: Vec::new(),
            require_durability: None,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `queue`, reason). Dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |name: &str, reason: String| problems.push((format!("jetstream.{name}"), reason));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !self.stream.bytes().all(fits) {
            wrong("stream", "is a name of letters, digits, - and _".into());
        }
        if self.retention != "workqueue" {
            wrong(
                "retention",
                "can only be \"workqueue\": any other loses what was accepted or keeps what was settled".into(),
            );
        }
        if self.discard != "new" {
            wrong(
                "discard",
                "can only be \"new\": \"old\" would lose what was accepted".into(),
            );
        }
        if self.max_age_seconds != 0 {
            wrong(
                "max_age_seconds",
                "can only be 0: any age would lose what was accepted".into(),
            );
        }
        for (name, value, least, most) in [
            ("partitions", u64::from(self.partitions), 1, 256),
            ("replicas", self.replicas as u64, 1, 5),
            ("max_messages", self.max_messages, 1, i64::MAX as u64),
            ("max_bytes", self.max_bytes, 1, i64::MAX as u64),
            ("duplicate_window_seconds", self.duplicate_window_seconds, 1, 86_400),
            ("dead_max_messages", self.dead_max_messages, 1, i64::MAX as u64),
            ("dead_max_bytes", self.dead_max_bytes, 1, i64::MAX as u64),
            ("ack_wait_ms", self.ack_wait_ms, 1_000, 600_000),
            ("max_ack_pending", self.max_ack_pending, 1, 1_000_000),
            ("pin_timeout_ms", self.pin_timeout_ms, 500, 60_000),
            ("check_ms", self.check_ms, 10, 60_000),
            ("prefetch", self.prefetch as u64, 1, 60_000),
            ("prefetch_bytes", self.prefetch_bytes as u64, 65_536, 1_073_741_824),
            ("publish_timeout_ms", self.publish_timeout_ms, 10, 600_000),
            ("max_publishing", self.max_publishing as u64, 1, 1_000_000),
            ("start_timeout_ms", self.start_timeout_ms, 10, 600_000),
        ] {
            if !(least..=most).contains(&value) {
                wrong(name, format!("must lie between {least} and {most}"));
            }
        }
        for (index, address) in self.monitoring.iter().enumerate() {
            let mut wrong = |reason: &str| wrong(&format!("monitoring[{index}]"), reason.into());
            // Nothing of an address is quoted: with credentials it would tell the password.
            if address.contains('@') {
                wrong("NATS asks for no credentials at its monitoring: leave them out");
            } else if address.starts_with("https://") {
                wrong("only http:// is spoken here");
            } else if !address.starts_with("http://") {
                wrong("is no address such as http://nats-1:8222");
            }
        }
        problems
    }

    pub(super) fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }

    pub(super) fn pin_timeout(&self) -> Duration {
        Duration::from_millis(self.pin_timeout_ms)
    }

    pub(super) fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_ms)
    }

    pub(super) fn start_timeout(&self) -> Duration {
        Duration::from_millis(self.start_timeout_ms)
    }
}
