//! Where a session is in its life. What a phase needs lives inside it: there is no outbox before CONNECTED.

use std::time::Instant;

use super::personal::{Personal, Recent};
use super::subscriptions::Subscriptions;
use super::transactions::Transactions;
use crate::domain::identity::Identity;
use crate::stomp::{HeartBeat, Offer, Version};

#[derive(Debug)]
pub enum Phase {
    /// The transport is open; CONNECT has to come before this instant.
    Opening {
        deadline: Instant,
    },
    /// CONNECT came; who it is, is being asked.
    Authenticating {
        version: Version,
        offer: Offer,
    },
    Connected(Box<Connected>),
    /// The last word is spoken.
    Closed,
}

#[derive(Debug)]
pub struct Connected {
    pub version: Version,
    pub identity: Identity,
    /// When the identity's token ends.
    pub expires: Option<Instant>,
    pub heartbeat: HeartBeat,
    pub subscriptions: Subscriptions,
    pub personal: Option<Box<Personal>>,
    pub recent: Recent,
    pub transactions: Transactions,
    pub waiting: Waiting,
    /// A fresh token is being looked at; its frame's receipt.
    pub renewing: Option<Option<String>>,
    /// DISCONNECT came: nothing more is read, and the session ends when its confirmations are stored.
    pub leaving: Option<Leaving>,
}

#[derive(Debug)]
pub struct Leaving {
    pub receipt: Option<String>,
    /// The end, stored or not.
    pub deadline: Instant,
}

/// Confirmations whose outcome somebody waits for.
#[derive(Debug, Default)]
pub struct Waiting {
    tickets: Vec<Ticket>,
    last: u32,
}

#[derive(Debug)]
struct Ticket {
    number: u32,
    /// Confirmations that have not been answered.
    open: usize,
    receipt: Option<String>,
}

impl Waiting {
    /// A new ticket for `receipt`, for which `open` answers will come.
    pub fn issue(&mut self, receipt: Option<String>, open: usize) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.tickets.push(Ticket {
            number: self.last,
            open,
            receipt,
        });
        self.last
    }

    /// One answer came. With the last one the receipt is due.
    pub fn answered(&mut self, number: u32) -> Option<String> {
        let index = self.tickets.iter().position(|ticket| ticket.number == number)?;
        self.tickets[index].open -= 1;
        if self.tickets[index].open > 0 {
            return None;
        }
        self.tickets.remove(index).receipt
    }

    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }
}

impl Connected {
    /// The next instant at which something is to be done.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let personal = self.personal.as_ref().and_then(|personal| personal.poll_timeout());
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        [self.heartbeat.due(), self.expires, personal, leaving]
            .into_iter()
            .flatten()
            .min()
    }
}
