//! The topic of a node that is alone: whoever publishes rings this node's own sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use tokio::sync::watch;

use super::{Entered, Line, Listener, Seat, Topic, TopicError};
use crate::domain::envelope::Envelope;
use crate::domain::revocation::Revocation;

pub struct Local {
    listener: Arc<dyn Listener>,
    roll: Arc<Roll>,
    /// Nothing comes between a node and itself.
    line: watch::Sender<Line>,
}

/// Sessions by user. One lock: it is taken when a session comes or goes, never for a message.
#[derive(Default)]
struct Roll(Mutex<HashMap<Arc<str>, u32>>);

impl Local {
    pub fn new(listener: Arc<dyn Listener>) -> Self {
        Self {
            listener,
            roll: Arc::default(),
            line: watch::Sender::new(Line { up: true, breaks: 0 }),
        }
    }
}

#[async_trait]
impl Topic for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn publish(&self, envelopes: Vec<Envelope>) -> Result<(), TopicError> {
        for envelope in envelopes {
            self.listener.hear(envelope);
        }
        Ok(())
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), TopicError> {
        self.listener.revoked(revocation);
        Ok(())
    }

    async fn enter(&self, user: &Arc<str>, _seat: Arc<dyn Seat>, cap: u32) -> Result<Entered, TopicError> {
        let user = self.roll.enter(user, cap)?;
        let roll = Arc::clone(&self.roll);
        Ok(Entered::new(move || roll.leave(&user)))
    }

    async fn present(&self, users: &[&str]) -> Result<Vec<u32>, TopicError> {
        Ok(users.iter().map(|user| self.roll.count(user)).collect())
    }

    fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
    }

    async fn close(&self) {}
}

impl Roll {
    /// Checks and counts under one lock: two sessions can't both take the last place.
    fn enter(&self, user: &Arc<str>, cap: u32) -> Result<Arc<str>, TopicError> {
        let mut sessions = self.0.lock().expect("nothing panics under this lock");
        if let Some((name, _)) = sessions.get_key_value(&**user) {
            let name = Arc::clone(name);
            let count = sessions.get_mut(&*name).expect("just seen");
            if *count >= cap {
                return Err(TopicError::Full(*count));
            }
            *count += 1;
            return Ok(name);
        }
        if cap == 0 {
            return Err(TopicError::Full(0));
        }
        sessions.insert(Arc::clone(user), 1);
        Ok(Arc::clone(user))
    }

    fn leave(&self, user: &str) {
        let mut sessions = self.0.lock().expect("nothing panics under this lock");
        if let Some(count) = sessions.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(user);
            }
        }
    }

    fn count(&self, user: &str) -> u32 {
        let sessions = self.0.lock().expect("nothing panics under this lock");
        sessions.get(user).copied().unwrap_or(0)
    }
}
