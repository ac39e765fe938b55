//! SockJS frames over a WebSocket.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::edge::transport::{Lost, Payload, Received, Transport};
use crate::edge::websocket::WebSocket;
use crate::sockjs::{frame, message};

/// A [`Transport`] whose messages travel in frames.
pub struct Framed {
    wire: WebSocket,
    /// Messages of the last frame that were not taken yet.
    waiting: VecDeque<String>,
    /// The client sent what is no frame; it is not to be trusted with one.
    broken: bool,
    every: Duration,
    sent: Instant,
    heartbeat: Pin<Box<Sleep>>,
}

impl Framed {
    /// Sends the open frame.
    pub async fn open(mut wire: WebSocket, every: Duration) -> Result<Self, Lost> {
        wire.write(Payload::Text(frame::OPEN.into())).await?;
        wire.flush().await?;
        let sent = Instant::now();
        Ok(Self {
            wire,
            waiting: VecDeque::new(),
            broken: false,
            every,
            sent,
            heartbeat: Box::pin(sleep_until(sent + every)),
        })
    }

    /// The client needs a word when nothing was sent for as long.
    fn beat(&mut self) {
        let due = self.sent + self.every;
        if due <= Instant::now() {
            // Not waited for: a client that takes nothing is noticed where messages are written.
            let beat = self.wire.write(Payload::Text(frame::HEARTBEAT.into())).now_or_never();
            if beat.is_some_and(|written| written.is_ok()) {
                let _ = self.wire.flush().now_or_never();
            }
            self.sent = Instant::now();
        }
        self.heartbeat.as_mut().reset(self.sent + self.every);
    }
}

impl Transport for Framed {
    async fn receive(&mut self) -> Received {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Received::Message(Payload::Text(message.into()));
            }
            let received = tokio::select! {
                received = self.wire.receive() => received,
                () = &mut self.heartbeat => {
                    self.beat();
                    continue;
                }
            };
            let Received::Message(frame) = received else {
                return received;
            };
            match message::decode_frame(&frame.into_bytes()) {
                Ok(messages) => self.waiting = messages.into(),
                Err(error) => {
                    self.broken = true;
                    return Received::Malformed(error.to_string());
                }
            }
        }
    }

    async fn write(&mut self, message: Payload) -> Result<(), Lost> {
        let frame = match &message {
            Payload::Text(text) => frame::messages([text.as_str()]),
            // SockJS has text alone.
            Payload::Binary(bytes) => frame::messages([&*String::from_utf8_lossy(bytes)]),
        };
        self.wire.write(Payload::Text(frame.into())).await?;
        self.sent = Instant::now();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        self.wire.flush().await
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = frame::close(code, reason);
        if self.broken || self.wire.write(Payload::Text(frame.into())).await.is_ok() {
            self.wire.close(code, reason).await;
        }
    }
}
