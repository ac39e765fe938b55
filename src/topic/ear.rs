//! What comes over a channel, whoever carries it: read, and handed to the listener or to the places of this node that are over the cap.

use std::sync::Arc;

use super::here::{self, Here};
use super::wire::{self, Told};
use super::{Config, Listener};
use crate::telemetry::events;

pub struct Ear {
    listener: Arc<dyn Listener>,
    pub here: Here,
    max_envelope: usize,
}

impl Ear {
    pub fn new(config: &Config, listener: Arc<dyn Listener>) -> Self {
        Self {
            listener,
            here: Here::new(),
            max_envelope: config.max_envelope,
        }
    }

    /// Doesn't block.
    pub fn hear(&self, bytes: &[u8]) {
        match wire::read(bytes, self.max_envelope) {
            Ok(Told::Envelope(envelope)) => {
                events::topic_heard();
                self.listener.hear(envelope);
            }
            Ok(Told::Revoked(revocation)) => self.listener.revoked(&revocation),
            Ok(Told::Over(over)) => drop(self.over(&over.user, &over.places)),
            Err(unread) => events::topic_unread(unread.code()),
        }
    }

    /// These places of a user are over the cap: the ones of this node give up. Answers with the others.
    pub fn over(&self, user: &str, places: &[String]) -> Vec<String> {
        let node = self.here.node();
        let mut others = Vec::new();
        for place in places {
            match here::of_place(place) {
                Some((of, number)) if *of == *node => {
                    if self.here.give_up(user, number) {
                        events::roll_given_up();
                    }
                }
                _ => others.push(place.clone()),
            }
        }
        others
    }
}
