//! What client frames do to a session: which does what, within transactions or at once, and how the session is left.

use std::time::Duration;

use super::Rules;
use super::disconnect::{Disconnect, Reason};
use super::output::{Confirm, Output, Outputs};
use super::phase::{Connected, Leaving};
use super::sending::APP_TOKEN;
use super::subscriptions::Subscriptions;
use super::transactions::{Bounds, Fault, Transactions};
use crate::domain::time::Now;
use crate::stomp::{Command, Frame, FrameWriter, Offer, ServerCommand, Version};

/// How long after DISCONNECT the session waits for its outcomes to be stored.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A connected session while it acts.
pub(super) struct Turn<'a> {
    pub rules: &'a Rules,
    pub topics_guarded: bool,
    pub connected: &'a mut Connected,
    pub outputs: &'a mut Outputs,
    pub now: Now,
}

/// Reads the first frame: the version, the client's heart-beat, and the token.
pub(super) fn connect(frame: &Frame) -> Result<(Version, Offer, String), Disconnect> {
    let receipt = frame.headers.get("receipt");
    if !matches!(frame.command, Command::Connect | Command::Stomp) {
        let detail = format!("{} before CONNECT", frame.command.as_str());
        return Err(Disconnect::new(Reason::NotConnected, detail).with_receipt(receipt));
    }
    let Some(version) = Version::negotiate(frame.headers.get("accept-version")) else {
        let detail = format!(
            "none of the versions in accept-version is served; served: {}",
            Version::SUPPORTED
        );
        return Err(Disconnect::new(Reason::UnsupportedVersion, detail).with_receipt(receipt));
    };
    let offer = Offer::parse(frame.headers.get("heart-beat"))
        .map_err(|error| Disconnect::new(Reason::MalformedFrame, error.to_string()).with_receipt(receipt))?;
    let token = frame
        .headers
        .get("Authorization")
        .or_else(|| frame.headers.get("authorization"));
    Ok((version, offer, token.unwrap_or_default().to_owned()))
}

impl Turn<'_> {
    /// One frame behind CONNECT. An error ends the session, and carries the frame's receipt.
    pub fn frame(&mut self, frame: Frame) -> Result<(), Disconnect> {
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        self.dispatch(frame, receipt.clone())
            .map_err(|disconnect| Disconnect { receipt, ..disconnect })
    }

    fn dispatch(&mut self, frame: Frame, receipt: Option<String>) -> Result<(), Disconnect> {
        match frame.command {
            Command::Connect | Command::Stomp => {
                return Err(Disconnect::new(
                    Reason::AlreadyConnected,
                    "a second CONNECT on one session",
                ));
            }
            Command::Send | Command::Ack | Command::Nack => match frame.headers.get("transaction") {
                Some(name) => {
                    let name = name.to_owned();
                    self.in_transaction(&name, |open, bounds| open.add(&name, frame, bounds))?;
                }
                None if frame.command == Command::Send && frame.headers.get("destination") == Some(APP_TOKEN) => {
                    return self.renew(&frame, receipt);
                }
                None => {
                    let confirm = self.apply(&frame)?;
                    self.settle(confirm.into_iter().collect(), receipt);
                    return Ok(());
                }
            },
            Command::Begin => {
                let name = required(&frame, "transaction")?;
                self.in_transaction(name, |open, bounds| open.begin(name, bounds))?;
            }
            Command::Abort => {
                let name = required(&frame, "transaction")?;
                self.in_transaction(name, |open, _| open.end(name))?;
            }
            Command::Commit => {
                let name = required(&frame, "transaction")?;
                let frames = self.in_transaction(name, |open, _| open.end(name))?;
                let confirms = self.apply_all(&frames)?;
                self.settle(confirms, receipt);
                return Ok(());
            }
            Command::Subscribe => return self.subscribe(&frame, receipt),
            Command::Unsubscribe => self.unsubscribe(&frame)?,
            Command::Disconnect => return self.disconnect(receipt),
        }
        self.receipt(receipt);
        Ok(())
    }

    /// Carries out SEND, ACK or NACK, at once or at COMMIT.
    fn apply(&mut self, frame: &Frame) -> Result<Option<Confirm>, Disconnect> {
        match frame.command {
            Command::Ack => self.acknowledge(frame, true),
            Command::Nack => self.acknowledge(frame, false),
            _ => self.send(frame),
        }
    }

    /// Carries out a transaction: all of it, or nothing where one of its frames is refused.
    fn apply_all(&mut self, frames: &[Frame]) -> Result<Vec<Confirm>, Disconnect> {
        let before = self.outputs.len();
        let mut confirms = Vec::new();
        for frame in frames {
            match self.apply(frame) {
                Ok(confirm) => confirms.extend(confirm),
                Err(disconnect) => {
                    self.outputs.take_back(before);
                    return Err(disconnect);
                }
            }
        }
        Ok(confirms)
    }

    fn in_transaction<T>(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Transactions, &Bounds) -> Result<T, Fault>,
    ) -> Result<T, Disconnect> {
        act(&mut self.connected.transactions, &self.rules.transactions).map_err(|fault| transaction_fault(name, fault))
    }

    /// DISCONNECT: nothing more is delivered, and the session ends when its confirmations are stored.
    fn disconnect(&mut self, receipt: Option<String>) -> Result<(), Disconnect> {
        self.connected.personal = None;
        self.connected.subscriptions = Subscriptions::default();
        self.connected.leaving = Some(Leaving {
            receipt,
            deadline: self.now.instant + LEAVE_WITHIN,
        });
        if self.connected.waiting.take_unheard() {
            // Outcomes are stored in order, so the answer to this one speaks for those that nobody waits for.
            let ticket = Some(self.connected.waiting.issue(None, 1));
            self.outputs.push(Output::Confirm(Confirm {
                ticket,
                ..Confirm::write(Vec::new())
            }));
        }
        self.leave_if_settled()
    }

    /// After DISCONNECT: the end, once nothing waits to be stored.
    pub fn leave_if_settled(&mut self) -> Result<(), Disconnect> {
        if !self.connected.waiting.is_empty() {
            return Ok(());
        }
        let Some(leaving) = self.connected.leaving.take() else {
            return Ok(());
        };
        self.receipt(leaving.receipt);
        Err(Disconnect::new(Reason::Bye, "DISCONNECT"))
    }

    /// After DISCONNECT: the end all the same, when the record takes too long. No RECEIPT then, as it would say that all is stored.
    pub fn leave_unsettled(&mut self) -> Result<(), Disconnect> {
        let late = |leaving: &mut Leaving| leaving.deadline <= self.now.instant;
        let Some(leaving) = self.connected.leaving.take_if(late) else {
            return Ok(());
        };
        let detail = "the record is away: what was confirmed last may not be stored yet";
        Err(Disconnect::new(Reason::Unavailable, detail).with_receipt(leaving.receipt.as_deref()))
    }

    pub fn receipt(&mut self, receipt: Option<String>) {
        if let Some(receipt) = receipt {
            let frame = FrameWriter::new(self.connected.dialect.version(), ServerCommand::Receipt)
                .header("receipt-id", &receipt)
                .end();
            self.connected.heartbeat.on_sent(self.now.instant);
            self.outputs.push(Output::Send(frame));
        }
    }
}

pub(super) fn required<'a>(frame: &'a Frame, header: &'static str) -> Result<&'a str, Disconnect> {
    frame.headers.get(header).ok_or_else(|| missing(frame, header))
}

pub(super) fn missing(frame: &Frame, header: &'static str) -> Disconnect {
    let detail = format!("{} without the header {header}", frame.command.as_str());
    Disconnect::new(Reason::MalformedFrame, detail)
}

fn transaction_fault(name: &str, fault: Fault) -> Disconnect {
    let name = excerpt(name);
    match fault {
        Fault::Exists => Disconnect::new(Reason::BadState, format!("BEGIN: transaction {name} has begun already")),
        Fault::Unknown => Disconnect::new(Reason::BadState, format!("transaction {name} was not begun")),
        Fault::Full(limit, most) => {
            let detail = format!("transaction {name}: more than {most} ({limit})");
            Disconnect::new(Reason::LimitExceeded, detail)
        }
    }
}

/// What a client wrote, short and without control characters, for an answer or a log.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    let shown = text.chars().take(MOST);
    let mut shown: String = shown.map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
