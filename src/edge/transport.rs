//! What a connection needs of its transport: bytes in, bytes out, and an end with a reason. Knows nothing of STOMP.

use bytes::Bytes;

/// A two-way stream of messages to one client.
pub trait Transport: Send {
    /// The next message; a chunk of a STOMP stream, cut anywhere.
    fn receive(&mut self) -> impl Future<Output = Received> + Send;

    /// Puts one message into the buffer, and the buffer onto the wire when it is large.
    fn write(&mut self, message: Bytes) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Puts what is buffered onto the wire.
    fn flush(&mut self) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Says goodbye and waits for the answer. `code` and `reason` as in RFC 6455, section 7.4.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send;
}

#[derive(Debug)]
pub enum Received {
    Message(Bytes),
    /// The client sent something that the transport can't take; the sentence says what.
    TooLarge(String),
    Malformed(String),
    /// The client is gone, with or without a word.
    Closed,
}

/// Nothing more reaches the client.
#[derive(Debug)]
pub struct Lost;
