//! Dead letters: entries that can never pass, kept with the reason until somebody looks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use crate::domain::time::EpochMs;

/// An entry that can never pass.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub sequence: u64,
    pub id: String,
    /// A closed set: `conflict`, `unreadable`, `invalid`, `misdirected`, and of what plugins review, `rejected`, `unreviewed`, `unroutable`.
    pub reason: &'static str,
    /// What exactly is wrong, for people.
    pub detail: String,
    pub payload: Bytes,
}

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// By which it is shown and replayed; rises with each letter.
    pub number: u64,
    /// Empty when nobody can tell.
    pub id: String,
    pub reason: String,
    pub detail: String,
    pub died: EpochMs,
    /// The subject to which its producer sent it, past the doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The headers that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// How many bytes it had, where only the first of them could be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<u64>,
    /// As it was queued. In JSON: itself where it is JSON, else a string where it is text, else `{"base64": "..."}`.
    #[serde(serialize_with = "readable")]
    pub payload: Bytes,
}

fn readable<S: Serializer>(payload: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(json) = serde_json::from_slice::<&RawValue>(payload) {
        return json.serialize(serializer);
    }
    match std::str::from_utf8(payload) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => json!({ "base64": STANDARD.encode(payload) }).serialize(serializer),
    }
}
