//! What a session subscribed to, within bounds.

use std::sync::Arc;

use crate::stomp::Frame;

/// How a subscription confirms (STOMP 1.2, SUBSCRIBE ack header).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AckMode {
    Auto,
    /// An ACK confirms all deliveries of the subscription before it, too.
    Client,
    ClientIndividual,
}

/// One subscription.
#[derive(Debug)]
pub struct Subscription {
    /// `None`: STOMP 1.0 lets a client subscribe without an id.
    pub id: Option<Box<str>>,
    pub destination: Box<str>,
    pub ack: AckMode,
}

/// The subscriptions of a session. Deliveries that wait to be encoded share them.
#[derive(Debug, Default)]
pub struct Subscriptions(Vec<Arc<Subscription>>);

impl AckMode {
    /// From the frame's `ack` header; auto without one.
    pub fn of(frame: &Frame) -> Result<Self, String> {
        match frame.headers.get("ack") {
            None | Some("auto") => Ok(Self::Auto),
            Some("client") => Ok(Self::Client),
            Some("client-individual") => Ok(Self::ClientIndividual),
            Some(_) => Err("ack must be auto, client or client-individual".into()),
        }
    }
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn add(&mut self, subscription: Arc<Subscription>) {
        // One at a time: most sessions have one or two, and spare room would be multiplied by every session.
        self.0.reserve_exact(1);
        self.0.push(subscription);
    }

    /// Whether UNSUBSCRIBE could not tell another one with this id, or without one (STOMP 1.0) to this destination, apart.
    pub fn has(&self, id: Option<&str>, destination: &str) -> bool {
        self.position(id, Some(destination)).is_some()
    }

    /// By id, or where there is none by destination.
    pub fn remove(&mut self, id: Option<&str>, destination: Option<&str>) -> Option<Arc<Subscription>> {
        let index = self.position(id, destination)?;
        Some(self.0.remove(index))
    }

    /// Those of one destination.
    pub fn to<'a>(&'a self, destination: &'a str) -> impl Iterator<Item = &'a Arc<Subscription>> {
        self.0
            .iter()
            .filter(move |subscription| &*subscription.destination == destination)
    }

    /// The topics among the destinations.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let destinations = self.0.iter().map(|subscription| &*subscription.destination);
        destinations.filter(|destination| destination.starts_with("/topic/"))
    }

    /// Whether an ACK for a MESSAGE from `destination` speaks for the deliveries before it, too: where the subscription that it names is in mode
    /// `client`. One that names none (1.2 has no need to) could mean each of them, so it does where all are.
    pub fn is_cumulative(&self, destination: &str, named: Option<&str>) -> bool {
        let meant = self.to(destination);
        let mut meant = meant
            .filter(|known| named.is_none() || known.id.as_deref() == named)
            .peekable();
        meant.peek().is_some() && meant.all(|known| known.ack == AckMode::Client)
    }

    fn position(&self, id: Option<&str>, destination: Option<&str>) -> Option<usize> {
        self.0.iter().position(|subscription| match id {
            Some(_) => subscription.id.as_deref() == id,
            None => subscription.id.is_none() && Some(&*subscription.destination) == destination,
        })
    }
}
