//! Who gets a stream, and what is answered to who doesn't.

use reqwest::Method;

use crate::harness::{Answer, Server, Stream, Tab, eventually};

const JWT: [(&str, &str); 3] = [
    ("auth.adapter", "jwt"),
    ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
    ("edge.origins", "[\"https://shop.example\"]"),
];

async fn strict() -> Server {
    Server::launch(&JWT, &[("TOKEN_SECRET", "a secret of thirty-two bytes, ok?")]).await
}

fn said(answer: &Answer) -> (u16, String, String) {
    let error = &answer.json()["error"];
    let text = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
    assert_eq!(answer.json()["code"], answer.status, "{}", answer.text);
    (answer.status, text("code"), text("field"))
}

fn expected(status: u16, code: &str, field: &str) -> (u16, String, String) {
    (status, code.into(), field.into())
}

#[tokio::test]
async fn the_head_says_that_it_is_a_stream_which_nobody_may_keep_or_gather() {
    let server = Server::start().await;
    let stream = Stream::open(&server, "Bearer test1", None).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("connection", "close"),
    ] {
        assert_eq!(stream.header(name), Some(value), "{name}");
    }
    assert!((1_000..=6_000).contains(&stream.retry.expect("when to come back")));
}

#[tokio::test]
async fn who_is_not_known_is_told_by_the_status() {
    let server = strict().await;
    let ask = async |headers: &[(&str, &str)]| server.get("/sse/notify", headers).await;
    let answer = ask(&[]).await;
    assert_eq!(said(&answer), expected(401, "token-missing", "Authorization"));
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    let answer = ask(&[("Authorization", "Bearer nonsense")]).await;
    assert_eq!(said(&answer), expected(401, "token-malformed", "Authorization"));
    let answer = ask(&[("Authorization", "x"), ("Origin", "https://evil.example")]).await;
    assert_eq!(said(&answer), expected(403, "forbidden", "Origin"));
    assert_eq!(server.metric("quick_notify_sessions").await, 0.0);
}

#[tokio::test]
async fn pages_of_listed_origins_may_send_the_headers_that_it_takes() {
    let server = strict().await;
    let headers = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization,last-event-id"),
    ];
    let answer = server.request(Method::OPTIONS, "/sse/notify", &headers, "").await;
    let allowed = answer.headers["access-control-allow-headers"].to_str().expect("text");
    assert!(
        allowed.contains("authorization") && allowed.contains("last-event-id"),
        "{allowed}"
    );
    assert_eq!(answer.headers["access-control-allow-origin"], "https://shop.example");
}

#[tokio::test]
async fn a_bad_last_event_id_is_named() {
    let server = Server::start().await;
    for bad in ["x", "-1", "+1", "1.5", "99999999999999999999"] {
        let answer = server
            .get("/sse/notify", &[("Authorization", "test1"), ("Last-Event-ID", bad)])
            .await;
        assert_eq!(said(&answer), expected(400, "invalid-field", "Last-Event-ID"), "{bad}");
        let path = format!("/sse/notify?last_event_id={}", bad.replace('+', "%2B"));
        let answer = server.get(&path, &[("Authorization", "test1")]).await;
        assert_eq!(said(&answer), expected(400, "invalid-field", "last_event_id"), "{bad}");
    }
    // The header is what the browser saw last; the URL is from when the page was opened.
    for text in ["one", "two", "three"] {
        server.notify("test1", text).await;
    }
    super::stored(&server, "test1", 3).await;
    let path = "/sse/notify?last_event_id=1";
    let headers = [("Authorization", "test1"), ("Last-Event-ID", "2")];
    let mut stream = Stream::at(&server, path, &headers).await.expect("a stream");
    let ids: Vec<_> = [stream.told().await, stream.told().await, stream.told().await]
        .iter()
        .map(|event| event.id)
        .collect();
    assert_eq!(ids, [None, None, Some(3)], "unconfirmed, and behind 2");
}

/// A URL ends in the logs of every proxy on the way.
#[tokio::test]
async fn a_token_in_a_url_is_refused_everywhere() {
    let server = Server::start().await;
    let paths = [
        "/sse/notify",
        "/stomp-ws",
        "/stomp-ws/websocket",
        "/api/notify/unread",
        "/api/notify/history",
        "/api/about",
    ];
    for path in paths {
        for name in ["token", "access_token", "authorization", "jwt", "Token", "%74oken"] {
            let answer = server
                .get(&format!("{path}?a=b&{name}=test1"), &[("Authorization", "test1")])
                .await;
            let known = if name.to_lowercase().ends_with("oken") && !name.contains('_') {
                "token"
            } else {
                name
            };
            assert_eq!(said(&answer), expected(400, "token-in-query", known), "{path} {name}");
            assert!(!answer.text.contains("test1"), "{}", answer.text);
            assert!(
                answer.text.contains("Authorization"),
                "it names the alternative: {}",
                answer.text
            );
        }
    }
    let answer = server.get("/sse/notify?token=test1", &[]).await;
    assert!(answer.refusal().contains("POST /api/ticket"), "{}", answer.refusal());
    // The page itself is nobody's door.
    assert_eq!(server.get("/?token=x", &[]).await.status, 200);
}

#[tokio::test]
async fn a_server_may_be_told_to_take_a_token_from_the_url_of_a_stream_and_of_nothing_else() {
    let server = Server::with(&[("edge.query_token", "true")]).await;
    let mut stream = Stream::at(&server, "/sse/notify?token=test1", &[])
        .await
        .expect("a stream");
    let id = server.notify("test1", "hello").await;
    assert_eq!(stream.next().await, (id, 1));
    for path in [
        "/sse/notify?jwt=test1",
        "/stomp-ws?token=test1",
        "/api/notify/unread?token=test1",
    ] {
        let answer = server.get(path, &[("Authorization", "test1")]).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (400, Some("token-in-query")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn streams_count_among_a_users_sessions_and_the_eleventh_is_refused() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..9 {
        streams.push(Stream::open(&server, "test1", None).await);
    }
    let _tab = Tab::connect(&server, "test1").await;
    let ask = async || server.get("/sse/notify", &[("Authorization", "test1")]).await;
    assert_eq!(said(&ask().await), expected(429, "too-many-sessions", "-"));
    assert_eq!(server.metric("quick_notify_sessions").await, 10.0);
    streams.pop();
    // One that went away is noticed without a word to it.
    eventually("a free place", async || {
        server.metric("quick_notify_sessions").await == 9.0
    })
    .await;
    Stream::open(&server, "test1", None).await;
}

#[tokio::test]
async fn without_a_place_it_is_to_come_again() {
    let server = Server::with(&[("edge.max_connections", "1")]).await;
    let _stream = Stream::open(&server, "test1", None).await;
    let answer = server.get("/sse/notify", &[("Authorization", "test2")]).await;
    assert_eq!(said(&answer), expected(503, "unavailable", "-"));
    assert_eq!(answer.headers["retry-after"], "1");
    let refused = r#"quick_notify_sessions_refused_total{reason="no-place"} 1"#;
    assert!(server.metrics().await.contains(refused));
}

#[tokio::test]
async fn who_comes_while_too_many_do_is_told_when_to_come_back() {
    let admission = [
        ("edge.admission.per_second", "1"),
        ("edge.admission.burst", "1"),
        ("edge.admission.max_waiting", "0"),
    ];
    let server = Server::with(&admission).await;
    let _stream = Stream::open(&server, "test1", None).await;
    let answer = server.get("/sse/notify", &[("Authorization", "test2")]).await;
    assert_eq!(said(&answer), expected(503, "unavailable", "-"));
    let seconds: u64 = answer.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!(seconds >= 1, "{seconds}");
}

/// A stream is a session, and takes no place from requests.
#[tokio::test]
async fn open_streams_leave_the_places_of_requests_free() {
    let server = Server::with(&[("http.max_connections", "2")]).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Stream::open(&server, "test1", None).await);
    }
    let id = server.notify("test1", "hello").await;
    for stream in &mut streams {
        assert_eq!(stream.next().await, (id.clone(), 1));
    }
}
