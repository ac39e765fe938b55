//! Does what a session wants done, as a connection would.

use std::sync::Arc;

use quick_notify::domain::identity::{Identity, Pattern, Topics};
use quick_notify::session::parcel::Parcel;
use quick_notify::session::{Confirm, Credential, Disconnect, Output, Reason};
use quick_notify::stomp;

use super::events;
use super::lines::{line, shown};
use super::story::{Story, secs};
use crate::harness::Event;

impl Story {
    /// Does what a connection would do.
    pub fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            assert!(!self.is_closed(), "something behind the close: {output:?}");
            match output {
                Output::Send(bytes) | Output::Answer(bytes) | Output::Deliver(_, bytes, _) => self.client_gets(bytes),
                Output::GivenUp => self.lines.push("given up".into()),
                Output::Dropped => self.lines.push("dropped".into()),
                Output::Authenticate { credential, renewal } => {
                    let (Credential::Token(token) | Credential::Ticket(token)) = credential;
                    self.asked
                        .push(format!("{} {token}", if renewal { "renew" } else { "who is" }));
                    if self.hold_tokens {
                        self.token = Some(token);
                    } else {
                        self.judge(&token);
                    }
                }
                Output::Read(read) => {
                    self.asked.push(shown(read));
                    // Takes the place of one that is under way.
                    self.read = Some(read);
                }
                Output::Confirm(confirm) => {
                    let verb = if confirm.look_only { "look for" } else { "store" };
                    self.asked.push(format!("{verb} {}", confirm.ids.join(",")));
                    if self.hold_confirms {
                        self.confirms.push(confirm);
                    } else {
                        self.store_outcome(&confirm);
                    }
                }
                Output::MayRead(topic) => self.asked.push(format!("may read {topic}")),
                Output::Command(command) => {
                    self.asked.push(format!("command {} {}", command.name, command.body));
                    self.commands.push(*command);
                }
                Output::Publish(envelope) => {
                    self.asked.push(format!("publish {}", envelope.to.receiver()));
                    let parcel = Arc::new(Parcel::new(envelope));
                    self.session.handle_parcel(&parcel, self.now);
                }
                Output::Listen(topic) => self.asked.push(format!("listen {topic}")),
                Output::Unlisten(topic) => self.asked.push(format!("unlisten {topic}")),
                // Nothing waits below this driver.
                Output::Retract => {}
                Output::Close(end) => self.lines.push(format!("close {}", end.reason.code())),
            }
            if let Some(read) = self.read.take_if(|_| !self.hold_reads) {
                let page = self.record.page(read);
                self.session.handle_page(Some(page), self.now);
            }
        }
    }

    pub fn judge(&mut self, token: &str) {
        let (user, rest) = token.split_once('+').unwrap_or((token, ""));
        let answer = match rest.parse::<u64>() {
            _ if user == "bad" => Err(Disconnect::new(Reason::Token("token-expired"), "the token has expired")),
            Ok(seconds) => Ok(identity(user, Some(self.now.after(secs(seconds)).wall))),
            Err(_) => Ok(identity(user, None)),
        };
        self.session.handle_authenticated(answer, self.now);
    }

    pub fn store_outcome(&mut self, confirm: &Confirm) {
        let seq = self.record.confirm(confirm);
        if confirm.ticket.is_some() {
            self.session.handle_confirmed(confirm, seq, self.now);
        }
    }

    fn client_gets(&mut self, bytes: bytes::Bytes) {
        if let Some(told) = &mut self.events {
            let event = Event::read(std::str::from_utf8(&bytes).expect("events are text"));
            self.lines.push(events::line(&event));
            told.push(event);
            return;
        }
        self.parser.feed(bytes);
        while let Some(event) = self.parser.next().expect("the server speaks STOMP") {
            let stomp::Event::Frame(frame) = event else {
                self.lines.push("beat".into());
                continue;
            };
            self.lines.push(line(&frame));
            self.frames.push(frame);
        }
    }
}

/// Whoever it is may read and write `/topic/open...`, and read `/topic/news...`; one whose name begins with `quiet` may not.
fn identity(user: &str, expires: Option<i64>) -> Identity {
    let pattern = |text| Pattern::parse(text).expect("a pattern");
    let (name, quiet) = user.strip_prefix("quiet-").map_or((user, false), |name| (name, true));
    let open = ["/topic/open", "/topic/open.**", "/topic/messages"]
        .map(pattern)
        .to_vec();
    let read = if quiet {
        vec![]
    } else {
        [&open[..], &[pattern("/topic/news")]].concat()
    };
    Identity {
        user: name.into(),
        expires,
        token_id: None,
        issued: None,
        topics: Topics::new(read, open).expect("few patterns"),
        max_sessions: None,
    }
}
