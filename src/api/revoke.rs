//! `POST /api/sessions/revoke`: takes tokens back, one by its `jti` or all that a user was given before a moment.
//!
//! It is in the record before the answer: a node that does not hear the bell finds it there, and so does one that starts later.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use crate::domain::identity::parse_user;
use crate::domain::revocation::{MAX_TOKEN_ID_BYTES, Revocation, Target};
use crate::domain::time::EpochMs;
use crate::http::{self, Unread};
use crate::lifecycle::wall_clock;
use crate::telemetry::events;

/// Largest body.
const MAX_BODY: usize = 4_096;
/// Nothing is remembered for longer.
const MAX_KEPT_MS: EpochMs = 100 * 366 * 24 * 3600 * 1000;

/// Earlier times (before September 2001) are seconds that were meant as milliseconds.
const LEAST_MS: EpochMs = 1_000_000_000_000;
/// By how much the caller's clock may be ahead.
const CLOCKS_MS: EpochMs = 300_000;

/// What may be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token_id: Option<String>,
    user: Option<String>,
    issued_before: Option<EpochMs>,
    until: Option<EpochMs>,
}

pub async fn revoke(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let by = api.admin(&parts.headers, ("revoking", "revoke"))?;
    let asked = read(&api, body).await?;
    let revocation = asked.accept(wall_clock(), api.config.revocation_seconds)?;
    let most = api.config.max_revocations;
    if api.revocations.count() >= most {
        let reason =
            format!("{most} revocations are kept already (api.max_revocations); say `until` when the token ends");
        return Err(Failure::unavailable(reason));
    }
    api.store.revoke(&revocation).await?;
    let told = api.topic.revoke(&revocation).await;
    if let Err(error) = &told {
        tracing::warn!(%error, "the other nodes were not told of a revocation; they find it in the record");
    }
    let (token_id, user) = match &revocation.target {
        Target::Token(jti) => (Some(jti.as_str()), None),
        Target::User { user, .. } => (None, Some(user.as_str())),
    };
    events::revoked(by, token_id, user, told.is_ok());
    Ok(Json(json!({"code": 200, "data": said(&revocation)})).into_response())
}

impl Asked {
    fn accept(self, now: EpochMs, kept_seconds: u64) -> Result<Revocation, Failure> {
        let until = self.until.unwrap_or(now + (kept_seconds * 1_000) as EpochMs);
        if !(now + 1..=now + MAX_KEPT_MS).contains(&until) {
            let wanted = "must lie ahead, in epoch milliseconds, and no more than 100 years";
            return Err(Failure::bad("until", wanted));
        }
        let target = match (self.token_id, self.user) {
            (Some(jti), None) => {
                if jti.is_empty() || jti.len() > MAX_TOKEN_ID_BYTES || jti.contains('\0') {
                    let reason = format!("must be a token's `jti`, a text of 1 to {MAX_TOKEN_ID_BYTES} bytes");
                    return Err(Failure::bad("token_id", reason));
                }
                if self.issued_before.is_some() {
                    return Err(Failure::bad("issued_before", "goes with `user` only"));
                }
                Target::Token(jti)
            }
            (None, Some(user)) => {
                parse_user(&user).map_err(|bad| Failure::bad("user", bad.to_string()))?;
                let issued_before = self.issued_before.unwrap_or(now);
                if !(LEAST_MS..=now + CLOCKS_MS).contains(&issued_before) {
                    let wanted = "must be a time in epoch milliseconds (not seconds) that is not ahead";
                    return Err(Failure::bad("issued_before", wanted));
                }
                Target::User { user, issued_before }
            }
            _ => return Err(Failure::bad("body", "needs exactly one of `token_id` and `user`")),
        };
        Ok(Revocation {
            target,
            created: now,
            until,
        })
    }
}

async fn read(api: &Api, body: Body) -> Result<Asked, Failure> {
    let time = api.config.read_timeout_ms;
    let body = http::read(body, MAX_BODY, Duration::from_millis(time))
        .await
        .map_err(|unread| match unread {
            Unread::TooLarge => Failure::too_large(format!("is larger than {MAX_BODY} bytes")),
            Unread::Late => Failure::bad("body", format!("did not arrive within {time} ms (api.read_timeout_ms)")),
            Unread::Broken(error) => Failure::bad("body", format!("broke off: {error}")),
        })?;
    serde_json::from_slice(&body).map_err(|error| {
        let wanted = r#"is not {"token_id": JTI} or {"user": NAME, "issued_before": MS}"#;
        Failure::bad("body", format!("{wanted}: {error}"))
    })
}

/// What it covers, as it was understood.
fn said(revocation: &Revocation) -> Value {
    let until = revocation.until;
    match &revocation.target {
        Target::Token(jti) => json!({"token_id": jti, "until": until}),
        Target::User { user, issued_before } => json!({"user": user, "issued_before": issued_before, "until": until}),
    }
}
