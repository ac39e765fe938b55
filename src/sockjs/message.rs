//! What a client sends: a JSON array of strings, or over a WebSocket one string alone.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Messages of one array. A client that gathers more while a request is under way sends them with the next.
const MOST: usize = 16_384;

/// Why a body holds no messages. The words are the protocol's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("Payload expected.")]
    Empty,
    #[error("Broken JSON encoding.")]
    Broken,
}

/// The messages of an array.
pub fn decode(body: &[u8]) -> Result<Vec<String>, Unreadable> {
    if body.is_empty() {
        return Err(Unreadable::Empty);
    }
    match serde_json::from_slice(body) {
        Ok(Messages(messages)) => Ok(messages),
        Err(_) => Err(Unreadable::Broken),
    }
}

/// The messages of one frame over a WebSocket: an array or a string.
pub fn decode_frame(frame: &[u8]) -> Result<Vec<String>, Unreadable> {
    match frame.first() {
        None => Ok(Vec::new()),
        Some(b'[') => decode(frame),
        Some(_) => match serde_json::from_slice(frame) {
            Ok(Message(message)) => Ok(vec![message]),
            Err(_) => Err(Unreadable::Broken),
        },
    }
}

struct Messages(Vec<String>);
/// A string that may hold half a surrogate pair, as JavaScript's may: that becomes U+FFFD, as it does on a plain WebSocket.
struct Message(String);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Messages;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Messages, A::Error> {
                let mut messages = Vec::new();
                while let Some(Message(message)) = array.next_element()? {
                    if messages.len() == MOST {
                        return Err(A::Error::custom("too many messages"));
                    }
                    messages.push(message);
                }
                Ok(Messages(messages))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Message;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Message, E> {
                Ok(Message(text.to_owned()))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Message, E> {
                Ok(Message(replaced(bytes)))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

/// The text of bytes that hold halves of pairs, or no UTF-8 at all.
fn replaced(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    // Half a pair comes as three octets that are no UTF-8, and U+FFFD has three, too.
    for at in 0..bytes.len().saturating_sub(2) {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf] = bytes[at..at + 3] {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
