//! Commands: what a client SENDs to `/app/x/NAME` is for an attached plugin, whose answer comes on `/user/queue/x/NAME`.
//!
//! A command goes out as it comes, within its transaction's COMMIT where it has one: the transaction puts out all of its commands or none, and what
//! becomes of each is told by its answer alone. A RECEIPT says that the command was taken. Nothing that goes wrong with a command ends the session;
//! an answer to a session that doesn't listen to it, or that has ended, is dropped.

use super::disconnect::{Disconnect, Reason};
use super::frames::Turn;
use super::output::Output;
use super::subscriptions::AckMode;
use crate::domain::id;
use crate::stomp::{Frame, FrameWriter, ServerCommand};
use crate::subjects;

const APP: &str = "/app/x/";
const QUEUE: &str = "/user/queue/x/";

/// What a client wants a plugin to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCommand {
    pub name: String,
    pub content_type: Option<String>,
    /// The client's own word for it, which the answer repeats.
    pub correlation_id: Option<String>,
    pub body: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAnswer {
    pub name: String,
    pub correlation_id: Option<String>,
    pub said: Result<Said, Undone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub content_type: Option<String>,
    pub body: String,
}

/// It was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// For programs: letters, digits, `-` and `_`.
    pub code: String,
    /// For people.
    pub reason: String,
}

impl AppCommand {
    pub fn answered(&self, said: Result<Said, Undone>) -> CommandAnswer {
        CommandAnswer {
            name: self.name.clone(),
            correlation_id: self.correlation_id.clone(),
            said,
        }
    }
}

impl Turn<'_> {
    /// SEND to `/app/x/NAME`; `None` where that is no command's destination.
    pub fn command(&mut self, destination: &str, frame: &Frame) -> Option<()> {
        let name = name_of(destination, APP)?;
        let header = |name: &str| frame.headers.get(name).map(str::to_owned);
        let body = std::str::from_utf8(&frame.body).ok();
        let command = AppCommand {
            name: name.to_owned(),
            content_type: header("content-type"),
            correlation_id: header("correlation-id"),
            body: body.unwrap_or_default().to_owned(),
        };
        if body.is_some() {
            self.outputs.push(Output::Command(Box::new(command)));
        } else {
            let reason = "the body is no text (UTF-8)".to_owned();
            let code = "no-text".to_owned();
            self.answer(&command.answered(Err(Undone { code, reason })));
        }
        Some(())
    }

    /// An answer came: a MESSAGE on each subscription to its queue. It asks for no confirmation.
    pub fn answer(&mut self, answer: &CommandAnswer) {
        let destination = format!("{QUEUE}{}", answer.name);
        let undone;
        let (content_type, body) = match &answer.said {
            Ok(said) => (said.content_type.as_deref().unwrap_or("text/plain"), &*said.body),
            Err(Undone { code, reason }) => {
                undone = serde_json::json!({"code": code, "reason": reason}).to_string();
                ("application/json", &*undone)
            }
        };
        for subscription in self.connected.subscriptions.to(&destination) {
            let mut frame = FrameWriter::new(self.connected.dialect.version(), ServerCommand::Message)
                .header("destination", &destination)
                .header("message-id", &id::generate())
                .header("content-type", content_type);
            if let Some(id) = &subscription.id {
                frame = frame.header("subscription", id);
            }
            if let Some(correlation_id) = &answer.correlation_id {
                frame = frame.header("correlation-id", correlation_id);
            }
            if let Err(Undone { code, .. }) = &answer.said {
                frame = frame.header("error", code);
            }
            self.connected.heartbeat.on_sent(self.now.instant);
            let bytes = frame.body(body.as_bytes());
            self.outputs.push(Output::Answer(bytes));
        }
    }
}

/// Whether answers to a command come there.
pub(super) fn is_queue(destination: &str) -> bool {
    name_of(destination, QUEUE).is_some()
}

/// Answers ask for no confirmation, and wait for none.
pub(super) fn check_ack(destination: &str, ack: AckMode) -> Result<(), Disconnect> {
    if is_queue(destination) && ack != AckMode::Auto {
        let detail = format!("SUBSCRIBE to {destination}: answers are not confirmed; leave ack out, or say ack:auto");
        return Err(Disconnect::new(Reason::BadState, detail));
    }
    Ok(())
}

fn name_of<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    destination.strip_prefix(prefix).filter(|name| subjects::is_word(name))
}
