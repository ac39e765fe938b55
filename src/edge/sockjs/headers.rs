//! What answers share: who may read them, for how long they are kept, and the cookie for load balancers.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};

const YEAR: Duration = Duration::from_secs(31_536_000);
const COOKIE: &str = "JSESSIONID=";
const COOKIE_MOST: usize = 128;

/// An answer that is never kept, to a request with these headers.
pub fn fresh(status: StatusCode, asked: &HeaderMap) -> Response<Body> {
    never_kept(bare(status), asked)
}

/// The same of an answer that somebody else has made.
pub fn never_kept(mut answer: Response<Body>, asked: &HeaderMap) -> Response<Body> {
    let never = HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0");
    answer.headers_mut().insert(header::CACHE_CONTROL, never);
    share(answer.headers_mut(), asked);
    answer
}

/// An answer that may be kept for a year.
pub fn lasting(status: StatusCode) -> Response<Body> {
    let mut answer = bare(status);
    let year = format!("public, max-age={}", YEAR.as_secs());
    insert(answer.headers_mut(), header::CACHE_CONTROL, &year);
    let expires = httpdate::fmt_http_date(SystemTime::now() + YEAR);
    insert(answer.headers_mut(), header::EXPIRES, &expires);
    answer
}

/// The answer to what a browser asks before a request to another origin.
pub fn preflight(methods: &'static str, asked: &HeaderMap) -> Response<Body> {
    let mut answer = lasting(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    insert(headers, header::ACCESS_CONTROL_MAX_AGE, &YEAR.as_secs().to_string());
    share(headers, asked);
    answer
}

/// The answer to a method that is not served here.
pub fn wrong_method(methods: &'static str) -> Response<Body> {
    let mut answer = bare(StatusCode::METHOD_NOT_ALLOWED);
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

pub fn bare(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    let nosniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// Gives the cookie back, or a first one.
pub fn cookie(asked: &HeaderMap) -> String {
    let sent = asked
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok());
    let own = sent
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix(COOKIE))
        .filter(|value| value.len() <= COOKIE_MOST && value.bytes().all(|letter| letter.is_ascii_graphic()));
    format!("{COOKIE}{}; path=/", own.unwrap_or("dummy"))
}

/// Lets the page that asked read the answer; whether it may ask at all was decided before.
fn share(headers: &mut HeaderMap, asked: &HeaderMap) {
    match asked.get(header::ORIGIN) {
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // Not for a cookie that says who somebody is: clients send theirs along for load balancers, and a browser then asks for this.
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        None => {
            let any = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        }
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        && !wanted.is_empty()
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
}

pub fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
