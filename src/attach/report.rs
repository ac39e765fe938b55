//! The roster for people: `GET /api/plugins`, `quick-notify plugins`, and the page.

use serde::Serialize;

use super::protocol::OnFailure;
use super::tally::Tallied;
use crate::domain::time::EpochMs;

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub plugins: Vec<PluginReport>,
    /// Those that are there and may not attach.
    pub strangers: Vec<StrangerReport>,
}

/// What an operator decided about a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Decision {
    pub disabled: bool,
    /// Whose key it was.
    pub by: String,
    pub at: EpochMs,
}

#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    pub name: String,
    /// `attached`, `absent`, `refused` (all that is there of it) or `disabled`.
    pub state: &'static str,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Decision>,
    /// Those that the configuration allows.
    pub hooks: Vec<HookReport>,
    pub events: Vec<&'static str>,
    pub instances: Vec<InstanceReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct HookReport {
    pub hook: &'static str,
    pub subject: String,
    /// Those that serve it.
    pub instances: usize,
    pub order: u16,
    pub deadline_ms: u64,
    /// What it asks for, where that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_asked_ms: Option<u64>,
    pub on_failure: OnFailure,
    pub breaker: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What this node's questions came to.
    #[serde(flatten)]
    pub tallied: Tallied,
}

#[derive(Debug, Clone, Serialize)]
pub struct InstanceReport {
    pub id: String,
    pub version: String,
    /// When this node first heard of it.
    pub since: EpochMs,
    /// Since it last answered, in milliseconds.
    pub silent_ms: u64,
    /// Why it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// And what to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// What else it offers or asks for, and why it is not used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Keys of its metadata that mean nothing, each with the one that was perhaps meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// A plugin that is there and may not attach.
#[derive(Debug, Clone, Serialize)]
pub struct StrangerReport {
    pub name: String,
    pub version: String,
    /// Of the protocol.
    pub protocol: String,
    /// What the configuration would have to say, so that it may do what it offers.
    pub allow: String,
}
