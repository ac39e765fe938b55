//! History, unread, viewed and delete (the contract's section 3), for the token's user.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use crate::auth::{self, Refusal};
use crate::domain::envelope::Envelope;
use crate::domain::kind::{NOTIFY_DELETED, NOTIFY_VIEWED};
use crate::lifecycle::wall_clock;
use crate::store::StoreError;

/// `?created=MS&page_num=0&page_size=20`, and `shape=page` for the answer of an older release (`data.content`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    created: Option<i64>,
    #[serde(default)]
    page_num: u32,
    page_size: Option<u32>,
    #[serde(default)]
    shape: Shape,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    #[default]
    List,
    Page,
}

pub async fn history(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<HistoryQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let user = user(&api, &headers).await?;
    let Query(query) = query.map_err(|error| Failure::bad("query", error.body_text()))?;
    let most = api.config.max_page;
    let size = query.page_size.unwrap_or(20);
    if !(1..=most).contains(&size) {
        return Err(Failure::bad(
            "page_size",
            format!("must lie between 1 and {most} (api.max_page)"),
        ));
    }
    let skip = u64::from(query.page_num) * u64::from(size);
    let before = query.created.unwrap_or(i64::MAX);
    let rows = api.store.history(&user, before, skip, size).await?;
    let list: Vec<_> = rows.iter().map(|row| row.as_listed()).collect();
    Ok(match query.shape {
        Shape::List => Json(json!({"code": 200, "data": list})),
        Shape::Page => Json(json!({"code": 200, "data": {"content": list}})),
    }
    .into_response())
}

pub async fn unread(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Failure> {
    let user = user(&api, &headers).await?;
    let unread = api.store.unread(&user).await?;
    Ok(Json(json!({"code": 200, "data": {"unread": unread}})).into_response())
}

pub async fn viewed(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    let user = user(&api, &headers).await?;
    let ids = ids(&api, &body)?;
    let changed = api.store.mark_viewed(&user, &ids, wall_clock()).await?;
    Ok(tell(&api, &user, NOTIFY_VIEWED, changed).await)
}

pub async fn delete(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    let user = user(&api, &headers).await?;
    let ids = ids(&api, &body)?;
    let changed = api.store.delete(&user, &ids, wall_clock()).await?;
    Ok(tell(&api, &user, NOTIFY_DELETED, changed).await)
}

/// Answers with what changed, and tells the user's sessions.
async fn tell(api: &Api, user: &str, kind: &str, changed: Vec<String>) -> Response {
    if !changed.is_empty() {
        let envelope = Envelope::change(user, kind, changed.clone(), wall_clock());
        if let Err(error) = api.topic.publish(envelope).await {
            tracing::warn!(%error, "the user's sessions were not told of a change");
        }
    }
    Json(json!({"code": 200, "data": {"ids": changed}})).into_response()
}

/// Whose token this request bears.
async fn user(api: &Api, headers: &HeaderMap) -> Result<Arc<str>, Failure> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = token else {
        return Err(Refusal::Missing.into());
    };
    let asking = api.auth.authenticate(auth::bearer(token), wall_clock());
    let limit = Duration::from_millis(api.config.ask_timeout_ms);
    let identity = tokio::time::timeout(limit, asking)
        .await
        .unwrap_or(Err(Refusal::Unavailable))?;
    Ok(identity.user)
}

fn ids(api: &Api, body: &[u8]) -> Result<Vec<String>, Failure> {
    let ids: Vec<String> = serde_json::from_slice(body)
        .map_err(|error| Failure::bad("body", format!("is no JSON array of ids such as [\"ntf_1\"]: {error}")))?;
    let most = api.config.max_ids;
    if ids.len() > most {
        return Err(Failure::bad(
            "body",
            format!("has {} ids; at most {most} are taken (api.max_ids)", ids.len()),
        ));
    }
    Ok(ids)
}

/// A request that can't be answered as asked.
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    field: Option<&'static str>,
    reason: String,
}

impl Failure {
    fn bad(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid-field",
            field: Some(field),
            reason: reason.into(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: if refusal.is_retryable() {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::UNAUTHORIZED
            },
            code: refusal.code(),
            field: Some("Authorization"),
            reason: refusal.to_string(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            field: None,
            reason: error.to_string(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = json!({"code": self.code, "field": self.field, "reason": self.reason});
        let body = Json(json!({"code": self.status.as_u16(), "error": error}));
        let mut response = (self.status, body).into_response();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
