//! Taking a token back before it ends by itself: one token by its `jti`, or all that a user was given before a moment.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::time::EpochMs;

/// Longest `jti`, in bytes: a session holds it, and the record keeps the revoked ones.
pub const MAX_TOKEN_ID_BYTES: usize = 128;

/// What is no longer good, and how long that has to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub target: Target,
    /// When it was said.
    pub created: EpochMs,
    /// From here on every token that it covers has ended by itself.
    pub until: EpochMs,
}

/// What a revocation covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The token with this `jti`.
    Token(String),
    /// Every token of a user that was issued before the moment; one that doesn't say when it was issued is covered, too.
    User { user: String, issued_before: EpochMs },
}

impl Revocation {
    pub fn covers(&self, identity: &Identity) -> bool {
        match &self.target {
            Target::Token(jti) => identity.token_id.as_deref() == Some(jti),
            Target::User { user, issued_before } => {
                *identity.user == **user && identity.issued.is_none_or(|issued| issued < *issued_before)
            }
        }
    }
}
