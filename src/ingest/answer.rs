//! Answers as JSON: receipts, refusals, and both of them for an array.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::door::{Receipt, Refusal};
use crate::domain::notification::Code;

/// The answer to a single notification: 202 with the receipt, or the refusal's status.
pub fn one(result: Result<Receipt, Refusal>) -> Response {
    match result {
        Ok(receipt) => (StatusCode::ACCEPTED, Json(receipt)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// The answer to an array: one item each. 202 when all were taken, 207 when some were, else the first refusal's status.
pub fn many(results: Vec<Result<Receipt, Refusal>>) -> Response {
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    let refused = results.len() - accepted;
    let first = results.iter().find_map(|result| result.as_ref().err());
    let status = match (accepted, first) {
        (_, None) => StatusCode::ACCEPTED,
        (0, Some(refusal)) => status(refusal),
        _ => StatusCode::MULTI_STATUS,
    };
    let retry = results.iter().find_map(|result| match result {
        Err(Refusal::Later(after, _)) => Some(*after),
        _ => None,
    });
    let items: Vec<Value> = results
        .into_iter()
        .enumerate()
        .map(|(index, result)| match result {
            Ok(receipt) => {
                json!({"index": index, "id": receipt.id, "state": receipt.state, "durability": receipt.durability})
            }
            Err(refusal) => json!({"index": index, "state": "refused", "error": body(&refusal)}),
        })
        .collect();
    let body = json!({"accepted": accepted, "refused": refused, "items": items});
    with_retry((status, Json(body)).into_response(), retry)
}

/// A refusal of a whole request.
pub fn refused(refusal: &Refusal) -> Response {
    let retry = match refusal {
        Refusal::Later(after, _) => Some(*after),
        Refusal::Rejected(_) => None,
    };
    let answer = (status(refusal), Json(json!({"error": body(refusal)}))).into_response();
    with_retry(answer, retry)
}

/// A request that may not be made.
pub fn unauthorized(reason: &str) -> Response {
    let error = json!({"error": {"code": "unauthorized", "field": "X-API-Key", "reason": reason}});
    (StatusCode::UNAUTHORIZED, Json(error)).into_response()
}

fn body(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::Rejected(rejection) => {
            json!({"code": refusal.code(), "field": rejection.field, "reason": rejection.reason})
        }
        Refusal::Later(_, reason) => json!({"code": refusal.code(), "reason": reason}),
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Rejected(rejection) => match rejection.code {
            Code::Conflict => StatusCode::CONFLICT,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        },
        Refusal::Later(..) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn with_retry(mut answer: Response, after: Option<Duration>) -> Response {
    if let Some(after) = after {
        let seconds = after.as_secs().max(1);
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
