//! Answers as JSON: receipts, refusals, and both of them for an array. The same ones go out over HTTP and over NATS.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::door::{Receipt, Refusal};
use crate::domain::notification::Code;
use crate::keys;

/// What a producer is told, whatever it goes out over.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// When another try is worth it.
    pub retry_after: Option<Duration>,
    /// JSON.
    pub body: Bytes,
    /// `field: reason`, where nothing was taken.
    pub refusal: Option<String>,
}

impl Answer {
    /// Whole seconds for `Retry-After`.
    pub fn retry_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs().max(1))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let retry = self.retry_seconds();
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, json, self.body).into_response();
        if let Some(seconds) = retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer to a single notification: 202 with the receipt, 200 with the record's word, or the refusal's status.
pub fn one(result: Result<Receipt, Refusal>) -> Answer {
    match result {
        Ok(receipt) => Answer {
            status: taken(receipt.state.is_open()),
            retry_after: None,
            body: json(&receipt),
            refusal: None,
        },
        Err(refusal) => refused(&refusal),
    }
}

/// What was taken: 202 while more is to come of it.
fn taken(is_open: bool) -> StatusCode {
    if is_open { StatusCode::ACCEPTED } else { StatusCode::OK }
}

/// The answer to an array: one item each. 202 when all were taken (200 when the record's word on all of them is known), 207 when some were, else the first refusal's status.
pub fn many(results: Vec<Result<Receipt, Refusal>>) -> Answer {
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    let refused = results.len() - accepted;
    let first = results.iter().find_map(|result| result.as_ref().err());
    let status = match (accepted, first) {
        (_, None) => taken(results.iter().flatten().any(|receipt| receipt.state.is_open())),
        (0, Some(refusal)) => status(refusal),
        _ => StatusCode::MULTI_STATUS,
    };
    let refusal = first.filter(|_| accepted == 0).map(line);
    let retry_after = results.iter().find_map(|result| match result {
        Err(Refusal::Later(after, _)) => Some(*after),
        _ => None,
    });
    let items: Vec<Value> = results
        .into_iter()
        .enumerate()
        .map(|(index, result)| match result {
            Ok(receipt) => json!(Numbered { index, receipt }),
            Err(refusal) => json!({"index": index, "state": "refused", "error": body(&refusal)}),
        })
        .collect();
    Answer {
        status,
        retry_after,
        body: json(&json!({"accepted": accepted, "refused": refused, "items": items})),
        refusal,
    }
}

/// A refusal of a whole request.
pub fn refused(refusal: &Refusal) -> Answer {
    Answer {
        status: status(refusal),
        retry_after: match refusal {
            Refusal::Later(after, _) => Some(*after),
            Refusal::Rejected(_) | Refusal::Dead { .. } => None,
        },
        body: json(&json!({"error": body(refusal)})),
        refusal: Some(line(refusal)),
    }
}

/// A request that may not be made.
pub fn unauthorized(reason: &str) -> Response {
    let error = json!({"error": {"code": "unauthorized", "field": "X-API-Key", "reason": reason}});
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static(keys::CHALLENGE))];
    (StatusCode::UNAUTHORIZED, challenge, axum::Json(error)).into_response()
}

/// A receipt of an array.
#[derive(Serialize)]
struct Numbered {
    index: usize,
    #[serde(flatten)]
    receipt: Receipt,
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("names, numbers and text are JSON")
        .into()
}

fn body(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::Rejected(rejection) => {
            json!({"code": refusal.code(), "field": rejection.field, "reason": rejection.reason})
        }
        Refusal::Later(_, reason) => json!({"code": refusal.code(), "reason": reason}),
        Refusal::Dead {
            code,
            reason,
            plugin: None,
        } => json!({"code": code, "reason": reason}),
        Refusal::Dead { code, reason, plugin } => json!({"code": code, "reason": reason, "plugin": plugin}),
    }
}

fn line(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Rejected(rejection) => rejection.to_string(),
        Refusal::Later(_, reason) => reason.clone(),
        Refusal::Dead {
            reason, plugin: None, ..
        } => reason.clone(),
        Refusal::Dead {
            reason,
            plugin: Some(plugin),
            ..
        } => format!("{plugin}: {reason}"),
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
        Refusal::Dead { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
