//! The protocol of attached plugins, as files for whoever writes one: `GET /api/plugins/schema` and what it lists.
//!
//! They are the program's own and no secret: everybody may read them, and keep them for an hour.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::attach::schema;

const CACHED: &str = "public, max-age=3600";

pub async fn index() -> Response {
    served("application/json", schema::index().to_string())
}

pub async fn one(Path(file): Path<String>) -> Response {
    match file.strip_suffix(".json").and_then(schema::text) {
        Some(text) => served("application/schema+json", text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn served(mime: &'static str, text: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, mime),
        (header::CACHE_CONTROL, CACHED),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
