//! What the process tells of itself: logs on standard error, metrics on an address of their own.
//!
//! `metrics` is the one table of names, `events` the one place that counts and logs. Ids appear in logs, never in labels; tokens and bodies
//! in neither.

pub mod events;
pub mod metrics;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Logs and the metrics address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where `/metrics` is served; an empty text turns it off.
    pub listen: String,
    /// `text` for people, `json` for collectors.
    pub log_format: LogFormat,
    /// Levels by module, as in `info,quick_notify::edge=debug`.
    pub log_filter: String,
    /// How often gauges that must be asked for are refreshed, in milliseconds.
    pub sample_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9025".into(),
            log_format: LogFormat::Text,
            log_filter: "info".into(),
            sample_ms: 5_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `telemetry`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !self.listen.is_empty() && self.listen.parse::<SocketAddr>().is_err() {
            problems.push((
                "listen".into(),
                format!("\"{}\" is no address such as 127.0.0.1:9025", self.listen),
            ));
        }
        if let Err(error) = EnvFilter::builder().parse(&self.log_filter) {
            problems.push(("log_filter".into(), error.to_string()));
        }
        if !(100..=600_000).contains(&self.sample_ms) {
            problems.push(("sample_ms".into(), "must lie between 100 and 600000".into()));
        }
        problems
    }

    /// Starts logging. A second call in one process changes nothing.
    pub fn start_logs(&self) {
        let filter = EnvFilter::builder().parse_lossy(&self.log_filter);
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        let _ = match self.log_format {
            LogFormat::Text => logs.with_target(false).try_init(),
            LogFormat::Json => logs.json().flatten_event(true).try_init(),
        };
    }
}
