//! The WebSocket transport.

use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Config;
use super::transport::{Lost, Payload, Received, Transport};

/// What a WebSocket may hold; see `edge.max_message` and `edge.read_buffer`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_message: usize,
    pub read_buffer: usize,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            max_message: config.max_message,
            read_buffer: config.read_buffer,
        }
    }
}

pub struct WebSocket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// What the client sent could not be read, so the framing is lost; the code that says why (RFC 6455, section 7.4.1).
    broken: Option<u16>,
}

/// Small frames that go out together are one write. The buffer stays with the connection, so it is small, too.
const WRITE_BUFFER: usize = 4 * 1024;

impl WebSocket {
    pub async fn new(connection: Upgraded, limits: Limits) -> Self {
        let limits = WebSocketConfig::default()
            .read_buffer_size(limits.read_buffer)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limits.max_message))
            .max_frame_size(Some(limits.max_message));
        Self {
            stream: WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(limits)).await,
            broken: None,
        }
    }

    /// Takes note that nothing more can be read, and tells why.
    fn failed(&mut self, error: &Error) -> Received {
        let (code, received) = match error {
            Error::Capacity(error) => (1009, Received::TooLarge(error.to_string())),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => (1006, Received::Closed),
            Error::Protocol(_) => (1002, Received::Malformed(error.to_string())),
            Error::Utf8(_) => (1007, Received::Malformed(error.to_string())),
            _ => (1006, Received::Closed),
        };
        self.broken = Some(code);
        received
    }
}

impl Transport for WebSocket {
    async fn receive(&mut self) -> Received {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Received::Message(Payload::Text(text)),
                Some(Ok(Message::Binary(bytes))) => Received::Message(Payload::Binary(bytes)),
                // The protocol's own pings are answered below this layer.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_))) => {
                    // The answer is made; it is not waited for.
                    let _ = self.stream.flush().now_or_never();
                    Received::Closed
                }
                None => Received::Closed,
                Some(Err(error)) => self.failed(&error),
            };
        }
    }

    async fn write(&mut self, message: Payload) -> Result<(), Lost> {
        let message = match message {
            Payload::Text(text) => Message::Text(text),
            Payload::Binary(bytes) => Message::Binary(bytes),
        };
        self.stream.feed(message).await.map_err(|_| Lost)
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        self.stream.flush().await.map_err(|_| Lost)
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: self.broken.unwrap_or(code).into(),
            reason: reason.into(),
        };
        if self.stream.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        // What the client had under way is read and dropped: a socket closed on unread data would take our last words with it.
        if self.broken.is_none() {
            while let Some(Ok(_)) = self.stream.next().await {}
            return;
        }
        let raw = self.stream.get_mut();
        if raw.shutdown().await.is_ok() {
            let mut dropped = [0; 4_096];
            while let Ok(1..) = raw.read(&mut dropped).await {}
        }
    }
}
