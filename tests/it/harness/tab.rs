//! A browser tab: one STOMP session over WebSocket.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use quick_notify::stomp::{Command, Event, Frame, FrameWriter, Limits, Parser, ServerCommand, Version};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Server, within};

pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    parser: Parser<ServerCommand>,
    version: Version,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    /// The close frame, once it came.
    pub close: Option<(u16, String)>,
}

/// A MESSAGE.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub destination: String,
    pub seq: Option<u64>,
    pub attempt: u32,
    pub replayed: bool,
    pub text: String,
    pub frame: Frame<ServerCommand>,
}

impl Delivery {
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("the body is JSON")
    }

    /// The data of a STRING_MSG.
    pub fn data(&self) -> String {
        self.body()["data"].as_str().expect("data is a text").to_owned()
    }
}

impl Tab {
    /// Opens the transport alone.
    pub async fn open(server: &Server) -> Self {
        Self::open_at(&server.ws()).await
    }

    pub async fn open_at(url: &str) -> Self {
        Self::offer(url, Some("v12.stomp")).await
    }

    /// Opens the transport with these subprotocols on offer.
    pub async fn offer(url: &str, protocols: Option<&str>) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        if let Some(protocols) = protocols {
            let header = protocols.parse().expect("a header");
            request.headers_mut().insert("Sec-WebSocket-Protocol", header);
        }
        let (socket, response) = within("a WebSocket", tokio_tungstenite::connect_async(request))
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        let protocol = response.headers().get("Sec-WebSocket-Protocol");
        let protocol = protocol.map(|protocol| protocol.to_str().expect("a token").to_owned());
        let limits = Limits {
            body: 4 * 1024 * 1024,
            ..Limits::default()
        };
        let mut parser = Parser::of_server(limits);
        parser.set_version(Version::V1_2);
        Self {
            socket,
            parser,
            version: Version::V1_2,
            protocol,
            close: None,
        }
    }

    /// Connects and subscribes where the server may be away or go away; `last_seq` resumes.
    pub async fn try_listen(url: &str, token: &str, last_seq: Option<u64>) -> Option<Self> {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.ok()?;
        let mut parser = Parser::of_server(Limits::default());
        parser.set_version(Version::V1_2);
        let mut tab = Self {
            socket,
            parser,
            version: Version::V1_2,
            protocol: None,
            close: None,
        };
        let connect = tab
            .write(Command::Connect)
            .header("accept-version", "1.2")
            .header("Authorization", token)
            .end();
        let mut subscribe = tab
            .write(Command::Subscribe)
            .header("id", "sub-0")
            .header("destination", "/user/queue/msg")
            .header("ack", "client-individual");
        if let Some(seq) = last_seq {
            subscribe = subscribe.header("last-seq", &seq.to_string());
        }
        for frame in [connect, subscribe.end()] {
            let text = String::from_utf8(frame.to_vec()).expect("text");
            tab.socket.send(Message::Text(text.into())).await.ok()?;
        }
        let connected = tab.next().await?;
        (connected.command == ServerCommand::Connected).then_some(tab)
    }

    /// Confirms where the server may go away, and asks for a receipt that bears the id.
    pub async fn try_ack_told(&mut self, id: &str) -> bool {
        let frame = self.write(Command::Ack).header("id", id).header("receipt", id).end();
        let text = String::from_utf8(frame.to_vec()).expect("text");
        self.socket.send(Message::Text(text.into())).await.is_ok()
    }

    /// Confirms where the server may go away.
    pub async fn try_ack(&mut self, id: &str) -> bool {
        let frame = self.write(Command::Ack).header("id", id).end();
        let text = String::from_utf8(frame.to_vec()).expect("text");
        self.socket.send(Message::Text(text.into())).await.is_ok()
    }

    /// Connects as `token`, STOMP 1.2, no heart-beats.
    pub async fn connect(server: &Server, token: &str) -> Self {
        let mut tab = Self::open(server).await;
        let connected = tab.handshake(token, "1.2").await;
        assert_eq!(
            connected.command,
            ServerCommand::Connected,
            "{connected:?} {}",
            text(&connected)
        );
        tab
    }

    /// The same in another version of the protocol.
    pub async fn connect_in(server: &Server, version: Version, token: &str) -> Self {
        let mut tab = Self::open(server).await;
        tab.speak(version);
        let connected = tab.handshake(token, version.as_str()).await;
        assert_eq!(connected.command, ServerCommand::Connected, "{}", text(&connected));
        assert_eq!(connected.headers.get("version"), Some(version.as_str()));
        tab
    }

    /// Reads and writes by the rules of this version from now on.
    pub fn speak(&mut self, version: Version) {
        self.version = version;
        self.parser.set_version(version);
    }

    /// What the WebSocket runs on.
    pub fn transport(&mut self) -> &mut TcpStream {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(stream) => stream,
            _ => panic!("tests speak ws, not wss"),
        }
    }

    /// Connects and subscribes to the personal queue, `client-individual`; `last_seq` resumes.
    pub async fn listen(server: &Server, token: &str, last_seq: Option<u64>) -> Self {
        let mut tab = Self::connect(server, token).await;
        tab.subscribe_inbox("client-individual", last_seq).await;
        tab
    }

    /// Sends CONNECT and answers with what came back.
    pub async fn handshake(&mut self, token: &str, versions: &str) -> Frame<ServerCommand> {
        let connect = FrameWriter::new(Version::V1_2, Command::Connect)
            .header("accept-version", versions)
            .header("host", "test")
            .header("Authorization", token)
            .end();
        self.send(connect).await;
        self.frame().await
    }

    pub async fn subscribe_inbox(&mut self, ack: &str, last_seq: Option<u64>) {
        let mut frame = self
            .write(Command::Subscribe)
            .header("id", "sub-0")
            .header("destination", "/user/queue/msg")
            .header("ack", ack)
            .header("receipt", "subscribed");
        if let Some(seq) = last_seq {
            frame = frame.header("last-seq", &seq.to_string());
        }
        self.send(frame.end()).await;
        self.receipt("subscribed").await;
    }

    pub async fn subscribe(&mut self, id: &str, destination: &str) {
        let receipt = format!("subscribed-{id}");
        let frame = self
            .write(Command::Subscribe)
            .header("id", id)
            .header("destination", destination)
            .header("receipt", &receipt);
        self.send(frame.end()).await;
        self.receipt(&receipt).await;
    }

    /// Begins a frame of this session's version.
    pub fn write(&self, command: Command) -> FrameWriter {
        FrameWriter::new(self.version, command)
    }

    pub async fn send(&mut self, frame: Bytes) {
        let text = String::from_utf8(frame.to_vec()).expect("frames of tests are text");
        self.send_raw(Message::Text(text.into())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        within("sending", self.socket.send(message))
            .await
            .expect("the transport takes it");
    }

    /// Sends all of this while it reads what comes, as browsers do; answers with the frames that came until the end.
    pub async fn pour(mut self, messages: impl Iterator<Item = Message> + Send + 'static) -> Vec<Frame<ServerCommand>> {
        let (mut sink, mut stream) = self.socket.split();
        let pouring = tokio::spawn(async move {
            for message in messages {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
            sink
        });
        let mut frames = Vec::new();
        within("the end", async {
            while let Some(Ok(message)) = stream.next().await {
                if matches!(message, Message::Text(_) | Message::Binary(_)) {
                    self.parser.feed(message.into_data());
                    while let Some(event) = self.parser.next().expect("the server sends frames") {
                        frames.extend(match event {
                            Event::Frame(frame) => Some(frame),
                            Event::HeartBeat => None,
                        });
                    }
                }
            }
        })
        .await;
        pouring.abort();
        frames
    }

    pub async fn send_to(&mut self, destination: &str, body: &str) {
        let frame = self
            .write(Command::Send)
            .header("destination", destination)
            .body(body.as_bytes());
        self.send(frame).await;
    }

    /// Confirms with an ACK frame, and waits until the outcome is stored.
    pub async fn ack(&mut self, id: &str) {
        let receipt = format!("ack-{id}");
        let frame = self
            .write(Command::Ack)
            .header("id", id)
            .header("receipt", &receipt)
            .end();
        self.send(frame).await;
        self.receipt(&receipt).await;
    }

    /// The next frame; fails at the end.
    pub async fn frame(&mut self) -> Frame<ServerCommand> {
        within("a frame", self.next())
            .await
            .unwrap_or_else(|| panic!("the server closed: {:?}", self.close))
    }

    /// The next frame; `None` at the end, whose close frame is then known.
    pub async fn next(&mut self) -> Option<Frame<ServerCommand>> {
        loop {
            match self.parser.next().expect("the server sends frames") {
                Some(Event::Frame(frame)) => return Some(frame),
                Some(Event::HeartBeat) => continue,
                None => {}
            }
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => self.parser.feed(text.into()),
                Some(Ok(Message::Binary(bytes))) => self.parser.feed(bytes),
                Some(Ok(Message::Close(frame))) => {
                    self.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The octets of the next message, as they are.
    pub async fn raw(&mut self) -> Bytes {
        match within("a message", self.socket.next()).await {
            Some(Ok(message)) => message.into_data(),
            end => panic!("the server closed: {end:?}"),
        }
    }

    /// The next MESSAGE.
    pub async fn delivery(&mut self) -> Delivery {
        let frame = self.frame().await;
        assert_eq!(frame.command, ServerCommand::Message, "{frame:?} {}", text(&frame));
        delivery(frame)
    }

    /// The next `count` MESSAGEs.
    pub async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            deliveries.push(self.delivery().await);
        }
        deliveries
    }

    /// Waits for this receipt, which has to be the next frame.
    pub async fn receipt(&mut self, id: &str) {
        let frame = self.frame().await;
        assert_eq!(frame.command, ServerCommand::Receipt, "{frame:?} {}", text(&frame));
        assert_eq!(frame.headers.get("receipt-id"), Some(id));
    }

    /// Waits for an ERROR and the close behind it; answers with its code and message.
    pub async fn error(&mut self) -> (String, String) {
        let frame = self.frame().await;
        assert_eq!(frame.command, ServerCommand::Error, "{frame:?}");
        self.closed().await;
        let header = |name| frame.headers.get(name).unwrap_or_default().to_owned();
        (header("code"), header("message"))
    }

    /// Waits for the end; nothing may come before it.
    pub async fn closed(&mut self) {
        let frame = within("the close", self.next()).await;
        assert!(frame.is_none(), "a frame before the close: {frame:?}");
    }

    /// Proves that nothing is under way: whatever was, would come before this receipt.
    pub async fn is_quiet(&mut self) {
        let frame = self
            .write(Command::Send)
            .header("destination", "/app/ack")
            .header("receipt", "quiet")
            .body(b"ntf_of_nobody");
        self.send(frame).await;
        self.receipt("quiet").await;
    }

    /// Leaves with DISCONNECT.
    pub async fn leave(mut self) {
        let frame = self.write(Command::Disconnect).header("receipt", "bye").end();
        self.send(frame).await;
        self.receipt("bye").await;
        self.closed().await;
    }
}

pub fn delivery(frame: Frame<ServerCommand>) -> Delivery {
    let header = |name| frame.headers.get(name);
    Delivery {
        id: header("message-id").expect("a MESSAGE has an id").to_owned(),
        destination: header("destination").expect("a MESSAGE has a destination").to_owned(),
        seq: header("seq").map(|seq| seq.parse().expect("seq is a number")),
        attempt: header("attempt").map_or(0, |attempt| attempt.parse().expect("attempt is a number")),
        replayed: header("replayed") == Some("true"),
        text: text(&frame),
        frame,
    }
}

fn text(frame: &Frame<ServerCommand>) -> String {
    String::from_utf8_lossy(&frame.body).into_owned()
}
