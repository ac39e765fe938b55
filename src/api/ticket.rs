//! `POST /api/ticket`: a ticket for a token, with which an `EventSource` may open `GET /sse/notify?ticket=…`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::failure::Failure;
use super::{Api, inbox};
use crate::auth::tickets::Ticket;
use crate::lifecycle::wall_clock;

pub async fn ticket(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Failure> {
    let identity = inbox::identity(&api, request.headers(), request.extensions()).await?;
    let Ticket { ticket, expires_in_ms } = api.tickets.give(&identity, wall_clock())?;
    let answer = Json(json!({"ticket": ticket, "expires_in": expires_in_ms / 1_000}));
    Ok(([(header::CACHE_CONTROL, "no-store")], answer).into_response())
}
