//! What a session's client speaks: STOMP in one of its versions, or nothing at all while it listens to server-sent events.

use bytes::Bytes;
use serde_json::json;

use super::Disconnect;
use crate::domain::id::SessionName;
use crate::domain::identity::Identity;
use crate::stomp::Version;

/// The language of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Stomp(Version),
    /// Server-sent events (WHATWG HTML, 9.2): everything goes one way, and what the client has to say comes over REST.
    Events,
}

/// The comment that shows that the stream is alive, and keeps proxies from cutting it.
pub const COMMENT: &[u8] = b":\n\n";

impl Dialect {
    /// Its name, for people and for the metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stomp(version) => version.as_str(),
            Self::Events => "events",
        }
    }

    /// The version of the frames that the client sends. One that listens to events sends none.
    pub(super) fn version(self) -> Version {
        match self {
            Self::Stomp(version) => version,
            Self::Events => Version::V1_2,
        }
    }

    pub(super) fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Stomp(_) => b"\n",
            Self::Events => COMMENT,
        })
    }
}

/// The first event: the stream is open, and whose it is.
pub(super) fn connected(name: SessionName, identity: &Identity) -> Bytes {
    let data = json!({
        "user": &*identity.user,
        "session": name.to_string(),
        "server": concat!("quick-notify/", env!("CARGO_PKG_VERSION")),
    });
    event(None, "connected", data.to_string().as_bytes())
}

/// The last event: why the stream ends.
pub(super) fn closed(disconnect: &Disconnect) -> Bytes {
    let data = json!({"code": disconnect.reason.code(), "reason": &*disconnect.detail});
    event(None, "closed", data.to_string().as_bytes())
}

/// Moves the client's Last-Event-ID, and tells nothing: without data no event is dispatched.
pub(super) fn place(seq: u64) -> Bytes {
    format!("id: {seq}\n\n").into()
}

/// One event. JSON may hold line ends between its tokens, as a producer wrote them: each line is a field of its own, and the client puts them
/// together again.
pub(super) fn event(id: Option<u64>, name: &str, data: &[u8]) -> Bytes {
    let mut wire = Vec::with_capacity(data.len() + 64);
    if let Some(id) = id {
        wire.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    wire.extend_from_slice(b"event: ");
    wire.extend_from_slice(name.as_bytes());
    // In JSON a line end has no meaning of its own, so CR LF may as well be two.
    for line in data.split(|octet| matches!(octet, b'\n' | b'\r')) {
        wire.extend_from_slice(b"\ndata: ");
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b"\n\n");
    Bytes::from(wire)
}
