//! Asks who is there, and gathers the answers: for a bounded time, and a bounded number of them.
//!
//! Each question has a reply subject of its own, behind which the NATS server stops after that number: a flood of answers costs this node nothing, and an
//! answer to a question of before goes nowhere.

use std::time::Duration;

use futures_util::StreamExt;

use super::descriptor::{self, Answered};
use crate::domain::id;
use crate::nats::Nats;
use crate::subjects;

/// What came of a question.
#[derive(Debug, Default)]
pub struct Heard {
    pub answers: Vec<Answered>,
    /// Whether more came than are looked at.
    pub is_flood: bool,
    pub unreadable: u64,
}

/// Asks on `subject`, and gathers for `time` what comes, `most` answers at most.
pub async fn ask(nats: &Nats, subject: String, most: usize, time: Duration) -> Heard {
    let mut heard = Heard::default();
    let inbox = nats.client.new_inbox();
    let Ok(mut replies) = nats.client.subscribe(inbox.clone()).await else {
        return heard;
    };
    if replies.unsubscribe_after(most as u64 + 1).await.is_err()
        || nats.client.publish_with_reply(subject, inbox, "".into()).await.is_err()
    {
        return heard;
    }
    let end = tokio::time::sleep(time);
    tokio::pin!(end);
    let mut came = 0;
    loop {
        let message = tokio::select! {
            () = &mut end => break,
            message = replies.next() => message,
        };
        let Some(message) = message else { break };
        // Nobody listens there: the server says so at once.
        if message.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            break;
        }
        came += 1;
        if came > most {
            heard.is_flood = true;
            break;
        }
        match descriptor::read(&message.payload) {
            Some(answered) => heard.answers.push(answered),
            None => heard.unreadable += 1,
        }
    }
    let _ = replies.unsubscribe().await;
    heard
}

/// Whether NATS brings back within `time` what this node tells itself. A server that hangs keeps its connections, and nobody's silence says anything then.
pub async fn echoes(nats: &Nats, time: Duration) -> bool {
    let subject = subjects::topic_echo(&nats.prefix, &id::request());
    let echo = async {
        let mut heard = nats.client.subscribe(subject.clone()).await.ok()?;
        nats.client.publish(subject, "".into()).await.ok()?;
        heard.next().await
    };
    matches!(tokio::time::timeout(time, echo).await, Ok(Some(_)))
}
