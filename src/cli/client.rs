//! A small STOMP client for the terminal: one connection, frames in and out.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::stomp::{Command, Event, Frame, FrameWriter, Limits, Parser, ServerCommand, Version};

/// A connection to a server, after CONNECTED.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    parser: Parser<ServerCommand>,
    /// The user that the token speaks for.
    pub user: String,
}

impl Client {
    /// Connects to `url` (`ws://...`) with `token`.
    pub async fn connect(url: &str, token: &str) -> anyhow::Result<Self> {
        let mut request = url.into_client_request()?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "v12.stomp".parse()?);
        let (socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .with_context(|| format!("{url} can't be reached"))?;
        let limits = Limits {
            body: 16 * 1024 * 1024,
            ..Limits::default()
        };
        // Only one version is offered, so whatever comes, an ERROR to the first frame too, is in it.
        let mut parser = Parser::of_server(limits);
        parser.set_version(Version::V1_2);
        let mut client = Self {
            socket,
            parser,
            user: String::new(),
        };
        let connect = FrameWriter::new(Version::V1_2, Command::Connect)
            .header("accept-version", "1.2")
            .header("host", "quick-notify")
            .header("heart-beat", "0,10000")
            .header("Authorization", token)
            .end();
        client.send(connect).await?;
        let connected = client.next().await?.context("the server closed the connection")?;
        match connected.command {
            ServerCommand::Connected => {
                client.user = connected.headers.get("user-name").unwrap_or_default().to_owned();
                Ok(client)
            }
            _ => Err(Refused::from(&connected).into()),
        }
    }

    pub async fn send(&mut self, frame: Bytes) -> anyhow::Result<()> {
        let text = String::from_utf8(frame.to_vec())?;
        Ok(self.socket.send(Message::Text(text.into())).await?)
    }

    /// The next frame; `None` at the end, and when the server is silent for longer than its heart-beats allow.
    pub async fn next(&mut self) -> anyhow::Result<Option<Frame<ServerCommand>>> {
        loop {
            match self.parser.next()? {
                Some(Event::Frame(frame)) => return Ok(Some(frame)),
                Some(Event::HeartBeat) => continue,
                None => {}
            }
            let Ok(message) = tokio::time::timeout(SILENCE, self.socket.next()).await else {
                return Ok(None);
            };
            match message {
                Some(Ok(Message::Text(text))) => self.parser.feed(text.into()),
                Some(Ok(Message::Binary(bytes))) => self.parser.feed(bytes),
                Some(Ok(Message::Close(_))) | None => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

/// The server beats every 10 s.
const SILENCE: Duration = Duration::from_secs(30);

/// What an ERROR says.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Refused {
    code: String,
    message: String,
}

impl Refused {
    /// Whether the same token will be refused again.
    pub fn is_final(&self) -> bool {
        self.code.starts_with("token-")
    }
}

impl From<&Frame<ServerCommand>> for Refused {
    fn from(frame: &Frame<ServerCommand>) -> Self {
        let header = |name, otherwise| frame.headers.get(name).unwrap_or(otherwise).to_owned();
        Self {
            code: header("code", "error"),
            message: header("message", "no reason given"),
        }
    }
}
