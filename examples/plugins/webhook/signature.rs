//! Signs as Standard Webhooks says (standardwebhooks.com), for which there are libraries in many languages: three headers, of which
//! `webhook-id` names the event, however often it comes, `webhook-timestamp` keeps an old post from being sent again by somebody else, and
//! `webhook-signature` proves both, and the body.

use std::str::FromStr;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The key; it is never printed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        match key {
            Some(key) if (24..=64).contains(&key.len()) => Ok(Self(key)),
            _ => Err("say whsec_ and the base64 of 24 to 64 random octets: echo whsec_$(openssl rand -base64 32)"),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub fn headers(&self, id: &str, seconds: u64, body: &[u8]) -> [(&'static str, String); 3] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ]
    }
}

/// The event's name: the same at each try, in a replay, and if it was told twice. Made from what the server calls it, which may have any letters.
pub fn id(message: &Message) -> String {
    let said = message
        .headers
        .as_ref()
        .and_then(|headers: &HeaderMap| headers.get("Nats-Msg-Id"));
    let digest = match said {
        Some(said) => Sha256::digest(said.as_str()),
        None => Sha256::digest(&message.payload),
    };
    digest[..16]
        .iter()
        .fold("evt_".to_owned(), |id, octet| id + &format!("{octet:02x}"))
}
