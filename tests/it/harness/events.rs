//! A reader of server-sent events, down to the octets: it takes them only when the story says so.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Answer, Server, within};

/// One event, or comment, or field without an event.
#[derive(Debug, Default, Clone)]
pub struct Event {
    pub id: Option<u64>,
    pub name: Option<String>,
    pub data: Option<String>,
    pub retry: Option<u64>,
    pub comment: bool,
}

impl Event {
    /// Reads what stands between two empty lines, by the rules of the format.
    pub fn read(text: &str) -> Self {
        let lines = text.strip_suffix("\n\n").expect("it ends with an empty line");
        let mut event = Self::default();
        for line in lines.split(['\n', '\r']) {
            let (name, value) = line.split_once(':').expect("a field or a comment");
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => event.comment = true,
                "id" => event.id = Some(value.parse().expect("an id is a seq")),
                "event" => event.name = Some(value.to_owned()),
                "retry" => event.retry = Some(value.parse().expect("milliseconds")),
                "data" => match &mut event.data {
                    Some(data) => *data += &format!("\n{value}"),
                    None => event.data = Some(value.to_owned()),
                },
                other => panic!("an unknown field {other}"),
            }
        }
        event
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_ref().expect("data")).expect("JSON")
    }

    /// The notification's id, and which attempt it is.
    pub fn attempt(&self) -> (String, u64) {
        assert_eq!(self.name.as_deref(), Some("notification"), "{self:?}");
        let data = self.json();
        let id = data["id"].as_str().expect("an id").to_owned();
        (id, data["attempt"].as_u64().expect("an attempt"))
    }
}

/// A response that stays open.
pub struct Stream {
    socket: TcpStream,
    /// As it came, behind the head: in chunks.
    raw: Vec<u8>,
    text: Vec<u8>,
    pub head: Vec<(String, String)>,
    /// As a browser keeps it.
    pub last_event_id: Option<u64>,
    pub retry: Option<u64>,
}

impl Stream {
    /// Opened with a token.
    pub async fn open(server: &Server, token: &str, last_event_id: Option<u64>) -> Self {
        let id = last_event_id.map(|id| id.to_string());
        let mut headers = vec![("Authorization", token)];
        headers.extend(id.as_deref().map(|id| ("Last-Event-ID", id)));
        Self::at(server, "/sse/notify", &headers).await.expect("a stream")
    }

    /// Opened, or the answer that says why not.
    pub async fn at(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut stream = Self::ask(server, path, headers).await;
        let connected = within("the first event", stream.event()).await.expect("it is open");
        assert_eq!(connected.name.as_deref(), Some("connected"), "{connected:?}");
        Ok(stream)
    }

    /// Asks, and reads no more than the head. Fails unless there is a stream.
    pub async fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Small, so that a story about a full one is short.
        socket.set_recv_buffer_size(16_384).expect("a buffer");
        let address = server.address().parse().expect("an address");
        let mut socket = socket.connect(address).await.expect("it listens");
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.address());
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut raw = Vec::new();
        let end = loop {
            let end = raw.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => assert_ne!(within("the head", socket.read_buf(&mut raw)).await.unwrap_or(0), 0),
            }
        };
        let head = String::from_utf8(raw.drain(..end + 4).collect()).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"), "{head}");
        let head = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            socket,
            raw,
            text: Vec::new(),
            head,
            last_event_id: None,
            retry: None,
        }
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("it is connected").port()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| &**value)
    }

    /// The next event that has data; `None` at the end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = Event::read(std::str::from_utf8(&text).expect("UTF-8"));
                self.last_event_id = event.id.or(self.last_event_id);
                self.retry = event.retry.or(self.retry);
                if event.data.is_some() {
                    return Some(event);
                }
            } else if !self.more().await {
                assert!(
                    self.text.is_empty(),
                    "half an event: {:?}",
                    String::from_utf8_lossy(&self.text)
                );
                return None;
            }
        }
    }

    /// The next notification: its id and its attempt.
    pub async fn next(&mut self) -> (String, u64) {
        self.told().await.attempt()
    }

    /// The next event, which has to come.
    pub async fn told(&mut self) -> Event {
        within("an event", self.event()).await.expect("the stream is open")
    }

    /// The last event, of which only the end may come after.
    pub async fn closed(&mut self) -> String {
        let last = self.told().await;
        assert_eq!(last.name.as_deref(), Some("closed"), "{last:?}");
        let after = within("the end", self.event()).await;
        assert!(after.is_none(), "something behind the last word: {after:?}");
        last.json()["code"].as_str().expect("a code").to_owned()
    }

    /// Everything that is still to come, as text, whether or not it comes to a good end.
    pub async fn rest(&mut self) -> String {
        within("the end", async { while self.more().await {} }).await;
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Reads a chunk; `false` at the end.
    async fn more(&mut self) -> bool {
        loop {
            if let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..line]).expect("a size");
                let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
                if size == 0 {
                    return false;
                }
                if self.raw.len() >= line + 2 + size + 2 {
                    self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
                    self.raw.drain(..line + 2 + size + 2);
                    return true;
                }
            }
            // A connection that is cut ends the stream, too.
            if self.socket.read_buf(&mut self.raw).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }
}
