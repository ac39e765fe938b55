//! How a session is let in: its token is looked at, it waits for the turn, and takes a place in the hub and on the roll.
//!
//! In this order: what opens no session takes nobody's turn. What was good before the wait is looked at again behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::admission::SentAway;
use super::hub::Present;
use super::mailbox::Mailbox;
use super::patience::revoked_token;
use super::{Edge, at_random};
use crate::auth::{self, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::SessionName;
use crate::domain::identity::Identity;
use crate::domain::time::EpochMs;
use crate::lifecycle::now;
use crate::session::{Credential, Disconnect, Reason};
use crate::topic::{Entered, Seat, TopicError};

/// What an authenticated session holds besides its state: places that free themselves.
pub struct Member {
    pub identity: Identity,
    /// The session's name and what it speaks, once it is open.
    pub opened: Option<(SessionName, &'static str)>,
    _present: Present,
    _entered: Entered,
}

/// At CONNECT.
pub async fn admit(
    edge: &Edge,
    mailbox: &Arc<Mailbox>,
    credential: &Credential,
    facts: Option<&Facts>,
) -> Result<Member, Disconnect> {
    let identity = who_is(edge, credential, facts)
        .await
        .map_err(|refusal| refused(edge, refusal))?;
    wait_for_turn(edge, mailbox).await?;
    come_in(edge, credential, &identity).map_err(|refusal| refused(edge, refusal))?;
    // First into the hub, then onto the roll: from the moment that the node hears what is for this user, somebody is there to be rung.
    let present = edge.hub.enter_user(&identity.user, mailbox);
    let entered = enter(edge, mailbox, &identity).await?;
    if edge.hub.revocations().cover(&identity, now().wall) {
        // After it was registered: one that came before found the hub without this session.
        return Err(revoked_token());
    }
    Ok(Member {
        identity,
        opened: None,
        _present: present,
        _entered: entered,
    })
}

/// A fresh token on a live session, which has its places already.
pub async fn renew(edge: &Edge, credential: &Credential, facts: Option<&Facts>) -> Result<Identity, Disconnect> {
    who_is(edge, credential, facts)
        .await
        .map_err(|refusal| refused(edge, refusal))
}

/// Waits for the turn. A drain ends the wait.
async fn wait_for_turn(edge: &Edge, mailbox: &Mailbox) -> Result<(), Disconnect> {
    let turn = tokio::select! {
        end = mailbox.take_end() => return Err(end),
        turn = edge.admission.turn() => turn,
    };
    turn.map_err(|SentAway { retry_after }| {
        let ms = retry_after.as_millis();
        let detail = format!("more clients come than are let in at once (edge.admission): come back in {ms} ms");
        Disconnect::new(Reason::Unavailable, detail).with_retry_after(retry_after)
    })
}

async fn who_is(edge: &Edge, credential: &Credential, facts: Option<&Facts>) -> Result<Identity, Refusal> {
    match credential {
        Credential::Token(token) => {
            let unasked = Facts::default();
            let facts = facts.unwrap_or(&unasked);
            let asking = edge.auth.authenticate(auth::bearer(token), facts, now().wall);
            timeout(edge.ask_limit(), asking)
                .await
                .unwrap_or(Err(Refusal::Unavailable))
        }
        Credential::Ticket(ticket) => {
            let now = now().wall;
            let identity = edge.tickets.look(ticket, now)?;
            is_good(edge, &identity, now).map(|()| identity)
        }
    }
}

/// What was good before the wait may have ended meanwhile. A ticket is used up only here: who is sent away brings it again.
fn come_in(edge: &Edge, credential: &Credential, identity: &Identity) -> Result<(), Refusal> {
    let now = now().wall;
    is_good(edge, identity, now)?;
    match credential {
        Credential::Token(_) => Ok(()),
        Credential::Ticket(ticket) => edge.tickets.redeem(ticket, now),
    }
}

/// Whether the token behind it, which was found right before, still is.
fn is_good(edge: &Edge, identity: &Identity, now: EpochMs) -> Result<(), Refusal> {
    if let Some(at) = identity.expires.filter(|at| *at <= now) {
        return Err(Refusal::Expired { at, now });
    }
    match edge.hub.revocations().cover(identity, now) {
        true => Err(Refusal::Revoked),
        false => Ok(()),
    }
}

fn refused(edge: &Edge, refusal: Refusal) -> Disconnect {
    let end = Disconnect::new(Reason::Token(refusal.code()), refusal.to_string());
    match refusal.is_retryable() {
        // Each at a moment of its own: all who could not be checked come again.
        true => end.with_retry_after(at_random(Duration::from_millis(edge.config.return_within_ms))),
        false => end,
    }
}

/// Takes a place on the roll.
async fn enter(edge: &Edge, mailbox: &Arc<Mailbox>, identity: &Identity) -> Result<Entered, Disconnect> {
    let cap = identity
        .max_sessions
        .map_or(edge.max_per_user, |most| most.get().min(edge.max_per_user));
    let seat = Arc::clone(mailbox) as Arc<dyn Seat>;
    match timeout(edge.ask_limit(), edge.topic.enter(&identity.user, seat, cap)).await {
        Ok(Ok(entered)) => Ok(entered),
        Ok(Err(TopicError::Full(_))) => {
            let whose = match cap == edge.max_per_user {
                true => "session.max_per_user",
                false => "so says the token",
            };
            let detail = format!("this user has {cap} sessions already ({whose})");
            Err(Disconnect::new(Reason::TooManySessions, detail))
        }
        Ok(Err(TopicError::Unavailable(_) | TopicError::Refused(_))) | Err(_) => {
            let detail = "sessions can't be counted now; try again";
            Err(Disconnect::new(Reason::Unavailable, detail))
        }
    }
}

impl Edge {
    fn ask_limit(&self) -> Duration {
        Duration::from_millis(self.config.ask_timeout_ms)
    }
}
