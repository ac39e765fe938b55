//! Ids of notifications: generated ones are time-ordered; one made from an idempotency key is always the same.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest id, receiver or type name, in characters (the record's `varchar(64)`).
pub const MAX_NAME: usize = 64;

/// A new id: `ntf_` and a version 7 UUID, so that ids sort by the time they were made.
pub fn generate() -> String {
    format!("ntf_{}", Uuid::now_v7().simple())
}

/// The name of a session, of no meaning and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionName(Uuid);

impl SessionName {
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// The name of a process while it runs, one token of a subject.
pub fn process() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The name of a question to a plugin, which its answer repeats: nobody can guess it.
pub fn request() -> String {
    format!("r_{}", Uuid::new_v4().simple())
}

/// The id that a producer's idempotency key stands for. `index` is the place in an array, so that one key covers a whole request.
pub fn from_idempotency_key(producer: &str, key: &str, index: usize) -> String {
    let mut hash = Sha256::new();
    // Lengths first: ("ab", "c") and ("a", "bc") are different requests.
    for part in [producer, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update((index as u64).to_be_bytes());
    let digest = hash.finalize();
    format!("ntf_k{}", hex(&digest[..16]))
}

/// The id of the copy for `receiver` of the notification `original`.
pub fn of_copy(original: &str, receiver: &str) -> String {
    let mut hash = Sha256::new();
    for part in [original, receiver] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("ntf_r{}", hex(&hash.finalize()[..16]))
}

/// Why `name` can't be an id, a receiver or a type: the end of a sentence that begins with the field's name.
pub fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("must not be empty".into());
    }
    // Bytes first: counting the characters of a megabyte would be work for nothing.
    if name.len() > MAX_NAME * 4 || name.chars().count() > MAX_NAME {
        return Some(format!("is longer than {MAX_NAME} characters"));
    }
    // Spaces are letters like others, at the end too: the record compares byte by byte.
    name.chars()
        .any(char::is_control)
        .then(|| "must not contain control characters".into())
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
