//! What SEND does: confirmations, fresh tokens, and messages to topics.

use bytes::Bytes;

use super::disconnect::{Disconnect, Reason};
use super::frames::{Turn, excerpt, required};
use super::output::{Confirm, Credential, Output};
use super::personal;
use crate::domain::envelope::Envelope;
use crate::domain::identity::Identity;
use crate::domain::notification::topic_destination;
use crate::stomp::Frame;

/// Confirmation by SEND: the body is the id, as plain text.
const APP_ACK: &str = "/app/ack";
/// A fresh token by SEND: the body is the token.
pub(super) const APP_TOKEN: &str = "/app/token";
/// The demo's echo to everyone.
const APP_SEND_MESSAGE: &str = "/app/sendMessage";
const DEMO_TOPIC: &str = "/topic/messages";

impl Turn<'_> {
    pub fn send(&mut self, frame: &Frame) -> Result<Option<Confirm>, Disconnect> {
        let destination = required(frame, "destination")?;
        match destination {
            APP_ACK => Ok(std::str::from_utf8(&frame.body)
                .ok()
                .and_then(|id| self.confirm_by_send(id.trim()))),
            APP_TOKEN => Err(Disconnect::new(
                Reason::BadState,
                "a token can't be renewed within a transaction",
            )),
            APP_SEND_MESSAGE => {
                self.may_write(DEMO_TOPIC)?;
                let text = String::from_utf8_lossy(&frame.body);
                let body = serde_json::to_vec(&serde_json::json!({"payload": text})).expect("text is JSON");
                self.publish(DEMO_TOPIC.into(), Some("application/json"), &body);
                Ok(None)
            }
            _ if destination.starts_with("/topic/") => {
                let topic = topic(destination)?;
                self.may_write(&topic)?;
                self.publish(topic, frame.headers.get("content-type"), &frame.body);
                Ok(None)
            }
            _ if self.command(destination, frame).is_some() => Ok(None),
            _ if destination.starts_with("/user/") || destination.starts_with("/queue/") => {
                let detail = format!("SEND to {}: only the server sends there", excerpt(destination));
                Err(Disconnect::new(Reason::ForbiddenDestination, detail))
            }
            _ => Err(unknown_destination("SEND", destination)),
        }
    }

    fn publish(&mut self, destination: String, content_type: Option<&str>, body: &[u8]) {
        // Copied: the frame's body may be a slice of a large chunk, all of which it would keep for as long as it waits for slow readers.
        let body = Bytes::copy_from_slice(body);
        let envelope = Envelope::relay(destination, content_type.map(str::to_owned), body);
        self.outputs.push(Output::Publish(envelope));
    }

    fn may_write(&self, topic: &str) -> Result<(), Disconnect> {
        if self.connected.identity.topics.may_write(topic) {
            return Ok(());
        }
        let detail = format!("SEND to {}: this token does not allow it", excerpt(topic));
        Err(Disconnect::new(Reason::ForbiddenDestination, detail))
    }

    pub fn renew(&mut self, frame: &Frame, receipt: Option<String>) -> Result<(), Disconnect> {
        let Ok(token) = std::str::from_utf8(&frame.body) else {
            return Err(Disconnect::new(
                Reason::Token("token-malformed"),
                "the token is not text",
            ));
        };
        self.connected.renewing = Some(receipt);
        self.outputs.push(Output::Authenticate {
            credential: Credential::Token(token.trim().to_owned()),
            renewal: true,
        });
        Ok(())
    }

    /// A fresh token was found good.
    pub fn renewed(&mut self, identity: Identity) -> Result<(), Disconnect> {
        let receipt = self.connected.renewing.take().flatten();
        if identity.user != self.connected.identity.user {
            let detail = "the fresh token is another user's";
            return Err(Disconnect::new(Reason::Token("token-wrong-user"), detail).with_receipt(receipt.as_deref()));
        }
        if let Some(topic) = self
            .connected
            .subscriptions
            .topics()
            .find(|topic| !identity.topics.may_read(topic))
        {
            let detail = format!("the fresh token does not allow the subscription to {}", excerpt(topic));
            return Err(Disconnect::new(Reason::ForbiddenDestination, detail).with_receipt(receipt.as_deref()));
        }
        self.connected.expires = identity.expires.map(|expires| self.now.instant_of(expires));
        self.connected.identity = identity;
        self.receipt(receipt);
        Ok(())
    }
}

/// The destination of a topic, by the rules that producers keep, too.
pub(super) fn topic(destination: &str) -> Result<String, Disconnect> {
    topic_destination(destination).map_err(|reason| {
        let detail = format!("destination {}: the topic {reason}", excerpt(destination));
        Disconnect::new(Reason::UnknownDestination, detail)
    })
}

pub(super) fn unknown_destination(command: &str, destination: &str) -> Disconnect {
    let detail = format!(
        "{command} to {}: there is no such destination; served: {}, /topic/..., /queue/..., {APP_ACK}, {APP_TOKEN}, {APP_SEND_MESSAGE}, \
         /app/x/NAME, /user/queue/x/NAME",
        excerpt(destination),
        personal::DESTINATION,
    );
    Disconnect::new(Reason::UnknownDestination, detail)
}
