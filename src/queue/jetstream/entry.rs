//! From a message of the stream to an entry.

use std::time::Duration;

use async_nats::{Message, Subject};
use sha2::{Digest, Sha256};

use super::audience;
use crate::domain::id::{hex, name_problem};
use crate::domain::time::EpochMs;
use crate::queue::{Direct, Entry, Source};
use crate::subjects;

/// The id that a replayed letter had before.
pub const REPLAYED_ID: &str = "Quick-Notify-Id";

/// Where a delivery stands, as its reply subject says.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// In the stream.
    pub sequence: u64,
    /// Among the consumer's deliveries.
    pub number: u64,
    /// When the stream took it.
    pub taken: EpochMs,
    pub reply: Subject,
}

impl Delivery {
    /// `$JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.DELIVERED.SEQUENCE.NUMBER.NANOS.PENDING[.TOKEN]`
    pub fn of(message: &Message) -> Option<Self> {
        let reply = message.reply.clone()?;
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let rest = match tokens.len() {
            7 => &tokens[3..],
            9.. => &tokens[5..],
            _ => return None,
        };
        let [sequence, number, nanos, ..] = rest else {
            return None;
        };
        let taken = Duration::from_nanos(nanos.parse().ok()?);
        Some(Self {
            sequence: sequence.parse().ok()?,
            number: number.parse().ok()?,
            taken: taken.as_millis() as EpochMs,
            reply,
        })
    }
}

/// Reads the messages of one stream.
#[derive(Debug, Clone)]
pub struct Reader {
    pub prefix: String,
    pub stream: String,
    /// When the stream was made, so that a new one's sequences are other ids.
    pub created: i128,
}

impl Reader {
    /// The entry, and the subject to which it was published.
    pub fn entry(&self, message: &Message, delivery: &Delivery) -> (Entry, String) {
        let subject = subjects::before_lane(&self.prefix, &message.subject).unwrap_or_default();
        let address = subjects::address(&self.prefix, &subject);
        let source = match address {
            Some(address) if address.door => Source::Door,
            address => Source::Direct(Direct {
                to: address.and_then(audience::read),
                fallback_id: self.fallback_id(message, delivery.sequence),
                created: delivery.taken,
            }),
        };
        let entry = Entry {
            sequence: delivery.sequence,
            payload: message.payload.clone(),
            source,
        };
        (entry, subject)
    }

    /// The id of a draft that names none: the same however often it is delivered.
    fn fallback_id(&self, message: &Message, sequence: u64) -> String {
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        if let Some(id) = header(REPLAYED_ID).or_else(|| header("Nats-Msg-Id")) {
            let id = id.as_str();
            if name_problem(id).is_none() {
                return id.to_owned();
            }
            return hashed(&[id.as_bytes()]);
        }
        hashed(&[
            self.stream.as_bytes(),
            &self.created.to_be_bytes(),
            &sequence.to_be_bytes(),
        ])
    }
}

fn hashed(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("ntf_j{}", hex(&hash.finalize()[..16]))
}
