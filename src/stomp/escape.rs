//! What may not stand in a header as it is: the escapes of each version, read and written.
//!
//! | | 1.0, and CONNECT, STOMP, CONNECTED in any version | 1.1 | 1.2 |
//! | --- | --- | --- | --- |
//! | `\` | as it is | `\\` | `\\` |
//! | colon | as it is in a value | `\c` | `\c` |
//! | line feed | cannot be said | `\n` | `\n` |
//! | carriage return | cannot be said | cannot be said | `\r` |
//! | NUL | cannot be said | cannot be said | cannot be said |
//!
//! What cannot be said is written as a space, so that no value can end its line or its frame and put words into our
//! mouth. For the same reason a colon in a *name* becomes a space where there is no escape for it. (1.1 would allow a
//! bare carriage return; but before a line feed every lenient reader, ours too, takes it for the line's end.)
//!
//! `encoding` is the version whose rules hold for the frame, and `None` where there are none: see
//! [`encoding_of`].

use super::{CommandSet, Version};

/// The value encoding that holds for a frame: none for the handshake, else that of the session's version.
pub(super) fn encoding_of(command: impl CommandSet, version: Option<Version>) -> Option<Version> {
    version.filter(|_| !command.is_handshake())
}

/// Which half of a header; they differ in what a colon means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Name,
    Value,
}

/// Appends the text as it must stand on the wire.
pub(super) fn escape(encoding: Option<Version>, part: Part, text: &str, wire: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|octet| matches!(octet, b'\\' | b':' | b'\n' | b'\r' | 0))
    {
        wire.extend_from_slice(&rest[..at]);
        wire.extend_from_slice(written(encoding, part, rest[at]));
        rest = &rest[at + 1..];
    }
    wire.extend_from_slice(rest);
}

fn written(encoding: Option<Version>, part: Part, octet: u8) -> &'static [u8] {
    let escapes = encoding >= Some(Version::V1_1);
    match octet {
        b'\\' if escapes => b"\\\\",
        b'\\' => b"\\",
        b':' if escapes => b"\\c",
        b':' if part == Part::Value => b":",
        b'\n' if escapes => b"\\n",
        b'\r' if encoding >= Some(Version::V1_2) => b"\\r",
        _ => b" ",
    }
}

/// Gives back what the wire's text means, or the escape that the version does not define (which is fatal: STOMP 1.2,
/// Value Encoding). Borrows nothing and copies once: most values have no backslash and go over in one piece.
pub(super) fn unescape(version: Version, wire: &str, text: &mut String) -> Result<(), UndefinedEscape> {
    let mut rest = wire;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escaped = rest[at + 1..].chars().next();
        text.push(match escaped {
            Some('\\') => '\\',
            Some('c') => ':',
            Some('n') => '\n',
            Some('r') if version >= Version::V1_2 => '\r',
            _ => return Err(UndefinedEscape(escaped)),
        });
        // Both octets are ASCII here, so this is a character boundary.
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    Ok(())
}

/// A backslash, and the character behind it; `None` where the text ends with the backslash.
#[derive(Debug)]
pub(super) struct UndefinedEscape(pub Option<char>);
