//! What a connection needs of its transport: messages in, messages out, and an end with a reason. Knows nothing of STOMP.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A two-way stream of messages to one client.
pub trait Transport: Send {
    /// The next message. Of a STOMP stream it is a chunk, cut anywhere.
    fn receive(&mut self) -> impl Future<Output = Received> + Send;

    /// Puts one message into the buffer, and the buffer onto the wire when it is large.
    fn write(&mut self, message: Payload) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Puts what is buffered onto the wire.
    fn flush(&mut self) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Takes back what was written and is still in this transport's own queue: the token has ended.
    fn retract(&mut self) {}

    /// The client has said who it is.
    fn established(&mut self) {}

    /// Says goodbye and waits for the answer. `code` and `reason` as in RFC 6455, section 7.4.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send;
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    Text(Utf8Bytes),
    Binary(Bytes),
}

#[derive(Debug)]
pub enum Received {
    Message(Payload),
    /// The client sent something that the transport can't take; the sentence says what.
    TooLarge(String),
    Malformed(String),
    /// The client is gone, with or without a word.
    Closed,
}

/// Nothing more reaches the client.
#[derive(Debug)]
pub struct Lost;

impl Payload {
    /// Text where the bytes are UTF-8.
    pub fn of(bytes: Bytes) -> Self {
        match Utf8Bytes::try_from(bytes.clone()) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Binary(bytes),
        }
    }

    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(bytes) => bytes,
        }
    }
}
