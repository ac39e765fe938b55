//! The adapter that checks JSON Web Tokens (RFC 7519) against keys from files.
//!
//! Enters: a token in compact form, at most [`super::MAX_TOKEN_BYTES`]. Leaves: the identity in its claims, or the refusal.
//! Never fetches a key, never follows a URL in a token's header, never reads claims whose signature it has not
//! verified, and never asks the clock.
//!
//! # Why algorithm confusion can't happen
//! A token's header only *chooses among* configured keys, and each key verifies one algorithm, fixed at start. A token
//! that says `HS256` is never checked with an RSA key's bytes, whoever signed it.

mod claims;
mod keys;
pub mod mint;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use serde::{Deserialize, Serialize};

use super::{Auth, BuildError, Given, Refusal, Table, has_a_size};
use crate::domain::facts::Facts;
use crate::domain::identity::{Identity, Pattern, Topics};
pub use keys::{Algorithm, KeyConfig};

pub(super) use claims::Rules;
pub(super) use keys::Key;

/// Most keys, those of JWKS files included: a token without `kid` is tried with each key of its algorithm.
pub const MAX_KEYS: usize = 16;
/// Longest leeway, in seconds: clocks further apart are to be mended, not borne.
pub const MAX_LEEWAY_SECONDS: u32 = 60;

/// `[auth.jwt]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The keys that tokens are checked with, each a `[[auth.jwt.keys]]` table. At least one.
    pub keys: Vec<KeyConfig>,
    /// A private key (PEM, PKCS#8) that belongs to one of `keys`, for `quick-notify token`. Servers do without.
    pub signing_key_file: Option<std::path::PathBuf>,
    /// Whose tokens are taken: `iss` must be one of these. Empty: `iss` is not looked at.
    pub issuers: Vec<String>,
    /// Whom tokens must be for: `aud` must name one of these. Empty: `aud` is not looked at.
    pub audiences: Vec<String>,
    /// Seconds by which the issuer's clock may differ, 0 to 60. Also moves the end of a live session.
    pub leeway_seconds: u32,
    /// Whether a token must have `exp`. A session of a token without one never ends by itself.
    pub require_exp: bool,
    /// Topics to SUBSCRIBE to when the claim `topics.read` is absent.
    pub default_read: Vec<String>,
    /// Topics to SEND to when the claim `topics.write` is absent.
    pub default_write: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            signing_key_file: None,
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_seconds: 0,
            require_exp: true,
            default_read: vec!["/topic/**".into()],
            default_write: Vec::new(),
        }
    }
}

impl Table for Config {
    /// Every mistake at once; reads the key files.
    fn problems(&self) -> Vec<BuildError> {
        match self.load() {
            Err(problems) => problems,
            // The signing key is held against the loaded keys, so it is looked at when those are right.
            Ok(_) if self.signing_key_file.is_none() => Vec::new(),
            Ok((keys, _)) => mint::signing_key(self, &keys).err().into_iter().collect(),
        }
    }

    fn open(&self, _: &Given) -> Result<Arc<dyn Auth>, BuildError> {
        match self.load() {
            Ok((keys, rules)) => Ok(Arc::new(Jwt { keys, rules })),
            Err(problems) => Err(problems.into_iter().next().expect("load fails with a problem")),
        }
    }

    fn signer(&self, _: &Given) -> Result<mint::Signer, BuildError> {
        mint::signer(self)
    }

    fn tokens(&self) -> &'static str {
        "JWT"
    }
}

impl Config {
    /// What the adapter is made of, or all that is wrong with it.
    fn load(&self) -> Result<(Vec<Key>, Rules), Vec<BuildError>> {
        let mut problems = Vec::new();
        let keys = self.load_keys(&mut problems);
        if self.leeway_seconds > MAX_LEEWAY_SECONDS {
            problems.push(BuildError::new(
                "jwt.leeway_seconds",
                format!("at most {MAX_LEEWAY_SECONDS}"),
            ));
        }
        for (name, list) in [("issuers", &self.issuers), ("audiences", &self.audiences)] {
            for (i, _) in list.iter().enumerate().filter(|(_, text)| text.is_empty()) {
                problems.push(BuildError::new(format!("jwt.{name}[{i}]"), "it is empty"));
            }
        }
        let read = patterns("default_read", &self.default_read, &mut problems);
        let write = patterns("default_write", &self.default_write, &mut problems);
        match Topics::new(read, write) {
            Ok(topics) if problems.is_empty() => Ok((keys, Rules::new(self, topics))),
            Ok(_) => Err(problems),
            Err(e) => {
                problems.push(BuildError::new("jwt.default_read, default_write", e));
                Err(problems)
            }
        }
    }

    fn load_keys(&self, problems: &mut Vec<BuildError>) -> Vec<Key> {
        let mut keys = Vec::new();
        for (i, key) in self.keys.iter().enumerate() {
            match key.load() {
                Ok(loaded) => keys.extend(loaded),
                Err(e) => problems.push(BuildError::new(format!("jwt.keys[{i}]{}", e.field), e.reason)),
            }
        }
        if self.keys.is_empty() {
            problems.push(BuildError::new(
                "jwt.keys",
                "no key: add a [[auth.jwt.keys]] table, or try the server out with auth.adapter = \"dev\"",
            ));
        }
        if keys.len() > MAX_KEYS {
            problems.push(BuildError::new(
                "jwt.keys",
                format!("{} keys, and at most {MAX_KEYS}", keys.len()),
            ));
        }
        keys
    }
}

fn patterns(name: &str, texts: &[String], problems: &mut Vec<BuildError>) -> Vec<Pattern> {
    let mut good = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match Pattern::parse(text) {
            Ok(pattern) => good.push(pattern),
            Err(e) => problems.push(BuildError::new(format!("jwt.{name}[{i}]"), e)),
        }
    }
    good
}

/// The keys and the rules, both made once at start.
pub struct Jwt {
    keys: Vec<Key>,
    rules: Rules,
}

impl Jwt {
    pub(super) fn new(keys: Vec<Key>, rules: Rules) -> Self {
        Self { keys, rules }
    }

    /// The whole check; [`Auth::authenticate`] only gives it a future.
    pub(super) fn check(&self, token: &str, now_ms: i64) -> Result<Identity, Refusal> {
        has_a_size(token)?;
        let (message, signature) = token.rsplit_once('.').ok_or(NOT_THREE_PARTS)?;
        let (header, claims) = message.split_once('.').ok_or(NOT_THREE_PARTS)?;
        if claims.contains('.') {
            return Err(NOT_THREE_PARTS);
        }

        let header = Header::parse(header)?;
        let mut candidates = self.candidates(&header)?;
        if !candidates.any(|key| key.verifies(message, signature)) {
            return Err(Refusal::BadSignature);
        }
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| Refusal::Malformed("its claims are not base64url"))?;
        self.rules.identity(&claims, now_ms)
    }

    /// The keys that may verify such a token: of its algorithm, and of its `kid` where both name one.
    fn candidates<'a>(&'a self, header: &'a Header) -> Result<impl Iterator<Item = &'a Key>, Refusal> {
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(Refusal::Unsigned);
        }
        // An issuer may name its key where the operator, who has a lone PEM file, did not: such a key is tried.
        let named = |key: &Key| match (&header.kid, &key.kid) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        let of_algorithm = |key: &&Key| key.algorithm.name() == header.alg;
        if !self.keys.iter().any(|key| of_algorithm(&key)) {
            return Err(Refusal::algorithm_not_allowed(&header.alg));
        }
        let candidates = self.keys.iter().filter(of_algorithm).filter(move |key| named(key));
        match &header.kid {
            Some(kid) if candidates.clone().next().is_none() => Err(Refusal::unknown_key(kid)),
            _ => Ok(candidates),
        }
    }
}

#[async_trait]
impl Auth for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    async fn authenticate(&self, token: &str, _: &Facts, now_ms: i64) -> Result<Identity, Refusal> {
        self.check(token, now_ms)
    }
}

impl Key {
    /// A signature that is no base64url is wrong too: the token was cut or changed.
    fn verifies(&self, message: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.into();
        crypto::verify(signature, message.as_bytes(), &self.verifying, algorithm).unwrap_or(false)
    }
}

/// The part of a token's header (RFC 7515) that matters here. `jku`, `jwk` and `x5u`, which offer a key, are ignored.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Header {
    fn parse(part: &str) -> Result<Self, Refusal> {
        let bytes = URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| Refusal::Malformed("its header is not base64url"))?;
        let header: Self = serde_json::from_slice(&bytes)
            .map_err(|_| Refusal::Malformed("its header is not a JSON object with an `alg`"))?;
        // RFC 7515, 4.1.11: who does not understand a critical extension must refuse, and none is understood here.
        match header.crit {
            Some(_) => Err(Refusal::Malformed("its header asks for extensions (`crit`)")),
            None => Ok(header),
        }
    }
}

const NOT_THREE_PARTS: Refusal = Refusal::Malformed("it is not three parts with a dot between");
