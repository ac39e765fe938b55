//! Dead letters: a stream of their own, with what is known of each in its headers.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};

use super::entry::{REPLAYED_ID, Reader};
use super::lane::Origin;
use super::publish::refused;
use crate::queue::{Dead, DeadLetter, QueueError};
use crate::subjects;

const ID: &str = "Dead-Id";
const REASON: &str = "Dead-Reason";
const DETAIL: &str = "Dead-Detail";
const SUBJECT: &str = "Dead-Subject";
const SEQUENCE: &str = "Dead-Sequence";
/// How long the body was, where it had to be cut.
const TRUNCATED: &str = "Dead-Truncated";
/// Before the name of each header that came with it.
const ORIGINAL: &str = "Original-";

/// A stream takes no more octets of headers, whatever the server's `max_payload`.
const MOST_HEADERS: usize = 65_535;

/// What a letter tells beside its body.
pub struct Told {
    subject: String,
    headers: Vec<(String, String)>,
}

impl Told {
    pub fn of(origin: &Origin) -> Self {
        let headers = origin.headers.as_ref().map(pairs).unwrap_or_default();
        Self {
            subject: origin.subject.clone(),
            headers: headers.into_iter().filter(|(name, _)| name != "Nats-Pin-Id").collect(),
        }
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
        .collect();
    pairs.sort();
    pairs
}

/// Keeps `letters`. Twice does no harm: the server knows them by the stream's age and their sequence.
pub async fn keep(
    context: &Context,
    reader: &Reader,
    letters: Vec<DeadLetter>,
    told: Vec<Told>,
) -> Result<(), QueueError> {
    let mut under_way = Vec::with_capacity(letters.len());
    for (letter, told) in letters.into_iter().zip(told) {
        let reason = letter.reason;
        let message = message(reader, letter, &told, context.client().max_payload());
        let sent = context
            .send_publish(subjects::dead(&reader.prefix, reason), message)
            .await;
        under_way.push(sent.map_err(|error| refused(&error))?);
    }
    for ack in under_way {
        ack.await.map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// The letter in at most `most` octets with its headers: it came with fewer headers than it has now, and one that NATS refused would hold up
/// its lane for ever. First the headers that came with it go, all but its id, then the end of its body.
fn message(reader: &Reader, letter: DeadLetter, told: &Told, most: usize) -> PublishMessage {
    let longest = most.min(MOST_HEADERS) / 16;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (ID, &*letter.id),
        (REASON, letter.reason),
        (DETAIL, &letter.detail),
        (SUBJECT, &told.subject),
        (SEQUENCE, &letter.sequence.to_string()),
        (
            "Nats-Msg-Id",
            &format!("{}:{}:{}", reader.stream, reader.created, letter.sequence),
        ),
    ] {
        headers.insert(name, on_one_line(beginning(value, longest)));
    }
    let mut full = headers.clone();
    for (name, value) in &told.headers {
        if let Ok(original) = format!("{ORIGINAL}{name}").parse::<HeaderName>() {
            let is_id = name == "Nats-Msg-Id" || name == REPLAYED_ID;
            if is_id && value.len() <= longest {
                headers.append(original.clone(), on_one_line(value));
            }
            full.append(original, on_one_line(value));
        }
    }
    let mut payload = letter.payload;
    let size = octets(&full);
    if size <= MOST_HEADERS && size + payload.len() <= most {
        headers = full;
    } else if octets(&headers) + payload.len() > most {
        headers.insert(TRUNCATED, payload.len().to_string());
        payload.truncate(most.saturating_sub(octets(&headers)));
    }
    PublishMessage::build().payload(payload).headers(headers)
}

/// What NATS counts of headers: a first line, a line each, an empty one.
fn octets(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(move |value| name.len() + ": \r\n".len() + value.as_str().len())
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// At most `most` octets of it.
fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A header ends with its line.
fn on_one_line(value: &str) -> HeaderValue {
    let value: String = value
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    value.parse().unwrap_or_else(|_| HeaderValue::from(""))
}

/// A letter of the stream.
pub fn read(message: StreamMessage) -> Dead {
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
    let headers = pairs(&message.headers)
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(ORIGINAL)?.to_owned(), value)))
        .collect();
    Dead {
        number: message.sequence,
        id: header(ID).unwrap_or_default(),
        reason: header(REASON).unwrap_or_default(),
        detail: header(DETAIL).unwrap_or_default(),
        died: (message.time.unix_timestamp_nanos() / 1_000_000) as i64,
        subject: header(SUBJECT).filter(|subject| !subject.is_empty()),
        headers,
        truncated: header(TRUNCATED).and_then(|length| length.parse().ok()),
        payload: message.payload.clone(),
    }
}
