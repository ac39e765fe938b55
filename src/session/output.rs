//! What a session wants done, in order. Deliveries wait as pointers, and become bytes when they are taken: a queue of them weighs little,
//! however large the bodies are and however many subscriptions each goes to.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Disconnect;
use super::commanding::AppCommand;
use super::dialect::Dialect;
use super::inbox::Read;
use super::parcel::{Address, Parcel};
use super::subscriptions::Subscription;
use crate::domain::envelope::{Envelope, Message};
use crate::domain::time::EpochMs;

/// What a session wants done.
#[derive(Debug)]
pub enum Output {
    /// Bytes for the client that deliver nothing: an answer or a heart-beat.
    Send(Bytes),
    /// A MESSAGE, or the event of a notification, for the client, and what is in it.
    Deliver(Delivered, Bytes, Arc<Parcel>),
    /// A MESSAGE that says what became of a command.
    Answer(Bytes),
    /// The attempts or the time of a delivery are over.
    GivenUp,
    /// A delivery without a record was lost to a full window.
    Dropped,
    /// Who is this? Answer with [`Session::handle_authenticated`](super::Session::handle_authenticated).
    Authenticate {
        credential: Credential,
        renewal: bool,
    },
    /// Read this page of the user's inbox; answer with [`Session::handle_page`](super::Session::handle_page). Takes the place of a read that is
    /// under way.
    Read(Read),
    /// Write these outcomes; with a ticket, answer with [`Session::handle_confirmed`](super::Session::handle_confirmed). In order: the answer
    /// to a confirmation without ids says that all before it are stored.
    Confirm(Confirm),
    /// The token lets its user read this topic; may it? Answer with [`Session::handle_may_read`](super::Session::handle_may_read).
    MayRead(String),
    /// For a plugin; answer with [`Session::handle_answer`](super::Session::handle_answer).
    Command(Box<AppCommand>),
    /// Forward to a topic.
    Publish(Envelope),
    /// Begin or stop to hear a topic.
    Listen(String),
    Unlisten(String),
    /// Take back what was to be delivered and still waits in the transport: the token has ended.
    Retract,
    /// The end, after everything before it was sent.
    Close(Disconnect),
}

/// By what a client says who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token, as its header had it.
    Token(String),
    /// A ticket that was given for a token: it opens a stream of events, and nothing else.
    Ticket(String),
}

/// What a MESSAGE is, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The first to this session; `created` is given unless it was replayed.
    First {
        created: Option<EpochMs>,
    },
    Again,
    /// Asks for no confirmation.
    Once,
}

/// Confirmations of the session's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    pub ids: Vec<String>,
    /// Only look whether the user has it; write nothing.
    pub look_only: bool,
    /// What the answer decides.
    pub(super) purpose: Purpose,
    pub ticket: Option<u32>,
}

/// Why the record is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To write the outcomes.
    Write,
    /// To learn whether an ACK (`true`) or a NACK names what was delivered to this session. Nothing is written before that is known: a frame
    /// that is refused changes nothing.
    Recognise { acked: bool },
}

/// A page of the inbox, as it was read.
#[derive(Debug)]
pub struct PageRead {
    pub rows: Vec<Message>,
    pub complete: bool,
    pub last_seq: u64,
    pub removed_through: u64,
}

/// The outputs that wait to be taken. Holds no memory while there are none.
#[derive(Debug, Default)]
pub(super) struct Outputs(VecDeque<Queued>);

#[derive(Debug)]
enum Queued {
    Ready(Output),
    Delivery(Delivery),
}

/// A MESSAGE that is not encoded yet: one attempt at one subscription.
#[derive(Debug)]
pub(super) struct Delivery {
    pub delivered: Delivered,
    pub parcel: Arc<Parcel>,
    pub subscription: Arc<Subscription>,
    pub dialect: Dialect,
    pub attempt: Attempt,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    /// `marks`: the client resumes behind it from now on.
    First {
        replayed: bool,
        marks: bool,
    },
    Further {
        number: u32,
        last_sent: EpochMs,
    },
}

impl Outputs {
    pub fn push(&mut self, output: Output) {
        self.0.push_back(Queued::Ready(output));
    }

    pub fn deliver(&mut self, delivery: Delivery) {
        self.0.push_back(Queued::Delivery(delivery));
    }

    pub fn take(&mut self) -> Option<Output> {
        match self.0.pop_front() {
            Some(Queued::Ready(output)) => Some(output),
            Some(Queued::Delivery(delivery)) => {
                let bytes = delivery.encode();
                Some(Output::Deliver(delivery.delivered, bytes, delivery.parcel))
            }
            None => {
                // An idle session gives its buffer back.
                self.0 = VecDeque::new();
                None
            }
        }
    }

    /// Takes out what was to be delivered.
    pub fn retract_deliveries(&mut self) {
        let delivers = |queued: &Queued| matches!(queued, Queued::Delivery(_) | Queued::Ready(Output::Answer(_)));
        self.0.retain(|queued| !delivers(queued));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes back what was put in behind the first `len`.
    pub fn take_back(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Delivery {
    fn encode(&self) -> Bytes {
        let to = Address {
            dialect: self.dialect,
            subscription: self.subscription.id.as_deref(),
            destination: &self.subscription.destination,
        };
        match self.attempt {
            Attempt::First { replayed, marks } => self.parcel.first(to, replayed, marks),
            Attempt::Further { number, last_sent } => self.parcel.again(to, number, last_sent),
        }
    }
}

/// Without the secret: what is printed ends in logs.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Ticket(_) => "Ticket",
        })
    }
}

impl Confirm {
    /// Writes outcomes: of ids that the session held, or that its user may have.
    pub(super) fn write(ids: Vec<String>) -> Self {
        Self {
            ids,
            look_only: false,
            purpose: Purpose::Write,
            ticket: None,
        }
    }

    /// Asks about an ACK or a NACK for what this session doesn't hold (any more).
    pub(super) fn recognise(id: &str, acked: bool) -> Self {
        Self {
            ids: vec![id.to_owned()],
            look_only: true,
            purpose: Purpose::Recognise { acked },
            ticket: None,
        }
    }

    pub(super) fn is_question(&self) -> bool {
        self.purpose != Purpose::Write
    }
}
