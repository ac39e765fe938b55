//! Requests that can't be answered as asked: a status, and JSON that names the field and the reason.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::auth::Refusal;
use crate::auth::tickets::NoTickets;
use crate::http;
use crate::keys::{self, NoKey};
use crate::store::StoreError;
use crate::topic::TopicError;

/// A request that can't be answered as asked.
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    field: Option<String>,
    reason: String,
}

impl Failure {
    pub fn bad(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid-field",
            field: Some(field.into()),
            reason: reason.into(),
        }
    }

    pub fn forbidden(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            field: Some(field.into()),
            reason: reason.into(),
        }
    }

    pub fn not_found(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not-found",
            field: Some(field.into()),
            reason: reason.into(),
        }
    }

    pub fn too_large(reason: String) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "too-large",
            field: Some("body".into()),
            reason,
        }
    }

    pub fn unavailable(reason: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            field: None,
            reason,
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
            field: Some("Authorization".into()),
            reason: refusal.to_string(),
        }
    }
}

impl From<NoKey> for Failure {
    fn from(NoKey(reason): NoKey) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            field: Some("X-API-Key".into()),
            reason,
        }
    }
}

impl From<NoTickets> for Failure {
    fn from(none: NoTickets) -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            code: "not-configured",
            field: None,
            reason: none.to_string(),
        }
    }
}

impl From<TopicError> for Failure {
    fn from(error: TopicError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let challenge = match self.field.as_deref() {
            Some("Authorization") => "Bearer",
            _ => keys::CHALLENGE,
        };
        let mut response = http::error(self.status, self.code, self.field.as_deref(), &self.reason);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
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
