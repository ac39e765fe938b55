//! Frames over a WebSocket, and the raw WebSocket beside them.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::harness::within;

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(server: &Server, path: &str) -> Self {
        let url = format!("ws://{}{path}", server.address());
        let (socket, _) = within("a WebSocket", connect_async(url)).await.expect("it opens");
        Self(socket)
    }

    /// The same for frames, through the open frame.
    async fn framed(server: &Server, session: &str) -> Self {
        let mut socket = Self::open(server, &format!("{session}/websocket")).await;
        assert_eq!(socket.text().await, "o");
        socket
    }

    async fn send(&mut self, text: &str) {
        within("sending", self.0.send(Message::text(text)))
            .await
            .expect("it is open");
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    async fn next(&mut self) -> Option<Message> {
        within("a message", self.0.next()).await.and_then(Result::ok)
    }

    /// The close frame's code and reason, which has to come next, and the end.
    async fn closed(&mut self) -> Option<(u16, String)> {
        let close = match self.next().await {
            Some(Message::Close(close)) => close.map(|close| (close.code.into(), close.reason.to_string())),
            None => None,
            other => panic!("{other:?} instead of the close"),
        };
        assert!(self.next().await.is_none());
        close
    }
}

#[tokio::test]
async fn messages_go_there_and_back() {
    let server = Server::start().await;
    let mut socket = Socket::framed(&server, &fresh(ECHO)).await;
    socket.send(r#"["a"]"#).await;
    assert_eq!(socket.text().await, r#"a["a"]"#);
    // What holds no message is no mistake.
    socket.send("").await;
    socket.send("[]").await;
    socket.send(r#"["b","c"]"#).await;
    assert_eq!(socket.text().await, r#"a["b"]"#);
    assert_eq!(socket.text().await, r#"a["c"]"#);
    // One text alone is a message, too.
    socket.send(r#""d\ud83d""#).await;
    assert_eq!(socket.text().await, r#"a["d\ufffd"]"#);
}

#[tokio::test]
async fn the_close_frame_comes_before_the_close() {
    let server = Server::start().await;
    let mut socket = Socket::framed(&server, &fresh(CLOSE)).await;
    assert_eq!(socket.text().await, r#"c[3000,"Go away!"]"#);
    assert_eq!(socket.closed().await, Some((3000, "Go away!".into())));
}

#[tokio::test]
async fn what_is_no_json_ends_it_without_a_word() {
    let server = Server::start().await;
    for broken in [r#"["a"#, "x", "{}", "[1]", r#"["a"]["b"]"#, &"[".repeat(100_000)] {
        let mut socket = Socket::framed(&server, &fresh(ECHO)).await;
        socket.send(broken).await;
        socket.closed().await;
    }
}

/// The connection is the session: the name in its URL means nothing.
#[tokio::test]
async fn two_may_have_one_name() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut one = Socket::framed(&server, &session).await;
    let mut other = Socket::framed(&server, &session).await;
    for (socket, text) in [(&mut one, r#"["one"]"#), (&mut other, r#"["other"]"#)] {
        socket.send(text).await;
        assert_eq!(socket.text().await, format!("a{text}"));
    }
    drop(one);
    let mut again = Socket::framed(&server, &session).await;
    again.send(r#"["again"]"#).await;
    assert_eq!(again.text().await, r#"a["again"]"#);
    // Nor does a session over HTTP know of it.
    assert_eq!(poll(&server, &session).await, "o\n");
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let server = Server::start().await;
    let answer = server.get("/echo/0/0/websocket", &[]).await;
    assert_eq!(
        (answer.status, &*answer.text),
        (400, "Can \"Upgrade\" only to \"WebSocket\".")
    );
    // Proxies rewrite this header.
    let rewritten = [("Upgrade", "WebSocket"), ("Connection", "close")];
    assert_eq!(server.get("/echo/0/0/websocket", &rewritten).await.status, 400);
    let upgrade = [("Upgrade", "WebSocket"), ("Connection", "Upgrade")];
    for headers in [&upgrade[..], &[]] {
        let answer = server.post("/echo/0/0/websocket", headers, "").await;
        assert_eq!((answer.status, &*answer.text), (405, ""));
        assert_eq!(header(&answer, "allow"), "GET");
    }
}

/// RFC 6455, section 4.2.2.
#[tokio::test]
async fn the_handshake_is_answered() {
    let server = Server::start().await;
    let asked = [
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];
    let path = format!("{}/websocket", fresh(ECHO));
    let live = Live::open(server.address(), "GET", &path, &asked, "").await;
    assert_eq!(live.status, 101);
    assert_eq!(live.header("sec-websocket-accept"), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    assert_eq!(live.header("connection").to_lowercase(), "upgrade");
    assert_eq!(live.header("upgrade").to_lowercase(), "websocket");
    assert_eq!(
        (live.header("content-length"), live.header("sec-websocket-protocol")),
        ("", "")
    );
}

#[tokio::test]
async fn a_service_without_websockets_has_none() {
    let server = Server::start().await;
    for path in [
        "/disabled_websocket_echo/websocket",
        "/disabled_websocket_echo/0/0/websocket",
    ] {
        let url = format!("ws://{}{path}", server.address());
        let refused = within("a refusal", connect_async(url)).await.map(|_| ());
        assert!(
            refused.expect_err("there is none").to_string().contains("404"),
            "{path}"
        );
    }
}

/// No frames, no open frame, no heart-beats: the messages alone.
#[tokio::test]
async fn the_raw_websocket_has_no_frames() {
    let server = Server::with(&[("edge.sockjs.heartbeat_ms", "100")]).await;
    let mut framed = Socket::framed(&server, &fresh(ECHO)).await;
    let mut socket = Socket::open(&server, "/echo/websocket").await;
    for _ in 0..3 {
        assert_eq!(framed.text().await, "h");
    }
    for text in ["Hello world!\u{ffff}", "[\"a\"]", "[\"", ""] {
        socket.send(text).await;
        assert_eq!(socket.text().await, text);
    }
    let mut socket = Socket::open(&server, "/close/websocket").await;
    assert_eq!(socket.closed().await, Some((3000, "Go away!".into())));
}
