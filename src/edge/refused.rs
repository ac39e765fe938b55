//! A request that opens no session, and what is answered instead.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::auth::Refusal;
use crate::http;
use crate::session::{Disconnect, Reason};

#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    code: &'static str,
    field: Option<&'static str>,
    reason: Cow<'static, str>,
    /// When the same request may do better, in milliseconds.
    retry_after: u32,
}

/// Where nothing better is known.
const SOON_MS: u32 = 1_000;

impl Refused {
    pub fn bad(code: &'static str, field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            field: Some(field),
            reason: reason.into(),
            retry_after: SOON_MS,
        }
    }

    pub fn forbidden(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            field: Some(field),
            reason: reason.into(),
            retry_after: SOON_MS,
        }
    }

    /// The same request may do better in a moment.
    pub fn later(code: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code,
            field: None,
            reason: reason.into(),
            retry_after: SOON_MS,
        }
    }

    /// A session ended before it was open; `field` is where its client said who it is.
    pub fn by(end: Disconnect, field: &'static str) -> Self {
        let (status, field) = match end.reason {
            Reason::Token(code) if code == Refusal::Unavailable.code() => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(field))
            }
            Reason::Token(_) => (StatusCode::UNAUTHORIZED, Some(field)),
            Reason::TooManySessions => (StatusCode::TOO_MANY_REQUESTS, None),
            _ => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        Self {
            status,
            code: end.reason.code(),
            field,
            reason: end.detail,
            retry_after: end.retry_after.unwrap_or(SOON_MS),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = http::error(self.status, self.code, self.field, &self.reason);
        let said = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE => {
                Some((header::RETRY_AFTER, self.retry_after.div_ceil(1_000).max(1).into()))
            }
            _ => None,
        };
        if let Some((name, value)) = said {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
