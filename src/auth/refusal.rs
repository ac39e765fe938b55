//! Why a token was not taken, told to the one who brought it.
//!
//! A refusal says what to change and never repeats the token: what it quotes from a token's header (an algorithm, a
//! key id) is shortened to [`SHOWN_CHARS`] harmless characters, since the sender chose it and logs and ERROR frames
//! carry it on.

use super::tickets::BadTicket;
use crate::domain::identity::BadUser;

/// Most characters of the sender's text in a refusal.
const SHOWN_CHARS: usize = 64;

/// Why a token was refused. [`Refusal::code`] is the closed set for labels and the ERROR frame's `code` header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no token: send the header `Authorization: TOKEN`")]
    Missing,
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `at` is the end that was applied (`exp` and the leeway), `now` the server's clock; epoch milliseconds.
    #[error("the token expired {} s ago: get a fresh one", seconds(now.saturating_sub(*at)))]
    Expired { at: i64, now: i64 },
    /// `from` is the begin that was applied (`nbf` less the leeway); epoch milliseconds.
    #[error("the token becomes valid only in {} s: wait, or set the issuer's clock right", seconds(from.saturating_sub(*now)))]
    NotYetValid { from: i64, now: i64 },
    #[error("the token is not signed (`alg` is `none`)")]
    Unsigned,
    #[error("the token's algorithm `{alg}` is not allowed here: none of this server's keys has it")]
    AlgorithmNotAllowed { alg: String },
    #[error("the token's signature is wrong: another key made it, or the token was changed")]
    BadSignature,
    #[error("the token is for another audience: `aud` must name {expected}")]
    WrongAudience { expected: String },
    #[error("the token is by another issuer: `iss` must be {expected}")]
    WrongIssuer { expected: String },
    #[error("the token has no `exp`: tokens that never end are not taken here")]
    NoExpiry,
    #[error("the token's key id `{kid}` is not known here")]
    UnknownKey { kid: String },
    #[error("the token's subject (`sub`) can't be a user id: {0}")]
    BadSubject(#[from] BadUser),
    #[error("the token was revoked: get a fresh one")]
    Revoked,
    /// In the words of the plugin that decides, shortened.
    #[error("the token was refused: {why}")]
    Refused { why: String },
    /// In place of a token there was a ticket.
    #[error("{0}")]
    Ticket(#[from] BadTicket),
    /// The one who decides could not be asked; nothing is wrong with the token. Adapters that ask nobody never say this.
    #[error("the token can't be checked now: try again")]
    Unavailable,
}

impl Refusal {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token-missing",
            Self::Malformed(_) => "token-malformed",
            Self::Expired { .. } => "token-expired",
            Self::NotYetValid { .. } => "token-not-yet-valid",
            Self::Unsigned => "token-unsigned",
            Self::AlgorithmNotAllowed { .. } => "token-algorithm-not-allowed",
            Self::BadSignature => "token-bad-signature",
            Self::WrongAudience { .. } => "token-wrong-audience",
            Self::WrongIssuer { .. } => "token-wrong-issuer",
            Self::NoExpiry => "token-no-expiry",
            Self::UnknownKey { .. } => "token-unknown-key",
            Self::BadSubject(_) => "token-bad-subject",
            Self::Revoked => "token-revoked",
            Self::Refused { .. } => "token-refused",
            Self::Ticket(bad) => bad.code(),
            Self::Unavailable => "auth-unavailable",
        }
    }

    /// Whether to ask again with the same token (503), rather than to get another (401).
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }

    pub(super) fn algorithm_not_allowed(alg: &str) -> Self {
        Self::AlgorithmNotAllowed { alg: shown(alg) }
    }

    pub(super) fn unknown_key(kid: &str) -> Self {
        Self::UnknownKey { kid: shown(kid) }
    }
}

/// Milliseconds as whole seconds, rounded up, so that a token never "expired 0 s ago" by 900 ms.
fn seconds(ms: i64) -> i64 {
    ms.saturating_add(999).max(0) / 1000
}

fn shown(text: &str) -> String {
    let harmless = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(SHOWN_CHARS).map(harmless).collect()
}
