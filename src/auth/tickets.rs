//! Tickets: what a page puts into the URL of its stream of events instead of its token, since an `EventSource` can't send headers.
//!
//! A ticket is given for a token, opens one stream within seconds, and says whose that is and until when: the session behind it ends when the token
//! would, and is revoked as the token is. It opens nothing else and is soon of no use, so it does little harm in a log. It says nothing of topics, to
//! which a stream of events doesn't listen.
//!
//! `qt1.` and two parts in base64url, joined by a dot: JSON, and its HMAC-SHA256. Every node that knows the key takes it, and each
//! takes it once: nodes don't tell each other what was used, so until its seconds are over another one would take it again.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{BuildError, Refusal};
use crate::domain::identity::{Identity, Topics, parse_user};
use crate::domain::time::EpochMs;
use crate::secret::Secret;

/// `[auth.tickets]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a ticket may be used, in seconds.
    pub seconds: u32,
    /// Tickets that a node remembers as used; beyond it further ones have to wait until some have ended.
    pub max_used: usize,
    /// Signs tickets, 32 bytes or more, the same on every node. Without one a node that is alone makes its own at each start, and nodes of a
    /// cluster give no tickets.
    pub secret: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seconds: 30,
            max_used: 100_000,
            secret: Secret::default(),
        }
    }
}

impl Config {
    pub(super) fn problems(&self) -> Vec<BuildError> {
        let mut problems = Vec::new();
        if !(1..=300).contains(&self.seconds) {
            problems.push(BuildError::new("tickets.seconds", "must lie between 1 and 300"));
        }
        if !(1..=10_000_000).contains(&self.max_used) {
            problems.push(BuildError::new("tickets.max_used", "must lie between 1 and 10000000"));
        }
        problems.extend(self.key().err());
        problems
    }

    fn key(&self) -> Result<Option<Vec<u8>>, BuildError> {
        if !self.secret.is_named() {
            return Ok(None);
        }
        let told = |reason| BuildError::new("tickets.secret", reason);
        let found = self.secret.read().map_err(told)?;
        if !(LEAST_KEY..=crate::secret::MAX_BYTES).contains(&found.secret.len()) {
            let most = crate::secret::MAX_BYTES;
            return Err(told(format!(
                "{}: a secret has {LEAST_KEY} to {most} bytes",
                found.source
            )));
        }
        Ok(Some(found.secret))
    }
}

const LEAST_KEY: usize = 32;
const PREFIX: &str = "qt1.";
/// What is signed begins so: nothing that is signed with this key for another purpose passes for a ticket.
const PURPOSE: &[u8] = b"quick-notify ticket 1\0";
/// No ticket is longer.
const MAX_BYTES: usize = 2_048;

/// Gives tickets and takes them back.
pub struct Tickets {
    /// `None`: this node gives none.
    key: Option<Hmac<Sha256>>,
    lifetime_ms: EpochMs,
    used: Mutex<Used>,
}

/// A ticket, and for how long it is good.
#[derive(Debug)]
pub struct Ticket {
    pub ticket: String,
    pub expires_in_ms: EpochMs,
}

/// Without a key that all nodes share, a ticket of one would be refused by the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no tickets are given here: several nodes need a secret that they share (auth.tickets.secret)")]
pub struct NoTickets;

/// Why a ticket was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    #[error("the ticket is not one of POST /api/ticket")]
    Malformed,
    #[error("the ticket's signature is wrong: another server made it, or it was changed")]
    Signature,
    #[error("the ticket is too old: get a fresh one for each stream that you open")]
    Expired,
    #[error("the ticket has been used: get a fresh one for each stream that you open")]
    Used,
}

impl BadTicket {
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "ticket-malformed",
            Self::Signature => "ticket-bad-signature",
            Self::Expired => "ticket-expired",
            Self::Used => "ticket-used",
        }
    }
}

/// What a ticket says.
#[derive(Serialize, Deserialize)]
struct Claims {
    user: String,
    /// The token's, as [`Identity`] has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sessions: Option<NonZeroU32>,
    /// The ticket's own end, and what tells it from others.
    until: EpochMs,
    number: u128,
}

/// The tickets that were used and have not ended.
#[derive(Default)]
struct Used {
    numbers: HashSet<u128>,
    by_end: BTreeSet<(EpochMs, u128)>,
    most: usize,
}

impl Tickets {
    /// `alone`: no other node has to know the key.
    pub fn open(config: &Config, alone: bool) -> Result<Self, BuildError> {
        let key = match config.key()? {
            Some(key) => Some(key),
            None if alone => {
                let mut key = vec![0; LEAST_KEY];
                getrandom::fill(&mut key).map_err(|error| BuildError::new("tickets", error))?;
                Some(key)
            }
            None => None,
        };
        Ok(Self {
            key: key.map(|key| Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")),
            lifetime_ms: EpochMs::from(config.seconds) * 1_000,
            used: Mutex::new(Used {
                most: config.max_used,
                ..Used::default()
            }),
        })
    }

    /// A ticket for whom a token speaks for; it ends with the token at the latest.
    pub fn give(&self, identity: &Identity, now: EpochMs) -> Result<Ticket, NoTickets> {
        let key = self.key.as_ref().ok_or(NoTickets)?;
        let until = identity
            .expires
            .map_or(now + self.lifetime_ms, |expires| expires.min(now + self.lifetime_ms));
        let claims = Claims {
            user: identity.user.to_string(),
            expires: identity.expires,
            token_id: identity.token_id.as_deref().map(str::to_owned),
            issued: identity.issued,
            max_sessions: identity.max_sessions,
            until,
            number: uuid::Uuid::new_v4().as_u128(),
        };
        let said = BASE64.encode(serde_json::to_vec(&claims).expect("texts and numbers are JSON"));
        let seal = BASE64.encode(sealed(key, &said).finalize().into_bytes());
        Ok(Ticket {
            ticket: format!("{PREFIX}{said}.{seal}"),
            expires_in_ms: until - now,
        })
    }

    /// Whose ticket this is. It may still be used; revocations are not looked at.
    pub fn look(&self, ticket: &str, now: EpochMs) -> Result<Identity, Refusal> {
        let claims = self.read(ticket, now)?;
        if self.used().numbers.contains(&claims.number) {
            return Err(BadTicket::Used.into());
        }
        Ok(Identity {
            user: parse_user(&claims.user)?,
            expires: claims.expires,
            token_id: claims.token_id.map(Into::into),
            issued: claims.issued,
            topics: Topics::none(),
            max_sessions: claims.max_sessions,
        })
    }

    /// It counts as used from now on.
    pub fn redeem(&self, ticket: &str, now: EpochMs) -> Result<(), Refusal> {
        let claims = self.read(ticket, now)?;
        self.used().note(claims.number, claims.until, now)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("nothing panics under this lock")
    }

    /// What a ticket says that has not ended.
    fn read(&self, ticket: &str, now: EpochMs) -> Result<Claims, BadTicket> {
        let claims = self.open_seal(ticket)?;
        match claims.until <= now {
            true => Err(BadTicket::Expired),
            false => Ok(claims),
        }
    }

    fn open_seal(&self, ticket: &str) -> Result<Claims, BadTicket> {
        if ticket.len() > MAX_BYTES {
            return Err(BadTicket::Malformed);
        }
        let parts = ticket.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        let (said, seal) = parts.ok_or(BadTicket::Malformed)?;
        let seal = BASE64.decode(seal).map_err(|_| BadTicket::Malformed)?;
        let key = self.key.as_ref().ok_or(BadTicket::Signature)?;
        // Takes the same time however much of it is right.
        sealed(key, said)
            .verify_slice(&seal)
            .map_err(|_| BadTicket::Signature)?;
        let claims = BASE64.decode(said).map_err(|_| BadTicket::Malformed)?;
        serde_json::from_slice(&claims).map_err(|_| BadTicket::Malformed)
    }
}

fn sealed(key: &Hmac<Sha256>, said: &str) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(PURPOSE);
    mac.update(said.as_bytes());
    mac
}

impl Used {
    fn note(&mut self, number: u128, until: EpochMs, now: EpochMs) -> Result<(), Refusal> {
        while let Some(first) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&first);
            self.numbers.remove(&first.1);
        }
        if self.numbers.contains(&number) {
            return Err(BadTicket::Used.into());
        }
        if self.numbers.len() >= self.most {
            // To forget one would let it be used again.
            return Err(Refusal::Unavailable);
        }
        self.numbers.insert(number);
        self.by_end.insert((until, number));
        Ok(())
    }
}
