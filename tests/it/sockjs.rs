//! SockJS, rule by rule (protocol 0.3.3), by subject: first the protocol on the services that echo, then what the sessions of this product make of
//! it, then those who mean no good.

mod bounds;
mod client;
mod closing;
mod cookies;
mod delay;
mod encoding;
mod foreign;
mod greeting;
mod htmlfile;
mod iframe;
mod info;
mod jsonp;
mod keepalive;
mod live;
mod places;
mod stomp;
mod streaming;
mod urls;
mod websocket;
mod xhr;

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;

use self::live::Live;
use crate::harness::{Answer, Server};

/// The services that echo.
const ECHO: &str = "/echo";
const CLOSE: &str = "/close";
const ENDPOINT: &str = "/stomp-ws";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const NEVER_KEPT: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// The path of a session that nobody has opened.
fn fresh(base: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (run, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{base}/000/session-{run}-{count}")
}

/// One poll: its status, 200, and its text.
async fn poll(server: &Server, session: &str) -> String {
    let answer = server.post(&format!("{session}/xhr"), &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// A poll that goes on; it is there once this returns, or its answer is on the way.
async fn poll_begun(server: &Server, session: &str) -> Live {
    Live::asked(server.address(), "POST", &format!("{session}/xhr"), &[], "").await
}

/// Sends an array of messages.
async fn send(server: &Server, session: &str, messages: &str) {
    let answer = server
        .post(&format!("{session}/xhr_send"), &[], messages.to_owned())
        .await;
    assert_eq!((answer.status, &*answer.text), (204, ""), "{messages}");
}

/// Opens a session by a poll.
async fn open(server: &Server, base: &str) -> String {
    let session = fresh(base);
    assert_eq!(poll(server, &session).await, "o\n");
    session
}

/// A response that goes on, from its head.
async fn stream(server: &Server, path: &str) -> Live {
    let method = if path.ends_with("xhr_streaming") { "POST" } else { "GET" };
    let live = Live::open(server.address(), method, path, &[], "").await;
    assert_eq!(live.status, 200);
    live
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().expect("headers are text"))
}

/// The media type, whatever spaces are in it.
fn mime(answer: &Answer) -> String {
    header(answer, "content-type").replace(' ', "")
}

fn is_never_kept(answer: &Answer) {
    assert_eq!(header(answer, "cache-control"), NEVER_KEPT);
    assert_eq!((header(answer, "expires"), header(answer, "last-modified")), ("", ""));
}

/// May be kept for four months at least.
fn is_kept(answer: &Answer) {
    let kept = header(answer, "cache-control");
    let age = kept.split_once("max-age=").expect("an age").1;
    assert!(
        kept.contains("public") && age.parse::<u64>().expect("seconds") >= 10_000_000,
        "{kept}"
    );
    assert!(!header(answer, "expires").is_empty());
    assert_eq!(header(answer, "last-modified"), "");
}

/// May be read by the page that asked, with its cookies; by any where it didn't say who it is.
fn is_shared(answer: &Answer, origin: Option<&str>) {
    let (allowed, credentials) = (
        header(answer, "access-control-allow-origin"),
        header(answer, "access-control-allow-credentials"),
    );
    match origin {
        Some(origin) => assert_eq!((allowed, credentials), (origin, "true")),
        None => assert_eq!((allowed, credentials), ("*", "")),
    }
}

/// What browsers ask before they ask: for each origin the answer that lets them.
async fn lets_ask(server: &Server, path: &str, methods: &str) {
    for origin in ["http://shop.example", "null"] {
        let asked = [("Origin", origin), ("Access-Control-Request-Method", methods)];
        let answer = server.request(Method::OPTIONS, path, &asked, "").await;
        assert_eq!((answer.status, &*answer.text), (204, ""), "{path}");
        is_kept(&answer);
        is_shared(&answer, Some(origin));
        let age: u64 = header(&answer, "access-control-max-age").parse().expect("seconds");
        assert!(age > 1_000_000, "{age}");
        let allowed = header(&answer, "access-control-allow-methods");
        for method in methods.split(", ") {
            assert!(
                allowed.split(", ").any(|one| one == method),
                "{path}: {method} in {allowed}"
            );
        }
    }
}
