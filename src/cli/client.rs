//! A small STOMP client for the terminal: one connection, frames in and out.

use anyhow::{Context, bail};
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
        let mut client = Self {
            socket,
            parser: Parser::of_server(limits),
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
        client.parser.set_version(Version::V1_2);
        match connected.command {
            ServerCommand::Connected => {
                client.user = connected.headers.get("user-name").unwrap_or_default().to_owned();
                Ok(client)
            }
            _ => bail!("{}", refusal(&connected)),
        }
    }

    pub async fn send(&mut self, frame: Bytes) -> anyhow::Result<()> {
        let text = String::from_utf8(frame.to_vec())?;
        Ok(self.socket.send(Message::Text(text.into())).await?)
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Frame<ServerCommand>>> {
        loop {
            match self.parser.next()? {
                Some(Event::Frame(frame)) => return Ok(Some(frame)),
                Some(Event::HeartBeat) => continue,
                None => {}
            }
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => self.parser.feed(text.into()),
                Some(Ok(Message::Binary(bytes))) => self.parser.feed(bytes),
                Some(Ok(Message::Close(_))) | None => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

/// What an ERROR says.
pub fn refusal(frame: &Frame<ServerCommand>) -> String {
    let code = frame.headers.get("code").unwrap_or("error");
    let message = frame.headers.get("message").unwrap_or("no reason given");
    format!("{message} ({code})")
}
