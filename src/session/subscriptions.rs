//! What a session subscribed to, within bounds.

use crate::stomp::Frame;

/// How a subscription confirms (STOMP 1.2, SUBSCRIBE ack header).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The subscriptions of a session.
#[derive(Debug, Default)]
pub struct Subscriptions(Vec<Subscription>);

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

    pub fn add(&mut self, subscription: Subscription) {
        // One at a time: most sessions have one or two, and spare room would be multiplied by every session.
        self.0.reserve_exact(1);
        self.0.push(subscription);
    }

    /// By id, or where there is none (STOMP 1.0) by destination.
    pub fn remove(&mut self, id: Option<&str>, destination: Option<&str>) -> Option<Subscription> {
        let index = self.0.iter().position(|subscription| match id {
            Some(_) => subscription.id.as_deref() == id,
            None => subscription.id.is_none() && Some(&*subscription.destination) == destination,
        })?;
        Some(self.0.remove(index))
    }

    pub fn has_id(&self, id: &str) -> bool {
        self.0.iter().any(|subscription| subscription.id.as_deref() == Some(id))
    }

    /// Those of one destination.
    pub fn to<'a>(&'a self, destination: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.0
            .iter()
            .filter(move |subscription| &*subscription.destination == destination)
    }
}
