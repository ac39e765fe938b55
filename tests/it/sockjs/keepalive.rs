//! HTTP/1.0 and HTTP/1.1, octet by octet: which length a response has, and whether its connection goes on.

use super::*;

const WELCOME: &str = "Welcome to SockJS!\n";

#[tokio::test]
async fn http_1_0_gets_no_chunks() {
    let server = Server::start().await;
    let mut live = Live::connect(server.address()).await;
    let head = "GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    live.write(head).await;
    live.head().await;
    assert_eq!((live.status, live.header("transfer-encoding")), (200, ""));
    assert_eq!(live.header("content-length"), "19");
    assert_eq!(live.header("connection").to_lowercase(), "keep-alive");
    live.expect(WELCOME).await;
    live.write(head).await;
    live.head().await;
    assert_eq!(live.rest().await, WELCOME);
    let mut plain = Live::connect(server.address()).await;
    plain.write("GET /echo HTTP/1.0\r\n\r\n").await;
    plain.head().await;
    plain.expect(WELCOME).await;
    plain.is_closed().await;
}

#[tokio::test]
async fn a_stream_over_http_1_0_ends_with_its_connection() {
    let server = Server::start().await;
    let mut live = Live::connect(server.address()).await;
    let path = format!("{}/xhr_streaming", fresh(CLOSE));
    live.write(&format!(
        "POST {path} HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    live.head().await;
    assert_eq!(live.status, 200);
    assert_eq!(
        (live.header("transfer-encoding"), live.header("content-length")),
        ("", "")
    );
    live.expect(&format!("{}\no\nc[3000,\"Go away!\"]\n", "h".repeat(2_048)))
        .await;
    live.ends().await;
    live.is_closed().await;
}

#[tokio::test]
async fn http_1_1_keeps_its_connection_through_a_session() {
    let server = Server::start().await;
    let mut live = Live::connect(server.address()).await;
    assert_eq!(live.again("GET", "/echo", &[], "").await, WELCOME);
    assert_eq!(
        (live.header("content-length"), live.header("transfer-encoding")),
        ("19", "")
    );
    assert!(["", "keep-alive"].contains(&&*live.header("connection").to_lowercase()));
    let session = fresh(ECHO);
    let (xhr, send) = (format!("{session}/xhr"), format!("{session}/xhr_send"));
    assert_eq!(live.again("POST", &xhr, &[], "").await, "o\n");
    assert_eq!(live.header("content-length"), "2");
    assert_eq!(live.again("POST", &send, &[], r#"["x"]"#).await, "");
    assert_eq!(live.again("POST", &xhr, &[], "").await, "a[\"x\"]\n");
    // A stream to its end, and one more request.
    let path = format!("{}/xhr_streaming", fresh(CLOSE));
    let stream = live.again("POST", &path, &[], "").await;
    assert_eq!(live.header("transfer-encoding"), "chunked");
    assert!(stream.ends_with("h\no\nc[3000,\"Go away!\"]\n"));
    assert_eq!(live.again("GET", "/echo", &[], "").await, WELCOME);
}

#[tokio::test]
async fn a_body_in_chunks_is_taken() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let mut live = Live::connect(server.address()).await;
    let path = format!("{session}/xhr_send");
    live.write(&format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))
    .await;
    live.write("3\r\n[\"a\r\n3\r\nb\"]\r\n0\r\n\r\n").await;
    live.head().await;
    assert_eq!(live.status, 204);
    assert_eq!(poll(&server, &session).await, "a[\"ab\"]\n");
}
