//! Pages of others, outside dev mode: what they may ask for, and whose session they get. `origin` has those that name themselves.

use super::*;

const SHOP: &str = "https://shop.example";
const BLOG: &str = "https://blog.example";
const EVIL: &str = "https://evil.example";

async fn strict() -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", r#"[{secret_env="ORIGIN_TEST_SECRET"}]"#),
        ("edge.origins", r#"["https://shop.example", "https://blog.example"]"#),
    ];
    let environment = [("ORIGIN_TEST_SECRET", "a secret of more than thirty-two bytes")];
    Server::launch(&settings, &environment).await
}

/// A page may load scripts and frames from anywhere, and the browser names no Origin then: only whose site it is, and which page it was where
/// that page lets it.
#[tokio::test]
async fn a_page_that_only_loads_is_told_by_what_the_browser_says() {
    let server = strict().await;
    let own = format!("{}/page.html", server.url());
    let table = [
        // Not a browser, or one of long ago.
        (vec![], true),
        (vec![("Referer", "https://evil.example/")], true),
        // This server's own page, and an address that somebody typed.
        (vec![("Sec-Fetch-Site", "same-origin")], true),
        (vec![("Sec-Fetch-Site", "none")], true),
        (vec![("Sec-Fetch-Site", "same-site"), ("Referer", &*own)], true),
        // A listed page.
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "https://shop.example/")],
            true,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Referer", "https://SHOP.example/a?b=/#c"),
            ],
            true,
        ),
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "https://blog.example")],
            true,
        ),
        // Any other.
        (vec![("Sec-Fetch-Site", "cross-site")], false),
        (vec![("Sec-Fetch-Site", "same-site")], false),
        (vec![("Sec-Fetch-Site", "whatever")], false),
        (vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "")], false),
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "https://evil.example/")],
            false,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Referer", "https://evil.example/https://shop.example/"),
            ],
            false,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Referer", "https://shop.example.evil.example/"),
            ],
            false,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Referer", "https://shop.example@evil.example/"),
            ],
            false,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Referer", "https://shop.example:8443/"),
            ],
            false,
        ),
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "http://shop.example/")],
            false,
        ),
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "shop.example")],
            false,
        ),
        // What it says of itself comes first.
        (vec![("Sec-Fetch-Site", "same-origin"), ("Origin", EVIL)], false),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Origin", EVIL),
                ("Referer", "https://shop.example/"),
            ],
            false,
        ),
        (
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Origin", SHOP),
                ("Referer", "https://evil.example/"),
            ],
            true,
        ),
    ];
    for (headers, may) in table {
        for transport in ["jsonp?c=x", "eventsource", "htmlfile?c=x"] {
            let path = format!("{}/{transport}", fresh(ENDPOINT));
            let live = Live::open(server.address(), "GET", &path, &headers, "").await;
            assert_eq!(live.status, if may { 200 } else { 403 }, "{transport} {headers:?}");
        }
        let info = server.get("/stomp-ws/info", &headers).await;
        assert_eq!(info.status, if may { 200 } else { 403 }, "{headers:?}");
    }
}

/// To another one that may connect, too, it is as if it weren't there.
#[tokio::test]
async fn a_session_belongs_to_the_origin_that_opened_it() {
    let server = strict().await;
    let session = fresh(ENDPOINT);
    let open = server.post(&format!("{session}/xhr"), &[("Origin", SHOP)], "").await;
    assert_eq!((open.status, &*open.text), (200, "o\n"));
    for (method, transport) in [
        ("POST", "xhr"),
        ("POST", "xhr_streaming"),
        ("POST", "xhr_send"),
        ("POST", "jsonp_send"),
        ("GET", "eventsource"),
        ("GET", "jsonp?c=x"),
        ("GET", "htmlfile?c=x"),
    ] {
        let path = format!("{session}/{transport}");
        let live = Live::open(server.address(), method, &path, &[("Origin", BLOG)], r#"["x"]"#).await;
        assert_eq!(live.status, 404, "{transport}");
    }
    let sent = server
        .post(
            &format!("{session}/xhr_send"),
            &[("Origin", SHOP)],
            r#"["BAD\n\n\u0000"]"#,
        )
        .await;
    assert_eq!(sent.status, 204);
    let error = server.post(&format!("{session}/xhr"), &[("Origin", SHOP)], "").await;
    assert!(
        error.text.starts_with("a[\"ERROR"),
        "nothing of what the others sent came first: {}",
        error.text
    );
}

/// Whoever opens a session before the page that was made to use its name: the page never hears that it is open, so it never says who its user is.
#[tokio::test]
async fn a_session_of_somebody_else_is_never_opened_again() {
    let server = Server::with(&[
        ("edge.sockjs.heartbeat_ms", "100"),
        ("session.connect_timeout_ms", "60000"),
    ])
    .await;
    let session = open(&server, ENDPOINT).await;
    // While the other one is between two polls.
    for _ in 0..3 {
        assert_eq!(poll(&server, &session).await, "h\n");
    }
    let mut live = stream(&server, &format!("{session}/eventsource")).await;
    live.expect("\r\ndata: h\r\n\r\n").await;
    // While its response is open.
    assert_eq!(
        poll(&server, &session).await,
        "c[2010,\"Another connection still open\"]\n"
    );
    drop(live);
    assert_eq!(poll(&server, &session).await, "c[1002,\"Connection interrupted\"]\n");
}
