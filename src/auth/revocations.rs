//! The revocations that this node knows, and the adapter that no token gets past while one covers it.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;

use super::{Auth, Refusal};
use crate::domain::facts::Facts;
use crate::domain::identity::Identity;
use crate::domain::revocation::{Revocation, Target};
use crate::domain::time::EpochMs;

/// The live revocations. Whoever learns of one adds it here first and then looks for sessions that it covers; whoever opens a session registers
/// it first and then looks here. So a session that opens at that moment is found by one of the two.
///
/// It keeps what the record keeps: `api.max_revocations` bounds both.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<Live>);

#[derive(Debug, Default)]
struct Live {
    /// Tokens by their `jti`, until when each is remembered.
    tokens: HashMap<Box<str>, EpochMs>,
    users: HashMap<Box<str>, Before>,
}

/// What a user was given before a moment, until when it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    issued_before: EpochMs,
    until: EpochMs,
}

impl Revocations {
    /// Adds one. Says whether it covers more than what was known.
    pub fn learn(&self, revocation: &Revocation) -> bool {
        let mut live = self.0.write().expect("nothing panics under this lock");
        match &revocation.target {
            Target::Token(jti) => {
                let known = live.tokens.insert(jti.as_str().into(), revocation.until);
                if let Some(known) = known.filter(|known| *known > revocation.until) {
                    live.tokens.insert(jti.as_str().into(), known);
                }
                known.is_none_or(|known| known < revocation.until)
            }
            Target::User { user, issued_before } => {
                // Of several, the one that reaches farthest; what it covers beyond them has ended by itself when they would be forgotten.
                let known = live.users.get(user.as_str()).copied();
                let merged = Before {
                    issued_before: known.map_or(*issued_before, |known| known.issued_before.max(*issued_before)),
                    until: known.map_or(revocation.until, |known| known.until.max(revocation.until)),
                };
                live.users.insert(user.as_str().into(), merged);
                known != Some(merged)
            }
        }
    }

    /// Whether the token behind `identity` was taken back.
    pub fn cover(&self, identity: &Identity, now: EpochMs) -> bool {
        let live = self.0.read().expect("nothing panics under this lock");
        let token = identity.token_id.as_deref().and_then(|jti| live.tokens.get(jti));
        let user = live.users.get(&*identity.user);
        token.is_some_and(|until| now < *until)
            || user.is_some_and(|before| {
                now < before.until && identity.issued.is_none_or(|issued| issued < before.issued_before)
            })
    }

    /// Drops what has ended.
    pub fn forget_ended(&self, now: EpochMs) {
        let mut live = self.0.write().expect("nothing panics under this lock");
        live.tokens.retain(|_, until| now < *until);
        live.users.retain(|_, before| now < before.until);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let live = self.0.read().expect("nothing panics under this lock");
        live.tokens.len() + live.users.len()
    }
}

/// An adapter behind which the revocations are looked at: whoever asks it can't forget to.
pub struct Guarded {
    pub auth: Arc<dyn Auth>,
    pub revocations: Arc<Revocations>,
}

#[async_trait]
impl Auth for Guarded {
    fn name(&self) -> &'static str {
        self.auth.name()
    }

    fn wants_facts(&self) -> bool {
        self.auth.wants_facts()
    }

    async fn authenticate(&self, token: &str, facts: &Facts, now_ms: i64) -> Result<Identity, Refusal> {
        let identity = self.auth.authenticate(token, facts, now_ms).await?;
        // After the adapter's answer, which may have taken its time.
        if self.revocations.cover(&identity, now_ms) {
            return Err(Refusal::Revoked);
        }
        Ok(identity)
    }
}
