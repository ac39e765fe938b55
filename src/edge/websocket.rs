//! The WebSocket transport.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Error;

use super::transport::{Lost, Received, Transport};

impl Transport for WebSocket {
    async fn receive(&mut self) -> Received {
        loop {
            return match self.recv().await {
                Some(Ok(Message::Text(text))) => Received::Message(text.into()),
                Some(Ok(Message::Binary(bytes))) => Received::Message(bytes),
                // The protocol's own pings are answered below this layer.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) | None => Received::Closed,
                Some(Err(error)) => match error.into_inner().downcast_ref::<Error>() {
                    Some(Error::Capacity(error)) => Received::TooLarge(error.to_string()),
                    Some(Error::Protocol(
                        tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                    )) => Received::Closed,
                    Some(error @ (Error::Protocol(_) | Error::Utf8(_))) => Received::Malformed(error.to_string()),
                    _ => Received::Closed,
                },
            };
        }
    }

    async fn write(&mut self, message: Bytes) -> Result<(), Lost> {
        // STOMP is text; a body that isn't goes out as what it is.
        let message = match Utf8Bytes::try_from(message.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(message),
        };
        self.feed(message).await.map_err(|_| Lost)
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        SinkExt::flush(self).await.map_err(|_| Lost)
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        if self.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        // What the client had under way is read and dropped: a socket closed on unread data would take our last words with it.
        while let Some(Ok(_)) = self.recv().await {}
    }
}
