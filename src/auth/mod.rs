//! The port that says who a token speaks for.
//!
//! Enters: the token of a CONNECT, a REST call or a live session's renewal, and the time. Leaves: an
//! [`Identity`](crate::domain::identity::Identity) or a [`Refusal`] that tells the bearer what to change. It keeps no
//! sessions. An adapter knows no revocations either: [`Guarded`] stands before the chosen one and asks [`Revocations`],
//! which the edge fills from the record.
//!
//! # Adding an adapter
//! One file beside `jwt.rs`, whose `Config` is a [`Table`]; its `mod` line here, and its line in the list of adapters below. The stories of
//! `tests/it/contract/auth.rs` are told of it by its name in their list.

pub mod dev;
pub mod hook;
pub mod jwt;
mod refusal;
mod revocations;
pub mod tickets;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::attach::{self, Hooks};
use crate::domain::facts::Facts;
use crate::domain::identity::Identity;
use crate::plugin::adapters;
use jwt::mint::Signer;
pub use jwt::mint::{Grant, MintError};
pub use refusal::Refusal;
pub use revocations::{Guarded, Revocations};
pub use tickets::Tickets;

/// Says who a token speaks for.
///
/// May be asked again for the same token, at any rate and in any order; it changes nothing. It holds the thread for
/// no longer than one check of a signature. An adapter that asks somebody else keeps its own deadline, and answers
/// [`Refusal::Unavailable`] at its end: any other refusal, but for a token that came too early, is final.
///
/// # Why `async_trait`
/// The port is one object chosen at start, and `async fn` in a trait is not object safe. The macro boxes the future as
/// one would by hand, and an adapter still reads as a plain `async fn`; one allocation a connect doesn't matter.
#[async_trait]
pub trait Auth: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// `token` comes without `Bearer ` (see [`bearer`]); `now_ms` is epoch milliseconds.
    async fn authenticate(&self, token: &str, facts: &Facts, now_ms: i64) -> Result<Identity, Refusal>;

    /// Whether the facts matter. Where they don't, nobody needs to keep them.
    fn wants_facts(&self) -> bool {
        false
    }
}

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whether there is a token at all, and none that is too long to be looked at.
fn has_a_size(token: &str) -> Result<(), Refusal> {
    match token.len() {
        0 => Err(Refusal::Missing),
        1..=MAX_TOKEN_BYTES => Ok(()),
        _ => Err(Refusal::Malformed("it is longer than 8 KiB")),
    }
}

/// The token in an `Authorization` header's value: without `Bearer ` (in any case) and without spaces around it.
pub fn bearer(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        None if value.eq_ignore_ascii_case("bearer") => "",
        _ => value,
    }
}

adapters! {
    /// `[auth]`: which adapter checks tokens, and the table of each.
    Config of dyn Table {
        /// Dev is for one machine: the process refuses to start with it on an address that others reach.
        adapter: {
            Dev => dev,
            Jwt => jwt,
            Hook => hook,
        },
        tickets: tickets::Config,
    }
}

/// An adapter's settings: what it needs, what is wrong with them, and what they describe.
trait Table {
    /// Every mistake, by its path below `auth`. Reads key files; writes nothing and dials nobody.
    fn problems(&self) -> Vec<BuildError>;

    /// The adapter, ready.
    fn open(&self, given: &Given) -> Result<Arc<dyn Auth>, BuildError>;

    /// Signs tokens that the adapter takes.
    fn signer(&self, given: &Given) -> Result<Signer, BuildError>;

    /// What its tokens are called, for people.
    fn tokens(&self) -> &'static str;

    /// Whether whoever reaches the server may be anybody.
    fn is_dev(&self) -> bool {
        false
    }

    /// Why it can't do its work with these plugins.
    fn lacks(&self, _: &attach::Config) -> Option<String> {
        None
    }
}

/// What an adapter may use besides its settings.
pub struct Given<'a> {
    /// Where it keeps files.
    pub data: &'a Path,
    /// Whom it may ask.
    pub hooks: &'a Hooks,
}

/// The configured adapter, ready. In dev mode the first call makes the local key among the data.
pub fn build(config: &Config, given: &Given) -> Result<Arc<dyn Auth>, BuildError> {
    config.chosen().open(given)
}

/// A token that [`build`]'s adapter takes, for `quick-notify token`; `now_ms` is epoch milliseconds.
pub fn mint(config: &Config, given: &Given, grant: &Grant, now_ms: i64) -> Result<String, MintError> {
    config.chosen().signer(given)?.sign(grant, now_ms)
}

impl Config {
    /// Whether whoever reaches the server may be anybody.
    pub fn is_dev(&self) -> bool {
        self.chosen().is_dev()
    }

    /// Why the adapter can't do its work with these plugins.
    pub fn lacks(&self, attached: &attach::Config) -> Option<String> {
        self.chosen().lacks(attached)
    }

    /// What the tokens are called that are taken, for people.
    pub fn tokens(&self) -> &'static str {
        self.chosen().tokens()
    }

    /// Every mistake in the chosen adapter's table, as (path below `auth`, reason). Reads key files; writes nothing and
    /// dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let found = self.chosen().problems().into_iter().chain(self.tickets.problems());
        found.map(|p| (p.path, p.reason)).collect()
    }
}

/// What keeps an adapter from starting: the configuration's path to mend, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth.{path}: {reason}")]
pub struct BuildError {
    /// Below `auth`: `jwt.keys[0].file`. The error's text has the whole path.
    pub path: String,
    pub reason: String,
}

impl BuildError {
    fn new(path: impl Into<String>, reason: impl ToString) -> Self {
        Self {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}
