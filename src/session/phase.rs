//! Where a session is in its life. What a phase needs lives inside it: there is no outbox before CONNECTED.

use std::sync::Arc;
use std::time::Instant;

use super::Rules;
use super::dialect::Dialect;
use super::personal::Personal;
use super::recent::Recent;
use super::subscriptions::{Subscription, Subscriptions};
use super::told::Told;
use super::transactions::Transactions;
use super::waiting::Waiting;
use crate::domain::id::SessionName;
use crate::domain::identity::Identity;
use crate::domain::time::Now;
use crate::stomp::{HeartBeat, Offer, Version};

#[derive(Debug)]
pub enum Phase {
    /// The transport is open; CONNECT has to come before this instant.
    Opening {
        deadline: Instant,
    },
    /// Who it is, is being asked.
    Authenticating(Hello),
    Connected(Box<Connected>),
    /// The last word is spoken.
    Closed,
}

/// How a client asked to be let in.
#[derive(Debug)]
pub enum Hello {
    /// By CONNECT.
    Connect {
        version: Version,
        offer: Offer,
        receipt: Option<String>,
    },
    /// By a request for events behind its Last-Event-ID, if it had one.
    Events { last_event_id: Option<u64> },
}

#[derive(Debug)]
pub struct Connected {
    pub name: SessionName,
    pub dialect: Dialect,
    pub identity: Identity,
    /// When the identity's token ends.
    pub expires: Option<Instant>,
    pub heartbeat: HeartBeat,
    pub subscriptions: Subscriptions,
    pub personal: Option<Box<Personal>>,
    /// Counts first deliveries on the personal queue.
    pub deliveries: u64,
    /// What was delivered, for who confirms it late or again.
    pub told: Told,
    pub recent: Recent,
    pub transactions: Transactions,
    pub waiting: Waiting,
    /// ACK and NACK frames of which the record is asked whether this session was told what they name.
    pub recognising: usize,
    /// A fresh token is being looked at; its frame's receipt.
    pub renewing: Option<Option<String>>,
    /// A SUBSCRIBE that somebody else has a say about.
    pub judging: Option<Box<Judging>>,
    /// DISCONNECT came: nothing more is read, and the session ends when its confirmations are stored.
    pub leaving: Option<Leaving>,
}

/// A subscription that the token allows, and what it was asked for with.
#[derive(Debug)]
pub struct Judging {
    pub subscription: Arc<Subscription>,
    pub receipt: Option<String>,
}

#[derive(Debug)]
pub struct Leaving {
    pub receipt: Option<String>,
    /// The end, stored or not.
    pub deadline: Instant,
}

impl Connected {
    pub fn new(name: SessionName, dialect: Dialect, identity: Identity, heartbeat: HeartBeat, now: Now) -> Self {
        Self {
            name,
            dialect,
            expires: identity.expires.map(|expires| now.instant_of(expires)),
            identity,
            heartbeat,
            subscriptions: Subscriptions::default(),
            personal: None,
            deliveries: 0,
            told: Told::default(),
            recent: Recent::default(),
            transactions: Transactions::default(),
            waiting: Waiting::default(),
            recognising: 0,
            renewing: None,
            judging: None,
            leaving: None,
        }
    }

    /// Whether more frames may be read: not after DISCONNECT, nor while it is not known whether the last one was right (a fresh token, a topic, an
    /// ACK for what the session doesn't hold), nor while as many confirmations wait for the record as a window has deliveries.
    pub fn wants_input(&self, rules: &Rules) -> bool {
        let is_judged = self.renewing.is_none() && self.judging.is_none() && self.recognising == 0;
        is_judged && self.leaving.is_none() && self.waiting.len() < rules.window
    }

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
