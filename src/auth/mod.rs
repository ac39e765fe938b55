//! The port that says who a token speaks for.
//!
//! Enters: the token of a CONNECT, a REST call or a live session's renewal, and the time. Leaves: an
//! [`Identity`](crate::domain::identity::Identity) or a [`Refusal`] that tells the bearer what to change. It keeps no
//! sessions. An adapter knows no revocations either: [`Guarded`] stands before the chosen one and asks [`Revocations`],
//! which the edge fills from the record.
//!
//! # Adding an adapter
//! One file beside `jwt.rs` with its `Config`, its `mod` line here, a variant of [`Adapter`], and one line in each of
//! [`build`], [`mint`] and [`Config::problems`]; the compiler names those that were forgotten.

pub mod dev;
pub mod jwt;
mod refusal;
mod revocations;
pub mod tickets;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::identity::Identity;
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
    async fn authenticate(&self, token: &str, now_ms: i64) -> Result<Identity, Refusal>;
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

/// `[auth]`: which adapter checks tokens, and the table of each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `"dev"` or `"jwt"`. Dev is for one machine: the process refuses to start with it on an address that others reach.
    pub adapter: Adapter,
    pub dev: dev::Config,
    pub jwt: jwt::Config,
    pub tickets: tickets::Config,
}

/// The adapters there are, by their names in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Dev,
    Jwt,
}

/// The configured adapter, ready. In dev mode the first call makes the local key in `data_dir`.
pub fn build(config: &Config, data_dir: &Path) -> Result<Arc<dyn Auth>, BuildError> {
    Ok(match config.adapter {
        Adapter::Dev => Arc::new(dev::Dev::open(&config.dev, data_dir)?),
        Adapter::Jwt => Arc::new(jwt::Jwt::open(&config.jwt)?),
    })
}

/// A token that [`build`]'s adapter takes, for `quick-notify token`; `now_ms` is epoch milliseconds.
pub fn mint(config: &Config, data_dir: &Path, grant: &Grant, now_ms: i64) -> Result<String, MintError> {
    let signer = match config.adapter {
        Adapter::Dev => dev::signer(&config.dev, data_dir)?,
        Adapter::Jwt => jwt::mint::signer(&config.jwt)?,
    };
    signer.sign(grant, now_ms)
}

impl Config {
    pub fn is_dev(&self) -> bool {
        self.adapter == Adapter::Dev
    }

    /// Every mistake in the chosen adapter's table, as (path below `auth`, reason). Reads key files; writes nothing and
    /// dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let found = match self.adapter {
            Adapter::Dev => self.dev.problems(),
            Adapter::Jwt => self.jwt.problems(),
        };
        let found = found.into_iter().chain(self.tickets.problems());
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
