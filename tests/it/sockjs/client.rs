//! A browser tab over SockJS: STOMP by each of the transports over HTTP.

use bytes::Bytes;
use quick_notify::stomp::{Command, Event, Frame, FrameWriter, Limits, Parser, ServerCommand, Version};
use serde_json::Value;

use super::*;
use crate::harness::{Delivery, delivery, within};

/// How frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Polling,
    Streaming,
    Events,
    Page,
    Calls,
}

pub const ALL: [Via; 5] = [Via::Polling, Via::Streaming, Via::Events, Via::Page, Via::Calls];

pub struct Client {
    address: String,
    pub session: String,
    via: Via,
    /// The response that is open, or the connection by which the next poll goes.
    live: Option<Live>,
    parser: Parser<ServerCommand>,
    /// The close frame, once it came.
    pub close: Option<(u16, String)>,
}

impl Client {
    /// Opens a session.
    pub async fn open(server: &Server, via: Via) -> Self {
        let mut parser = Parser::of_server(Limits {
            body: 4 * 1024 * 1024,
            ..Limits::default()
        });
        parser.set_version(Version::V1_2);
        let mut client = Self {
            address: server.address().to_owned(),
            session: fresh(ENDPOINT),
            via,
            live: None,
            parser,
            close: None,
        };
        assert_eq!(client.pull().await, "o");
        client
    }

    /// Connects as this token, STOMP 1.2, no heart-beats.
    pub async fn connect(server: &Server, via: Via, token: &str) -> Self {
        let mut client = Self::open(server, via).await;
        let connected = client.handshake(token).await;
        assert_eq!(connected.command, ServerCommand::Connected, "{connected:?}");
        client
    }

    /// The same with the personal queue; `last_seq` resumes.
    pub async fn listen(server: &Server, via: Via, token: &str, last_seq: Option<u64>) -> Self {
        let mut client = Self::connect(server, via, token).await;
        let mut frame = write(Command::Subscribe)
            .header("id", "sub-0")
            .header("destination", "/user/queue/msg")
            .header("ack", "client-individual")
            .header("receipt", "subscribed");
        if let Some(seq) = last_seq {
            frame = frame.header("last-seq", &seq.to_string());
        }
        client.send(frame.end()).await;
        client.receipt("subscribed").await;
        client
    }

    pub async fn handshake(&mut self, token: &str) -> Frame<ServerCommand> {
        let connect = write(Command::Connect)
            .header("accept-version", "1.2")
            .header("host", "test")
            .header("heart-beat", "0,0")
            .header("Authorization", token);
        self.send(connect.end()).await;
        self.frame().await
    }

    /// Sends a frame by a request of its own.
    pub async fn send(&mut self, frame: Bytes) {
        let text = String::from_utf8(frame.to_vec()).expect("frames of tests are text");
        assert!(matches!(self.post(&text).await, 200 | 204), "it is taken");
    }

    /// The status of the answer to one message.
    pub async fn post(&self, text: &str) -> u16 {
        let messages = serde_json::to_string(&[text]).expect("JSON");
        let (path, headers, body) = match self.via {
            Via::Calls => {
                let body = form_urlencoded::Serializer::new(String::new())
                    .append_pair("d", &messages)
                    .finish();
                ("jsonp_send", vec![FORM], body)
            }
            _ => ("xhr_send", vec![], messages),
        };
        let path = format!("{}/{path}", self.session);
        Live::open(&self.address, "POST", &path, &headers, &body).await.status
    }

    pub async fn ack(&mut self, id: &str) {
        let receipt = format!("ack-{id}");
        self.send(write(Command::Ack).header("id", id).header("receipt", &receipt).end())
            .await;
        self.receipt(&receipt).await;
    }

    pub async fn send_to(&mut self, destination: &str, body: &str) {
        let frame = write(Command::Send).header("destination", destination);
        self.send(frame.body(body.as_bytes())).await;
    }

    pub async fn receipt(&mut self, id: &str) {
        let frame = self.frame().await;
        assert_eq!(frame.command, ServerCommand::Receipt, "{frame:?}");
        assert_eq!(frame.headers.get("receipt-id"), Some(id));
    }

    pub async fn delivery(&mut self) -> Delivery {
        let frame = self.frame().await;
        assert_eq!(frame.command, ServerCommand::Message, "{frame:?}");
        delivery(frame)
    }

    /// Proves that nothing is under way.
    pub async fn is_quiet(&mut self) {
        let frame = write(Command::Send)
            .header("destination", "/app/ack")
            .header("receipt", "quiet");
        self.send(frame.body(b"ntf_of_nobody")).await;
        self.receipt("quiet").await;
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
            let frame = self.pull().await;
            let (kind, rest) = frame.split_at(1);
            match kind {
                "a" => {
                    for message in serde_json::from_str::<Vec<String>>(rest).expect("texts") {
                        self.parser.feed(message.into());
                    }
                }
                "h" => {}
                "c" => {
                    self.close = Some(serde_json::from_str(rest).expect("a code and a reason"));
                    return None;
                }
                _ => panic!("no frame: {frame}"),
            }
        }
    }

    /// The next SockJS frame.
    async fn pull(&mut self) -> String {
        loop {
            self.begin().await;
            let live = self.live.as_mut().expect("it was opened");
            let end = match self.via {
                Via::Polling | Via::Streaming => "\n",
                Via::Events => "\r\n\r\n",
                Via::Page => "</script>\r\n",
                Via::Calls => ";\r\n",
            };
            let Some(part) = live.until(end).await else {
                self.live = None;
                continue;
            };
            let inner = match self.via {
                Via::Polling | Via::Streaming => Some(part),
                // Before the first stands an empty line.
                Via::Events => part.trim_start().strip_prefix("data: ").map(str::to_owned),
                Via::Page => text_of(&part, "<script>\np(", ");\n"),
                Via::Calls => text_of(&part, "/**/call(", ")"),
            };
            if matches!(self.via, Via::Polling | Via::Calls) {
                // That was the whole of it.
                self.live = None;
            }
            // The prelude is none.
            if let Some(frame) = inner.filter(|frame| !frame.starts_with("hh")) {
                return frame;
            }
        }
    }

    /// Leaves whatever response is open where it is.
    pub fn let_go(&mut self) -> Option<Live> {
        self.live.take()
    }

    /// Asks for the next response, where none is open.
    pub async fn begin(&mut self) {
        if self.live.is_some() {
            return;
        }
        let (method, path) = match self.via {
            Via::Polling => ("POST", "xhr"),
            Via::Streaming => ("POST", "xhr_streaming"),
            Via::Events => ("GET", "eventsource"),
            Via::Page => ("GET", "htmlfile?c=call"),
            Via::Calls => ("GET", "jsonp?c=call"),
        };
        let path = format!("{}/{path}", self.session);
        self.live = Some(Live::asked(&self.address, method, &path, &[], "").await);
    }
}

pub fn write(command: Command) -> FrameWriter {
    FrameWriter::new(Version::V1_2, command)
}

/// The text within a script; `None` for another script.
fn text_of(script: &str, begin: &str, end: &str) -> Option<String> {
    let at = script.find(begin)?;
    let quoted = script[at + begin.len()..].strip_suffix(end).expect("a call");
    match serde_json::from_str(quoted).expect("a text") {
        Value::String(text) => Some(text),
        other => panic!("no text: {other}"),
    }
}
