//! The adapter that asks an attached plugin, by the hook `authenticate`.
//!
//! Enters: any token that has a size, and what is known of the connection. Leaves: what the one plugin says that the configuration lets serve that
//! hook (`attach.plugins.NAME.hooks`). Whatever keeps it from saying so (its absence, its time, an answer that makes no sense) is
//! [`Refusal::Unavailable`]: nobody is let in by a failure, and nobody is sent for another token.
//!
//! Each question costs a request over NATS and the plugin's time, at CONNECT, at each REST call and at each renewal; `attach.hooks.in_flight` and
//! the plugin's deadline bound what a storm of them costs.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::jwt::mint::Signer;
use super::{Auth, BuildError, Given, Refusal, Table, has_a_size};
use crate::attach;
use crate::attach::authenticate::{Authenticator, Judged, Unknown};
use crate::domain::facts::Facts;
use crate::domain::identity::Identity;

/// Has no settings: which plugin it is, and how long it has, is said below `attach`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}

impl Table for Config {
    fn problems(&self) -> Vec<BuildError> {
        Vec::new()
    }

    fn open(&self, given: &Given) -> Result<Arc<dyn Auth>, BuildError> {
        let plugin = given.hooks.authenticator();
        let lacks = || BuildError::new("adapter", "no plugin may serve `authenticate`");
        Ok(Arc::new(Hook {
            plugin: plugin.ok_or_else(lacks)?,
            takes_unending: given.hooks.config().is_some_and(|hooks| hooks.unending_tokens),
        }))
    }

    fn signer(&self, _: &Given) -> Result<Signer, BuildError> {
        let reason = "with \"hook\" a plugin knows the tokens, and they are made where it knows them from";
        Err(BuildError::new("adapter", reason))
    }

    fn tokens(&self) -> &'static str {
        "tokens that a plugin knows"
    }

    fn lacks(&self, attached: &attach::Config) -> Option<String> {
        attached.authenticator().err()
    }
}

struct Hook {
    plugin: Authenticator,
    takes_unending: bool,
}

#[async_trait]
impl Auth for Hook {
    fn name(&self) -> &'static str {
        "hook"
    }

    fn wants_facts(&self) -> bool {
        true
    }

    async fn authenticate(&self, token: &str, facts: &Facts, now_ms: i64) -> Result<Identity, Refusal> {
        has_a_size(token)?;
        let vouched = match self.plugin.ask(token, facts).await {
            Ok(Judged::Good(vouched)) => vouched,
            Ok(Judged::Refused(why)) => return Err(Refusal::Refused { why }),
            Err(Unknown) => return Err(Refusal::Unavailable),
        };
        match vouched.expires {
            Some(at) if at <= now_ms => return Err(Refusal::Expired { at, now: now_ms }),
            None if !self.takes_unending => return Err(Refusal::NoExpiry),
            _ => {}
        }
        Ok(Identity {
            user: vouched.user,
            expires: vouched.expires,
            token_id: vouched.token_id,
            issued: vouched.issued,
            topics: vouched.topics,
            max_sessions: vouched.max_sessions,
        })
    }
}
