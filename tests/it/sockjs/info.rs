//! `/info`: what the service offers.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use super::*;

#[tokio::test]
async fn it_says_what_there_is() {
    let server = Server::start().await;
    let answer = server.get("/echo/info", &[("Origin", "http://shop.example")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(mime(&answer), "application/json;charset=UTF-8");
    assert_eq!(header(&answer, "set-cookie"), "");
    is_never_kept(&answer);
    is_shared(&answer, Some("http://shop.example"));
    let mut info = answer.json();
    let entropy = info["entropy"].take();
    assert!(entropy.as_u64().is_some_and(|entropy| entropy < 1 << 32), "{entropy}");
    let said = json!({"websocket": true, "origins": ["*:*"], "cookie_needed": false, "entropy": null});
    assert_eq!(info, said);
    for (service, name, expected) in [
        ("/disabled_websocket_echo", "websocket", false),
        ("/cookie_needed_echo", "cookie_needed", true),
        ("/stomp-ws", "websocket", true),
    ] {
        let info = server.get(&format!("{service}/info"), &[]).await;
        is_shared(&info, None);
        assert_eq!(info.json()[name], expected, "{service}");
    }
}

#[tokio::test]
async fn its_entropy_is_another_each_time() {
    let server = Server::start().await;
    let mut seen = HashSet::new();
    for _ in 0..20 {
        seen.insert(server.get("/echo/info", &[]).await.json()["entropy"].as_u64());
    }
    // Twenty numbers of 32 bits: two that are the same would come by chance once in twenty million runs.
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn pages_of_other_origins_may_ask() {
    let server = Server::start().await;
    lets_ask(&server, "/echo/info", "OPTIONS, GET").await;
    // A page from a file: its origin is the word null, and a star would not do with cookies.
    let asked = [("Origin", "null"), ("Access-Control-Request-Method", "POST")];
    let answer = server.request(Method::OPTIONS, "/echo/info", &asked, "").await;
    assert_eq!(header(&answer, "access-control-allow-origin"), "null");
}
