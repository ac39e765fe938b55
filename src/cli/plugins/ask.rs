//! Asks a running server about its plugins, over HTTP.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::publish::server;

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The server; any node of a cluster will do.
    #[arg(long, default_value = "http://127.0.0.1:2025", value_parser = server)]
    url: String,
    /// A key of `ingest.keys`; not asked for in dev mode. To disable and enable takes one of `api.admins`.
    #[arg(long, env = "QN_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// What `GET /api/plugins` answers; a newer server may say more.
#[derive(Debug, Deserialize)]
pub struct Everything {
    pub enabled: bool,
    pub plugins: Vec<Plugin>,
    pub strangers: Vec<Stranger>,
}

#[derive(Debug, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub state: String,
    #[serde(default)]
    pub description: String,
    pub version: Option<String>,
    #[serde(default)]
    pub required: bool,
    pub disabled: Option<Decision>,
    pub hooks: Vec<Hook>,
    pub events: Vec<String>,
    pub instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
pub struct Decision {
    pub by: String,
    pub at: i64,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Hook {
    pub hook: String,
    pub subject: String,
    pub instances: usize,
    pub order: u16,
    pub deadline_ms: u64,
    pub deadline_asked_ms: Option<u64>,
    pub on_failure: String,
    pub breaker: String,
    pub receivers: Vec<String>,
    pub types: Vec<String>,
    pub commands: Vec<String>,
    pub answered: u64,
    pub failed: std::collections::BTreeMap<String, u64>,
    pub last_failure: Option<LastFailure>,
    pub latency: Option<Latency>,
}

#[derive(Debug, Deserialize)]
pub struct LastFailure {
    pub at: i64,
    pub text: String,
}

#[derive(Debug, Deserialize)]
pub struct Latency {
    pub of: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

#[derive(Debug, Deserialize)]
pub struct Instance {
    pub id: String,
    pub version: String,
    pub since: i64,
    pub silent_ms: u64,
    pub refused: Option<String>,
    pub mend: Option<String>,
    #[serde(default)]
    pub left_out: Vec<String>,
    #[serde(default)]
    pub unknown: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Stranger {
    pub name: String,
    pub version: String,
    pub protocol: String,
    pub allow: String,
}

impl ServerArgs {
    /// Everything that the server says of plugins, and the same as it came.
    pub fn everything(&self) -> anyhow::Result<(Everything, Value)> {
        let answer = self.answer("GET", "/api/plugins")?;
        let everything = Everything::deserialize(&answer).context("the server's answer is not one about plugins")?;
        Ok((everything, answer))
    }

    /// Disables or enables a plugin; what the server says to that.
    pub fn decide(&self, name: &str, verb: &str) -> anyhow::Result<Value> {
        self.answer("POST", &format!("/api/plugins/{name}/{verb}"))
    }

    fn answer(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(key) = &self.api_key {
            request = request.header("X-API-Key", key);
        }
        let mut response = agent
            .run(request.body(())?)
            .with_context(|| format!("{url} can't be reached; --url says which server is asked"))?;
        let status = response.status();
        let text = response.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let reason = answer["error"]["reason"].as_str();
        let reason = reason.map(|reason| (reason, answer["error"]["field"].as_str()));
        match (status.as_u16(), reason) {
            (401, Some((reason, _))) => bail!("{reason}: say it with --api-key, or in QN_API_KEY"),
            (404, None) => bail!("{url} is not there: is that a quick-notify, and new enough for plugins?"),
            (403 | 404 | 503, Some((reason, _))) => bail!("{reason}"),
            (_, Some((reason, Some(field)))) => bail!("{status}: {field}: {reason}"),
            (_, Some((reason, None))) => bail!("{status}: {reason}"),
            (_, None) => bail!("{status}: {}", plain(&text.chars().take(500).collect::<String>())),
        }
    }
}

/// Somebody else's words on one line, without a sign that a terminal would act on.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A moment for people, to the second, in UTC.
pub fn when(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| at.to_string())
}

/// A time that something took.
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1_000.0),
    }
}
