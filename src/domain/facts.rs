//! What is known of who brings a token, beside the token.

use std::net::IpAddr;

/// How a token came. An adapter of the auth port that asks somebody else passes it on; the others don't look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `websocket`, `sockjs`, `sse`, or `rest` for a single request; empty where nobody asked for the facts.
    pub transport: &'static str,
    /// The origin that the page's browser names.
    pub origin: Option<Box<str>>,
    /// Where the connection comes from: behind a proxy, the proxy's address.
    pub address: Option<IpAddr>,
}
