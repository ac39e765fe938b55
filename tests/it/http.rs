//! HTTP connections are bounded in number and in time, and a drain lets requests finish without waiting for idle ones.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Answer, Server, Tab, within};

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.expect("it listens")
}

/// All that comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within("the close", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Drop by drop: the timer runs from the opening, not from the last drop.
#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_ends_the_connection() {
    let server = Server::with(&[("http.head_timeout_ms", "300")]).await;
    let mut silent = connect(&server).await;
    let mut slow = connect(&server).await;
    slow.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        .await
        .expect("a part of the head");
    let mut idle = connect(&server).await;
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("a request");
    let mut tab = Tab::connect(&server, "test1").await;
    assert_eq!(rest(&mut silent).await, "");
    assert!(!rest(&mut slow).await.contains("200 OK"));
    let answer = rest(&mut idle).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("live"),
        "{answer}"
    );
    // A session is no request: it stays for as long as it likes.
    tab.is_quiet().await;
}

/// Who watches is no better than who is watched.
#[tokio::test]
async fn the_metrics_address_has_the_same_deadline() {
    let server = Server::with(&[("http.head_timeout_ms", "300")]).await;
    let connect = || TcpStream::connect(server.metrics_address());
    let mut silent = connect().await.expect("it listens");
    let mut slow = connect().await.expect("it listens");
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        .await
        .expect("a part of the head");
    let mut idle = connect().await.expect("it listens");
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("a request");
    assert_eq!(rest(&mut silent).await, "");
    assert!(!rest(&mut slow).await.contains("200 OK"));
    assert!(rest(&mut idle).await.contains("quick_notify_sessions 0"));
    // A body that nobody asked for doesn't hold the connection.
    let mut heavy = connect().await.expect("it listens");
    heavy
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
        .await
        .expect("a request");
    assert!(rest(&mut heavy).await.contains("quick_notify_sessions 0"));
}

/// A drop every 50 ms: none of them winds the clock up again.
#[tokio::test]
async fn a_body_that_comes_drop_by_drop_is_late() {
    let settings = [("ingest.read_timeout_ms", "400"), ("api.read_timeout_ms", "400")];
    let server = Server::with(&settings).await;
    for (method, path) in [
        ("POST", "/api/notify"),
        ("POST", "/vh-stomp-wsend/push_all_obj/test1"),
        ("POST", "/api/notify/viewed"),
        ("DELETE", "/api/notify/delete"),
        ("POST", "/api/sessions/revoke"),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: test1\r\nContent-Length: 1000\r\n\r\n");
        let begun = Instant::now();
        let (mut read, mut write) = connect(&server).await.into_split();
        write.write_all(head.as_bytes()).await.expect("a head");
        let drops = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while write.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
            std::future::pending().await
        };
        let mut answer = [0; 12];
        tokio::select! {
            read = within("an answer", read.read_exact(&mut answer)) => drop(read.expect("a status")),
            () = drops => {}
        }
        assert_eq!(&answer, b"HTTP/1.1 400", "{path}");
        assert!(
            begun.elapsed() >= Duration::from_millis(380),
            "{path}: {:?}",
            begun.elapsed()
        );
    }
}

/// Thousands of answers are asked for at once, and none is read; then the only place is free again.
#[tokio::test]
async fn who_takes_nothing_of_its_answers_is_broken_off() {
    let server = Server::with(&[
        ("http.max_connections", "1"),
        ("http.write_timeout_ms", "500"),
        ("edge.write_timeout_ms", "500"),
    ])
    .await;
    let (greedy, mut next) = greedy_and_next(&server).await;
    let early = tokio::time::timeout(Duration::from_millis(200), next.readable()).await;
    assert!(early.is_err(), "the place is taken");
    assert!(rest(&mut next).await.ends_with("live"), "it is free again");
    drop(greedy);
}

/// A little at a time, always in time for the clock: it does not wind it up again.
#[tokio::test]
async fn who_takes_its_answers_at_a_trickle_is_broken_off() {
    let server = Server::with(&[
        ("http.max_connections", "1"),
        ("http.write_timeout_ms", "500"),
        ("edge.write_timeout_ms", "500"),
        ("http.min_rate", "1000000000"),
    ])
    .await;
    let (mut greedy, mut next) = greedy_and_next(&server).await;
    let trickle = async {
        let (mut tick, mut some) = (tokio::time::interval(Duration::from_millis(20)), [0; 4_096]);
        while matches!(greedy.read(&mut some).await, Ok(1..)) {
            tick.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = rest(&mut next) => assert!(answer.ends_with("live"), "the place is free again"),
        () = trickle => {}
    }
}

/// One who asks for thousands of answers with little room for them, and one who waits for the only place.
async fn greedy_and_next(server: &Server) -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut greedy = socket
        .connect(server.address().parse().expect("an address"))
        .await
        .expect("it listens");
    let request = "GET /sdk/quick-notify.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);
    greedy.write_all(request.as_bytes()).await.expect("it reads");
    let mut next = connect(server).await;
    next.write_all(b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .expect("a request");
    (greedy, next)
}

#[tokio::test]
async fn a_head_has_a_bound() {
    let server = Server::start().await;
    let value = "x".repeat(1_000);
    let forty: Vec<_> = (0..40).map(|n| format!("X-{n}")).collect();
    let honest: Vec<_> = forty.iter().map(|name| (&**name, &*value)).collect();
    assert_eq!(server.get("/health/live", &honest).await.status, 200);
    let large = "x".repeat(100_000);
    assert_eq!(server.get("/health/live", &[("X", &large)]).await.status, 431);
    let many: Vec<_> = (0..1_000).map(|n| format!("X-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(server.get("/health/live", &many).await.status, 431);
}

/// Whoever comes when all places are taken waits, and is served when one is free again; sessions take none of them.
#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::with(&[("http.max_connections", "2"), ("http.head_timeout_ms", "500")]).await;
    let mut tabs = Vec::new();
    for _ in 0..5 {
        tabs.push(Tab::connect(&server, "test1").await);
    }
    let mut first = connect(&server).await;
    let mut second = connect(&server).await;
    for stream in [&mut first, &mut second] {
        stream.write_all(b"GET ").await.expect("a part of the head");
    }
    let mut third = connect(&server).await;
    third
        .write_all(b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .expect("a request");
    let early = tokio::time::timeout(Duration::from_millis(100), third.readable()).await;
    assert!(early.is_err(), "the third waits for a place");
    assert!(
        rest(&mut third).await.ends_with("live"),
        "it got one when the slow ones were sent away"
    );
    for tab in &mut tabs {
        tab.is_quiet().await;
    }
}

#[tokio::test]
async fn a_drain_finishes_the_request_under_way_and_does_not_wait_for_idle_connections() {
    let mut server = Server::start().await;
    let mut idle = connect(&server).await;
    let mut kept = connect(&server).await;
    kept.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("a request");
    let mut answered = [0; 16];
    kept.read_exact(&mut answered).await.expect("an answer");
    let mut busy = connect(&server).await;
    let body = json!({"receiver": "test1", "data": "late"}).to_string();
    let head = format!(
        "POST /api/notify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    busy.write_all(head.as_bytes()).await.expect("a head");
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.expect("the request is being read");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let begun = Instant::now();
    server.signal("TERM");
    rest(&mut idle).await;
    rest(&mut kept).await;
    busy.write_all(body.as_bytes()).await.expect("the body");
    let answer = rest(&mut busy).await;
    assert!(
        answer.starts_with("HTTP/1.1 202 Accepted") && answer.contains("\"fsynced\""),
        "{answer}"
    );
    assert_eq!(server.wait().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "it waited for nobody: {:?}",
        begun.elapsed()
    );
    server.restart().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    assert_eq!(
        tab.delivery().await.data(),
        "late",
        "what was accepted during the drain"
    );
}

/// A browser that has a file already, page or module, is told so in a few octets.
#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let server = Server::start().await;
    let tag = |answer: &Answer| answer.headers["etag"].to_str().expect("a tag is text").to_owned();
    let mut tags = Vec::new();
    for path in ["/", "/page.css", "/sdk/quick-notify.js", "/sdk/bell.js"] {
        let first = server.get(path, &[]).await;
        let etag = tag(&first);
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"other\", {etag}"),
            "*".to_owned(),
        ] {
            let again = server.get(path, &[("If-None-Match", &known)]).await;
            assert_eq!(
                (again.status, again.text.len(), tag(&again)),
                (304, 0, etag.clone()),
                "{path} {known}"
            );
            assert_eq!(again.headers.get("cache-control"), first.headers.get("cache-control"));
            assert_eq!(
                again.headers.get("access-control-allow-origin"),
                first.headers.get("access-control-allow-origin")
            );
        }
        for other in ["\"other\"", etag.trim_matches('"'), ""] {
            let again = server.get(path, &[("If-None-Match", other)]).await;
            assert_eq!(
                (again.status, &again.text, tag(&again)),
                (200, &first.text, etag.clone()),
                "{path} {other}"
            );
        }
        tags.push(etag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "each file has a tag of its own");
}
