//! `GET /api/presence?user=a&user=b`: who is online, with how many sessions, anywhere in the cluster.
//!
//! Producers ask with their key about anybody; a user asks with its token about itself, and need not say `user`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::{Extensions, HeaderMap, Uri, header};
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use super::inbox;
use crate::domain::id::name_problem;
use crate::topic::TopicError;

pub async fn presence(State(api): State<Arc<Api>>, request: Request) -> Result<Json<Value>, Failure> {
    let users = asked(request.uri(), api.config.max_users)?;
    let users = allowed(&api, request.headers(), request.extensions(), users).await?;
    let names: Vec<&str> = users.iter().map(|user| &**user).collect();
    let limit = Duration::from_millis(api.config.ask_timeout_ms);
    let late = || TopicError::Unavailable("it did not answer in time (api.ask_timeout_ms)".into());
    let counts = tokio::time::timeout(limit, api.topic.present(&names))
        .await
        .unwrap_or_else(|_| Err(late()))?;
    let users: Vec<_> = users
        .iter()
        .zip(counts)
        .map(|(user, sessions)| json!({"user": user, "online": sessions > 0, "sessions": sessions}))
        .collect();
    Ok(Json(json!({"users": users})))
}

/// Who is asked about, in the order of the request.
fn asked(uri: &Uri, most: usize) -> Result<Vec<String>, Failure> {
    let Query(said) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Failure::bad("query", "is not made of NAME=VALUE, joined by &"))?;
    let mut users = Vec::new();
    for (name, value) in said {
        match &*name {
            "user" => match name_problem(&value) {
                None => users.push(value),
                Some(reason) => return Err(Failure::bad("user", reason)),
            },
            "_" => {}
            unknown => {
                let name: String = unknown.chars().take(64).collect();
                return Err(Failure::bad(name, "is not known here; known: user"));
            }
        }
    }
    if users.len() > most {
        let reason = format!(
            "stands {} times; at most {most} are answered (api.max_users)",
            users.len()
        );
        return Err(Failure::bad("user", reason));
    }
    Ok(users)
}

/// The users that the caller may ask about: all, or himself.
async fn allowed(
    api: &Api,
    headers: &HeaderMap,
    extensions: &Extensions,
    users: Vec<String>,
) -> Result<Vec<String>, Failure> {
    let by_token = headers.contains_key(header::AUTHORIZATION) && !headers.contains_key("x-api-key");
    match api.keys.caller(headers, api.open, "asking who is online") {
        Ok(_) if !users.is_empty() => return Ok(users),
        Err(no_key) if !by_token => return Err(no_key.into()),
        _ if !by_token => {
            return Err(Failure::bad(
                "user",
                "is missing; say whom you ask about, as in ?user=alice",
            ));
        }
        _ => {}
    }
    let own = inbox::user(api, headers, extensions).await?;
    if users.iter().any(|user| **user != *own) {
        return Err(Failure::forbidden(
            "user",
            "a user's token is good for asking about that user; about others producers ask, with X-API-Key",
        ));
    }
    Ok(if users.is_empty() { vec![own.to_string()] } else { users })
}
