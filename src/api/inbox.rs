//! History, unread, viewed, delete and ack (the contract's section 3), for the token's user.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::failure::Failure;
use super::history::{Asked, Shape};
use super::{Api, MAX_BODY};
use crate::auth::{self, Refusal};
use crate::domain::envelope::Envelope;
use crate::domain::id::{MAX_NAME, name_problem};
use crate::domain::identity::Identity;
use crate::domain::kind::{NOTIFY_DELETED, NOTIFY_VIEWED};
use crate::http::{self, Unread};
use crate::lifecycle::wall_clock;
use crate::store::{Confirmation, Confirmed};
use crate::telemetry::events;

/// Confirmations that one transaction takes, and one message to the other nodes.
const AT_ONCE: usize = 500;

pub async fn history(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let user = user(&api, request.headers(), request.extensions()).await?;
    let asked = Asked::parse(request.uri(), api.config.max_page)?;
    let skip = u64::from(asked.page_num) * u64::from(asked.page_size);
    let rows = api.store.history(&user, asked.before, skip, asked.page_size).await?;
    let list: Vec<_> = rows.iter().map(|row| row.as_listed()).collect();
    Ok(match asked.shape {
        Shape::List => Json(json!({"code": 200, "data": list})),
        Shape::Page => Json(json!({"code": 200, "data": {"content": list}})),
    }
    .into_response())
}

pub async fn unread(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let user = user(&api, request.headers(), request.extensions()).await?;
    let unread = api.store.unread(&user).await?;
    Ok(Json(json!({"code": 200, "data": unread})).into_response())
}

pub async fn viewed(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let user = user(&api, request.headers(), request.extensions()).await?;
    let ids = ids(&api, request.into_body()).await?;
    let changed = api.store.mark_viewed(&user, &ids, wall_clock()).await?;
    api.events.read(&user, &changed);
    Ok(tell(&api, &user, NOTIFY_VIEWED, changed).await)
}

pub async fn delete(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let user = user(&api, request.headers(), request.extensions()).await?;
    let ids = ids(&api, request.into_body()).await?;
    let changed = api.store.delete(&user, &ids, wall_clock()).await?;
    api.events.deleted(&user, &changed);
    Ok(tell(&api, &user, NOTIFY_DELETED, changed).await)
}

/// Confirms, for sessions that can't do so themselves: those that listen to events. They stop re-sending, on whichever node they are.
pub async fn ack(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let user = user(&api, request.headers(), request.extensions()).await?;
    let mut ids = ids(&api, request.into_body()).await?;
    // What can't be an id names nothing.
    ids.retain(|id| name_problem(id).is_none());
    let mut confirmed = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let confirmations: Vec<_> = some
            .iter()
            .map(|id| Confirmation {
                user: Arc::clone(&user),
                id: id.clone(),
                look_only: false,
            })
            .collect();
        let now = wall_clock();
        let found = api.store.confirm(&confirmations, now).await?;
        for (id, found) in some.iter().zip(found) {
            if let Confirmed::First { seq, created } = found {
                events::acked(created, now);
                api.events.acked(&user, id, seq, created);
                confirmed.push(id.clone());
            }
        }
        // All of them: what had its outcome may have been sent again since, and what has no record is confirmed by this alone.
        if let Err(error) = api.topic.publish(vec![Envelope::confirmed(&user, some.to_vec())]).await {
            tracing::warn!(%error, "the user's sessions were not told of a confirmation; they send again what it named");
        }
    }
    Ok(Json(json!({"code": 200, "data": {"ids": confirmed}})).into_response())
}

/// Answers with what changed, and tells the user's sessions.
async fn tell(api: &Api, user: &str, kind: &str, changed: Vec<String>) -> Response {
    if !changed.is_empty() {
        let envelope = Envelope::change(user, kind, changed.clone(), wall_clock());
        if let Err(error) = api.topic.publish(vec![envelope]).await {
            tracing::warn!(%error, "the user's sessions were not told of a change");
        }
    }
    Json(json!({"code": 200, "data": {"ids": changed}})).into_response()
}

/// Whose token this request bears.
pub async fn user(api: &Api, headers: &HeaderMap, extensions: &Extensions) -> Result<Arc<str>, Failure> {
    Ok(identity(api, headers, extensions).await?.user)
}

/// The same, with all that the token says.
pub async fn identity(api: &Api, headers: &HeaderMap, extensions: &Extensions) -> Result<Identity, Failure> {
    let header = headers.get(header::AUTHORIZATION).ok_or(Refusal::Missing)?;
    // Not `to_str`, which takes ASCII alone: over STOMP a token is UTF-8, too.
    let token = std::str::from_utf8(header.as_bytes()).map_err(|_| Refusal::Malformed("it is not UTF-8 text"))?;
    let facts = http::facts(headers, extensions, "rest");
    let asking = api.auth.authenticate(auth::bearer(token), &facts, wall_clock());
    let limit = Duration::from_millis(api.config.ask_timeout_ms);
    let answer = tokio::time::timeout(limit, asking).await;
    Ok(answer.unwrap_or(Err(Refusal::Unavailable))?)
}

/// Reads `["ntf_1",...]`.
async fn ids(api: &Api, body: Body) -> Result<Vec<String>, Failure> {
    /// Octets that an id may take: each character escaped as a pair of surrogates, quotes, a comma, and some space.
    const ID_OCTETS: usize = MAX_NAME * 12 + 32;
    let most = api.config.max_ids;
    let too_many = || format!("has too much in it; at most {most} ids are taken (api.max_ids)");
    let limit = most.saturating_mul(ID_OCTETS).min(MAX_BODY);
    let time = Duration::from_millis(api.config.read_timeout_ms);
    let body = http::read(body, limit, time).await.map_err(|unread| match unread {
        Unread::TooLarge => Failure::too_large(too_many()),
        Unread::Late => {
            let time = api.config.read_timeout_ms;
            Failure::bad("body", format!("did not arrive within {time} ms (api.read_timeout_ms)"))
        }
        Unread::Broken(error) => Failure::bad("body", format!("broke off: {error}")),
    })?;
    let ids: Vec<String> = serde_json::from_slice(&body)
        .map_err(|error| Failure::bad("body", format!("is no JSON array of ids such as [\"ntf_1\"]: {error}")))?;
    if ids.len() > most {
        return Err(Failure::too_large(too_many()));
    }
    Ok(ids)
}
