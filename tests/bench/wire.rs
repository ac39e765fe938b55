//! Bytes: just enough of HTTP/1.1, WebSocket and STOMP to speak with this server, and as little work as can be. A generator that shares its
//! cores with the server must not be what is measured.

use std::io::Write;

use anyhow::{Context, bail, ensure};

/// Asks for a WebSocket. The key is any; the answer to it is not checked.
pub const UPGRADE: &[u8] = b"GET /stomp-ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n";

/// `POST /api/notify` with this body.
pub fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /api/notify HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A notification as JSON. Its data begins with `number`, in ten digits, so that a delivery can be told from another.
pub fn notification(to: &str, number: u64) -> String {
    format!(r#"{{{to},"data":"{number:010} Your parcel has left the warehouse and is on its way to you."}}"#)
}

/// The number that [`notification`] put into the body of this MESSAGE.
pub fn number(frame: &[u8]) -> anyhow::Result<u64> {
    const MARK: &[u8] = br#""data":""#;
    let at = find(frame, MARK).context("a MESSAGE without data")? + MARK.len();
    let digits = frame.get(at..at + 10).context("a MESSAGE without a number")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// An answer over HTTP: the status, where the body begins, and where it ends.
pub struct Answer {
    pub status: u16,
    pub body: usize,
    pub end: usize,
}

/// The answer at the head of `bytes`; `None` until its head is there. `end` may lie behind what has come so far.
pub fn answer(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..head])?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("no status")?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, length)| length.trim().parse::<usize>())?;
    let body = head + 4;
    Ok(Some(Answer {
        status: status.parse()?,
        body,
        end: body + length,
    }))
}

/// Adds a text message of a client: masked with zeros, which the server unmasks like any other.
pub fn message(payload: &[u8], wire: &mut Vec<u8>) {
    wire.push(0x81);
    match payload.len() {
        length @ 0..=125 => wire.push(0x80 | length as u8),
        length => {
            wire.push(0x80 | 126);
            wire.extend((length as u16).to_be_bytes());
        }
    }
    wire.extend([0; 4]);
    wire.extend(payload);
}

/// Adds a STOMP frame without a body, as a message of its own.
pub fn frame(command: &str, headers: &[(&str, &str)], wire: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(128);
    let _ = writeln!(payload, "{command}");
    for (name, value) in headers {
        let _ = writeln!(payload, "{name}:{value}");
    }
    payload.extend(b"\n\0");
    message(&payload, wire);
}

/// Hands each STOMP frame of the whole server messages in `bytes` to `each`, without its NUL, and answers how many bytes those took. A frame
/// is taken to lie within one message, and bodies to be text without NUL: so this server sends them.
pub fn frames(bytes: &[u8], mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<usize> {
    const CLOSE: u8 = 8;
    let mut at = 0;
    while let [first, second, rest @ ..] = &bytes[at..] {
        ensure!(second & 0x80 == 0, "the server masks");
        let (head, length) = match (second, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (126, _) => break,
            (127, _) => bail!("a message of more than 64 KiB"),
            (length, _) => (2, usize::from(*length)),
        };
        let Some(payload) = bytes.get(at + head..at + head + length) else {
            break;
        };
        ensure!(
            first & 0x0f != CLOSE,
            "the server closed: {}",
            String::from_utf8_lossy(payload)
        );
        for frame in payload.split(|byte| *byte == 0) {
            // Between frames: nothing, or a heart-beat.
            let frame = frame.trim_ascii_start();
            if !frame.is_empty() {
                each(frame)?;
            }
        }
        at += head + length;
    }
    Ok(at)
}

/// The first header of this name.
pub fn header<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let head = &frame[..find(frame, b"\n\n").unwrap_or(frame.len())];
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    std::str::from_utf8(value).ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
