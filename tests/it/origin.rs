//! Pages of other origins: those that are listed may connect and call the API, others may not.

use reqwest::Method;

use crate::harness::{Answer, Server};

const SHOP: &str = "https://shop.example";
const EVIL: &str = "https://evil.example";

async fn strict() -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", r#"[{secret_env="ORIGIN_TEST_SECRET"}]"#),
        ("edge.origins", r#"["https://shop.example"]"#),
    ];
    let environment = [("ORIGIN_TEST_SECRET", "a secret of more than thirty-two bytes")];
    Server::launch(&settings, &environment).await
}

async fn upgrade(server: &Server, origin: &str) -> u16 {
    let headers = [
        ("Origin", origin),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    server.get("/stomp-ws", &headers).await.status
}

async fn preflight(server: &Server, origin: &str) -> Option<String> {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let answer = server
        .request(Method::OPTIONS, "/api/notify/delete", &headers, "")
        .await;
    allowed(&answer)
}

fn allowed(answer: &Answer) -> Option<String> {
    let header = answer.headers.get("access-control-allow-origin")?;
    header.to_str().ok().map(str::to_owned)
}

#[tokio::test]
async fn only_listed_origins_may_connect_and_call() {
    let server = strict().await;
    let own = server.url();
    assert_eq!(upgrade(&server, SHOP).await, 101);
    assert_eq!(upgrade(&server, &own).await, 101, "a page that this server served");
    assert_eq!(upgrade(&server, EVIL).await, 403);
    assert_eq!(upgrade(&server, "null").await, 403);
    let refused = r#"quick_notify_sessions_refused_total{reason="origin"} 2"#;
    assert!(server.metrics().await.contains(refused));
    assert_eq!(preflight(&server, SHOP).await.as_deref(), Some(SHOP));
    assert_eq!(preflight(&server, EVIL).await, None);
    // The answer itself can be read by the shop's page, too: here that its token is missing.
    let answer = server.get("/api/notify/unread", &[("Origin", SHOP)]).await;
    assert_eq!((answer.status, allowed(&answer).as_deref()), (401, Some(SHOP)));
    let answer = server.get("/api/notify/unread", &[("Origin", EVIL)]).await;
    assert_eq!((answer.status, allowed(&answer)), (401, None));
    // The client itself may be imported by any page; one header says so, not two.
    for (origin, expected) in [(SHOP, SHOP), (EVIL, "*")] {
        let answer = server.get("/sdk/quick-notify.js", &[("Origin", origin)]).await;
        let said: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(said, [expected]);
    }
}

/// An entry stands for itself alone, and who says where a request was sent to first is not asked.
#[tokio::test]
async fn an_origin_is_compared_whole_and_only_with_the_list_and_the_host() {
    let server = strict().await;
    for other in [
        "https://shop.example.evil.com",
        "https://evil.com.shop.example",
        "https://evilshop.example",
        "https://shop.example@evil.com",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://shop.exampl",
        "http://shop.example",
        "shop.example",
        "https://",
        "*",
        "",
    ] {
        assert_eq!(upgrade(&server, other).await, 403, "{other:?}");
        assert_eq!(preflight(&server, other).await, None, "{other:?}");
    }
    assert_eq!(
        upgrade(&server, "HTTPS://Shop.Example").await,
        101,
        "names have no case"
    );
    for forwarded in ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host"] {
        let value = if forwarded == "Forwarded" {
            "host=evil.example"
        } else {
            "evil.example"
        };
        let headers = [
            ("Origin", EVIL),
            (forwarded, value),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(server.get("/stomp-ws", &headers).await.status, 403, "{forwarded}");
        assert_eq!(
            server.get("/stomp-ws/websocket", &headers).await.status,
            403,
            "{forwarded}"
        );
    }
}

/// Each way into a session, and each way to read or write one that is there.
#[tokio::test]
async fn a_page_of_another_site_gets_nowhere_over_sockjs_or_as_a_source_of_events() {
    let server = strict().await;
    let session = "/stomp-ws/000/a-session-of-the-shop";
    let open = server.post(&format!("{session}/xhr"), &[("Origin", SHOP)], "").await;
    assert_eq!(
        (open.status, &*open.text, allowed(&open).as_deref()),
        (200, "o\n", Some(SHOP))
    );
    for foreign in [EVIL, "null", "https://shop.example.evil.com"] {
        let headers = [("Origin", foreign), ("X-Forwarded-Host", "evil.example")];
        for (method, transport) in [
            (Method::POST, "xhr"),
            (Method::POST, "xhr_streaming"),
            (Method::POST, "xhr_send"),
            (Method::GET, "eventsource"),
            (Method::GET, "htmlfile?c=callback"),
            (Method::GET, "jsonp?c=callback"),
            (Method::POST, "jsonp_send"),
        ] {
            for path in [session, "/stomp-ws/000/another-session"] {
                let body = r#"["x"]"#;
                let path = format!("{path}/{transport}");
                let answer = server.request(method.clone(), &path, &headers, body).await;
                assert_eq!(
                    (answer.status, allowed(&answer)),
                    (403, None),
                    "{foreign} {path}: {}",
                    answer.text
                );
            }
        }
        let with_token = [&headers[..], &[("Authorization", "some token")]].concat();
        let events = server.get("/sse/notify", &with_token).await;
        assert_eq!((events.status, allowed(&events)), (403, None), "{}", events.text);
        let info = server.get("/stomp-ws/info", &headers).await;
        assert_eq!((info.status, allowed(&info)), (403, None));
        let upgrade = [
            ("Origin", foreign),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for path in ["/stomp-ws", "/stomp-ws/websocket", "/stomp-ws/000/a-session/websocket"] {
            assert_eq!(server.get(path, &upgrade).await.status, 403, "{path}");
        }
    }
}

#[tokio::test]
async fn in_dev_mode_any_page_may() {
    let server = Server::start().await;
    assert_eq!(upgrade(&server, EVIL).await, 101);
    assert_eq!(preflight(&server, EVIL).await.as_deref(), Some(EVIL));
}
