//! One HTTP connection, octet by octet: responses that go on, requests that are broken off, and paths that no client library would send.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

pub struct Live {
    stream: TcpStream,
    /// What came and was not taken yet, as it came.
    raw: Vec<u8>,
    /// What came of the body and was not taken yet.
    body: Vec<u8>,
    pub status: u16,
    pub headers: HashMap<String, String>,
    length: Length,
    /// A request was sent, and the head of its answer has not been read.
    asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Chunked,
    Left(usize),
    ToTheClose,
    Over,
}

impl Live {
    /// Sends a request, and reads the head of its answer.
    pub async fn open(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut live = Self::asked(address, method, path, headers, body).await;
        live.head().await;
        live
    }

    /// Sends a request alone.
    pub async fn asked(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut live = Self::connect(address).await;
        live.ask(method, path, headers, body).await;
        live
    }

    pub async fn connect(address: &str) -> Self {
        Self {
            stream: TcpStream::connect(address).await.expect("it listens"),
            raw: Vec::new(),
            body: Vec::new(),
            status: 0,
            headers: HashMap::new(),
            length: Length::Over,
            asked: false,
        }
    }

    /// Sends one more request by this connection.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method == "POST" && !headers.iter().any(|(name, _)| *name == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.write(&format!("{head}\r\n{body}")).await;
        self.asked = true;
    }

    /// The same, and the head and the whole body of its answer.
    pub async fn again(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        self.ask(method, path, headers, body).await;
        self.head().await;
        self.rest().await
    }

    pub async fn write(&mut self, text: &str) {
        within("sending", self.stream.write_all(text.as_bytes()))
            .await
            .expect("the connection is open");
    }

    fn address(&self) -> String {
        self.stream.peer_addr().expect("it is connected").to_string()
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) {
        let head = loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                break self.raw.drain(..end + 4).collect::<Vec<_>>();
            }
            assert!(self.more().await, "closed instead of an answer");
        };
        self.asked = false;
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().expect("a status line");
        self.status = line.split(' ').nth(1).expect("a status").parse().expect("a number");
        let headers = lines.map(|line| line.split_once(':').expect("a header"));
        self.headers = headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        self.length = match (self.header("transfer-encoding"), self.header("content-length")) {
            _ if matches!(self.status, 101 | 204 | 304) => Length::Left(0),
            ("chunked", _) => Length::Chunked,
            (_, "") => Length::ToTheClose,
            (_, length) => Length::Left(length.parse().expect("a number")),
        };
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The next piece of the body comes to this text, no more and no less.
    pub async fn expect(&mut self, text: &str) {
        while self.body.len() < text.len() && self.piece().await {}
        let got: Vec<u8> = self.body.drain(..text.len().min(self.body.len())).collect();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }

    /// The body through this delimiter, without it; `None` at the body's end.
    pub async fn until(&mut self, delimiter: &str) -> Option<String> {
        loop {
            if let Some(end) = find(&self.body, delimiter.as_bytes()) {
                let part: Vec<u8> = self.body.drain(..end + delimiter.len()).collect();
                return Some(String::from_utf8_lossy(&part[..end]).into_owned());
            }
            if !self.piece().await {
                return None;
            }
        }
    }

    /// The body has come to its end.
    pub async fn ends(&mut self) {
        assert_eq!(self.rest().await, "");
    }

    /// The rest of the body.
    pub async fn rest(&mut self) -> String {
        while self.piece().await {}
        String::from_utf8(std::mem::take(&mut self.body)).expect("bodies are text")
    }

    /// Nothing comes for so long, and the connection stays open.
    pub async fn is_silent_for(&mut self, time: Duration) {
        let mut next = [0; 64];
        let came = tokio::time::timeout(time, self.stream.read(&mut next)).await;
        assert!(came.is_err(), "{came:?}: {}", String::from_utf8_lossy(&next));
    }

    /// The server has broken it off, though nothing is read: what is sent there comes back as a reset.
    pub async fn is_gone(&mut self) {
        within("the end of the connection", async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while self.stream.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
        })
        .await;
    }

    /// The server closes, or breaks off; what came before is not looked at.
    pub async fn is_closed(&mut self) {
        within("the close", async { while self.more().await {} }).await;
    }

    /// One more piece of the body; false at its end.
    async fn piece(&mut self) -> bool {
        if self.asked {
            self.head().await;
            assert_eq!(self.status, 200);
        }
        loop {
            match self.length {
                Length::Over | Length::Left(0) => {
                    self.length = Length::Over;
                    return false;
                }
                Length::Left(left) if !self.raw.is_empty() => {
                    let count = left.min(self.raw.len());
                    self.body.extend(self.raw.drain(..count));
                    self.length = Length::Left(left - count);
                    return true;
                }
                Length::ToTheClose if !self.raw.is_empty() => {
                    self.body.append(&mut self.raw);
                    return true;
                }
                Length::Chunked => {
                    if let Some(more) = self.chunk() {
                        return more;
                    }
                }
                Length::Left(_) | Length::ToTheClose => {}
            }
            if !self.more().await {
                let whole = self.length == Length::ToTheClose;
                assert!(whole, "the connection closed amid a response");
                self.length = Length::Over;
            }
        }
    }

    /// The next chunk, if it has come: whether it is one, or the end.
    fn chunk(&mut self) -> Option<bool> {
        let line = find(&self.raw, b"\r\n")?;
        let size = std::str::from_utf8(&self.raw[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size in hex");
        if self.raw.len() < line + 2 + size + 2 {
            return None;
        }
        self.body.extend(&self.raw[line + 2..line + 2 + size]);
        self.raw.drain(..line + 2 + size + 2);
        if size == 0 {
            self.length = Length::Over;
        }
        Some(size > 0)
    }

    /// Reads on; false at the close.
    async fn more(&mut self) -> bool {
        let mut next = [0; 16_384];
        match within("more of an answer", self.stream.read(&mut next)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.raw.extend(&next[..count]);
                true
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
