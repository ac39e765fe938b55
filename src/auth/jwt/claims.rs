//! From verified claims to an identity.
//!
//! Enters: the JSON of claims whose signature was verified, and the time. Leaves: the identity, or the first rule that
//! the claims break. Pure. Nobody's claims make it panic: each is read as whatever JSON it is, and then looked at.
//!
//! # Why by hand
//! jsonwebtoken's own validation asks the system's clock and doesn't say when a token expired or which audience it
//! wanted; here time is an argument, and a refusal tells its bearer what to change.

use serde::Deserialize;
use serde_json::Value;

use super::Config;
use crate::auth::Refusal;
use crate::domain::identity::{BadUser, Identity, Pattern, Topics, parse_user};
use crate::domain::revocation::MAX_TOKEN_ID_BYTES;

/// Last instant that a claim may name: the end of the year 9999, in seconds. What lies beyond is a mistake, most often
/// milliseconds, and such an `exp` would never end.
pub(super) const MAX_SECONDS: i64 = 253_402_300_799;

/// What claims must keep, made once from the configuration.
pub(in crate::auth) struct Rules {
    pub leeway_ms: i64,
    pub require_exp: bool,
    pub issuers: Vec<String>,
    pub audiences: Vec<String>,
    /// For tokens that don't say; shared by all their sessions.
    pub topics: Topics,
}

impl Rules {
    pub(super) fn new(config: &Config, topics: Topics) -> Self {
        Self {
            leeway_ms: i64::from(config.leeway_seconds) * 1000,
            require_exp: config.require_exp,
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            topics,
        }
    }

    pub(super) fn identity(&self, claims: &[u8], now_ms: i64) -> Result<Identity, Refusal> {
        let claims: Claims =
            serde_json::from_slice(claims).map_err(|_| Refusal::Malformed("its claims are not a JSON object"))?;
        let expires = self.check_times(&claims, now_ms)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        Ok(Identity {
            user: user(&claims)?,
            expires,
            token_id: token_id(&claims)?,
            issued: time(&claims.iat, "its `iat` is not a time in seconds")?,
            topics: self.topics(claims.topics)?,
            max_sessions: None,
        })
    }

    /// The end of the identity: `exp` and the leeway, so that who is let in by the leeway may also stay for it.
    fn check_times(&self, claims: &Claims, now_ms: i64) -> Result<Option<i64>, Refusal> {
        let exp = time(&claims.exp, "its `exp` is not a time in seconds")?;
        let nbf = time(&claims.nbf, "its `nbf` is not a time in seconds")?;
        if exp.is_none() && self.require_exp {
            return Err(Refusal::NoExpiry);
        }
        let expires = exp.map(|exp| exp + self.leeway_ms);
        // RFC 7519, 4.1.4: not accepted *on* or after `exp`.
        if let Some(at) = expires.filter(|at| *at <= now_ms) {
            return Err(Refusal::Expired { at, now: now_ms });
        }
        let begin = nbf.map(|nbf| nbf - self.leeway_ms);
        if let Some(from) = begin.filter(|from| *from > now_ms) {
            return Err(Refusal::NotYetValid { from, now: now_ms });
        }
        Ok(expires)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Refusal> {
        let named = |ours: &String| claims.iss.as_ref().and_then(Value::as_str) == Some(ours);
        if self.issuers.is_empty() || self.issuers.iter().any(named) {
            return Ok(());
        }
        Err(Refusal::WrongIssuer {
            expected: alternatives(&self.issuers),
        })
    }

    /// `aud` is a text or a list of texts (RFC 7519, 4.1.3); a token without it is for nobody in particular, not for us.
    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let named = |ours: &String| match &claims.aud {
            Some(Value::String(aud)) => aud == ours,
            Some(Value::Array(all)) => all.iter().any(|aud| aud.as_str() == Some(ours)),
            _ => false,
        };
        if self.audiences.is_empty() || self.audiences.iter().any(named) {
            return Ok(());
        }
        Err(Refusal::WrongAudience {
            expected: alternatives(&self.audiences),
        })
    }

    /// Each list that the token doesn't give is the configured one; an empty list gives nothing.
    fn topics(&self, claim: Option<Value>) -> Result<Topics, Refusal> {
        const WRONG: Refusal = Refusal::Malformed("its `topics` is not {\"read\": [PATTERN], \"write\": [PATTERN]}");
        let Some(claim) = claim else {
            return Ok(self.topics.clone());
        };
        let claim: TopicsClaim = serde_json::from_value(claim).map_err(|_| WRONG)?;
        let list = |given: Option<Vec<String>>, default: &[Pattern]| match given {
            None => Ok(default.to_vec()),
            Some(texts) => texts.iter().map(|text| Pattern::parse(text)).collect(),
        };
        let read = list(claim.read, self.topics.read()).map_err(|_| WRONG)?;
        let write = list(claim.write, self.topics.write()).map_err(|_| WRONG)?;
        Topics::new(read, write).map_err(|_| Refusal::Malformed("its `topics` has too many patterns"))
    }
}

/// `null` is the same as absent throughout.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    jti: Option<Value>,
    topics: Option<Value>,
}

/// Strict, since a misspelt `read` would otherwise give the defaults, which are wider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicsClaim {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

fn user(claims: &Claims) -> Result<std::sync::Arc<str>, Refusal> {
    match &claims.sub {
        None => Err(BadUser::Empty.into()),
        Some(Value::String(sub)) => Ok(parse_user(sub)?),
        Some(_) => Err(Refusal::Malformed("its `sub` is not a text")),
    }
}

fn token_id(claims: &Claims) -> Result<Option<std::sync::Arc<str>>, Refusal> {
    match &claims.jti {
        None => Ok(None),
        Some(Value::String(jti)) if jti.len() <= MAX_TOKEN_ID_BYTES => Ok(Some(jti.as_str().into())),
        Some(_) => Err(Refusal::Malformed("its `jti` is not a text of at most 128 bytes")),
    }
}

/// A NumericDate (RFC 7519, 2) in epoch milliseconds: seconds, perhaps with a fraction. Milliseconds of a year below
/// 10000 can't overflow, nor can the leeway on top.
fn time(claim: &Option<Value>, wrong: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claim else { return Ok(None) };
    let ms = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) if (0..=MAX_SECONDS).contains(&seconds) => seconds * 1000,
        (None, Some(seconds)) if (0.0..=MAX_SECONDS as f64).contains(&seconds) => (seconds * 1000.0) as i64,
        _ => return Err(Refusal::Malformed(wrong)),
    };
    Ok(Some(ms))
}

fn alternatives(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" or ")
}
