//! Turns frames into bytes: escaped for the version, content-length counted, NUL behind.
//!
//! Whatever the headers hold, the result is one frame with these headers and this body, and no more: what the version
//! cannot say becomes a space (see [`escape`](super::escape)), so no value can bring a header or a frame of its own.

use bytes::Bytes;

use super::escape::{Part, encoding_of, escape};
use super::{CommandSet, Frame, Version};

/// The bytes of a whole frame.
pub fn encode<C: CommandSet>(frame: &Frame<C>, version: Version) -> Bytes {
    let headers = frame.headers.iter();
    headers
        .fold(FrameWriter::new(version, frame.command), |writer, (name, value)| {
            writer.header(name, value)
        })
        .body(&frame.body)
}

/// Writes a frame header by header, without building a [`Frame`] first.
///
/// ```
/// # use quick_notify::stomp::{FrameWriter, ServerCommand, Version};
/// let receipt = FrameWriter::new(Version::V1_2, ServerCommand::Receipt).header("receipt-id", "a:1").end();
/// assert_eq!(receipt, "RECEIPT\nreceipt-id:a\\c1\n\n\0");
/// ```
#[must_use]
pub struct FrameWriter {
    wire: Vec<u8>,
    encoding: Option<Version>,
    may_have_body: bool,
}

impl FrameWriter {
    /// Octets of room for command and headers, enough for those of our own MESSAGE.
    const ROOM: usize = 256;

    /// Begins a frame of a session that negotiated this version. An ERROR that goes out before there is one is best
    /// written as 1.0, which every client reads.
    pub fn new(version: Version, command: impl CommandSet) -> FrameWriter {
        let mut wire = Vec::with_capacity(FrameWriter::ROOM);
        wire.extend_from_slice(command.as_str().as_bytes());
        wire.push(b'\n');
        FrameWriter {
            wire,
            encoding: encoding_of(command, Some(version)),
            may_have_body: command.may_have_body(),
        }
    }

    /// Adds a header. Of several with the same name, the reader takes the first.
    ///
    /// A `content-length` is left out, as the writer counts for itself and a wrong one would break the stream; so is a
    /// header without a name, which no version can say.
    pub fn header(mut self, name: &str, value: &str) -> FrameWriter {
        if name == CONTENT_LENGTH || name.is_empty() {
            return self;
        }
        escape(self.encoding, Part::Name, name, &mut self.wire);
        self.wire.push(b':');
        escape(self.encoding, Part::Value, value, &mut self.wire);
        self.wire.push(b'\n');
        self
    }

    /// Ends the frame with a body, and counts it in `content-length` unless it is empty. A body for a command that
    /// must not have one is a mistake of the caller's, and left out.
    pub fn body(mut self, body: &[u8]) -> Bytes {
        debug_assert!(
            self.may_have_body || body.is_empty(),
            "only SEND, MESSAGE and ERROR may have a body"
        );
        if body.is_empty() || !self.may_have_body {
            return self.end();
        }
        let length = body.len().to_string();
        // Exactly: encoded frames wait in queues, and spare capacity would wait with them.
        self.wire
            .reserve_exact(CONTENT_LENGTH.len() + length.len() + b":\n\n\0".len() + body.len());
        self.wire.extend_from_slice(CONTENT_LENGTH.as_bytes());
        self.wire.push(b':');
        self.wire.extend_from_slice(length.as_bytes());
        self.wire.extend_from_slice(b"\n\n");
        self.wire.extend_from_slice(body);
        self.wire.push(0);
        Bytes::from(self.wire)
    }

    /// Ends the frame without a body.
    pub fn end(mut self) -> Bytes {
        self.wire.extend_from_slice(b"\n\0");
        Bytes::from(self.wire)
    }
}

const CONTENT_LENGTH: &str = "content-length";
