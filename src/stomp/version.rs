//! The three versions of STOMP, and how a session comes to one of them.

use std::fmt;

/// A version of the protocol; a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V1_0,
    V1_1,
    V1_2,
}

impl Version {
    /// What the `version` header of an ERROR lists when no version is common.
    pub const SUPPORTED: &'static str = "1.0,1.1,1.2";

    const HIGHEST_FIRST: [Version; 3] = [Version::V1_2, Version::V1_1, Version::V1_0];

    /// The highest version in the client's `accept-version`, or `None` where none of them is ours.
    ///
    /// A CONNECT without the header comes from a client that knows 1.0 only (STOMP 1.2, Protocol Negotiation). Blanks
    /// around the entries are forgiven: clients write `1.1, 1.2`, and there is only one thing that it can mean.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Version> {
        let Some(accepted) = accept_version else {
            return Some(Version::V1_0);
        };
        let offers = |version: &Version| accepted.split(',').any(|entry| entry.trim() == version.as_str());
        Version::HIGHEST_FIRST.into_iter().find(offers)
    }

    /// The WebSocket subprotocol to answer with: the highest among those offered, or `None` where none is ours (then
    /// the header stays out of the response, and STOMP negotiates by itself).
    ///
    /// An item is one `Sec-WebSocket-Protocol` header: a token, or a list of them with commas.
    pub fn best_subprotocol<'a>(offered: impl Iterator<Item = &'a str>) -> Option<&'static str> {
        offered
            .flat_map(|header| header.split(','))
            .filter_map(|token| {
                Version::HIGHEST_FIRST
                    .into_iter()
                    .find(|version| version.subprotocol() == token.trim())
            })
            .max()
            .map(Version::subprotocol)
    }

    /// As in `accept-version` and `version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The name under which WebSocket clients offer this version.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V1_0 => "v10.stomp",
            Version::V1_1 => "v11.stomp",
            Version::V1_2 => "v12.stomp",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
