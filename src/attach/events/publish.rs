//! Tells by core NATS: who listens now hears it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use tokio_util::sync::CancellationToken;

use super::Waiting;
use super::told::Told;
use crate::nats::Nats;
use crate::telemetry::events;

/// Events that are made into JSON and handed to the client at once.
const AT_ONCE: usize = 256;

/// How long a drain waits for what is still to be told.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Publisher {
    pub nats: Nats,
    pub node: Arc<str>,
}

/// Publishes what waits, until the drain has been told of, too.
pub async fn run(publisher: Publisher, mut waiting: Waiting, drain: CancellationToken) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    tokio::select! {
        () = publisher.all(&mut waiting, &mut batch, &drain) => {}
        () = last_words(&drain) => {}
    }
    for told in batch {
        events::event_lost(told.happening.name(), "drain");
    }
    waiting.abandon();
    // All who tell may have ended before.
    drain.cancelled().await;
}

/// The end of the time for what waits at the drain.
pub async fn last_words(drain: &CancellationToken) {
    drain.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}

impl Publisher {
    async fn all(&self, waiting: &mut Waiting, batch: &mut Vec<Told>, drain: &CancellationToken) {
        loop {
            let taken = tokio::select! {
                taken = waiting.take(batch, AT_ONCE) => taken,
                () = drain.cancelled(), if !waiting.queue.is_closed() => {
                    waiting.queue.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            // Else the client would keep them where other publications want to wait.
            self.connected().await;
            self.some(batch).await;
        }
    }

    /// Publishes a batch. What the client takes counts as told: core NATS promises no more.
    async fn some(&self, batch: &mut Vec<Told>) {
        let client = &self.nats.client;
        let mut told = Vec::with_capacity(batch.len());
        // From its end, so that what was not published yet stays.
        batch.reverse();
        while let Some(event) = batch.last() {
            if event.is_given_up() {
                batch.pop();
                continue;
            }
            let published = event.publish(&self.nats.prefix, &self.node);
            let kind = event.happening.name();
            if published.payload.len() > client.server_info().max_payload {
                events::event_lost(kind, "too-large");
                if let Some(handed) = batch.pop().and_then(|event| event.handed) {
                    let _ = handed.send(());
                }
                continue;
            }
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, published.message_id);
            let sent = client.publish_with_headers(published.subject, headers, published.payload);
            let sent = sent.await;
            let event = batch.pop();
            match sent {
                Ok(()) => told.extend(event),
                Err(error) => {
                    tracing::debug!(%error, kind, "an event was not taken");
                    events::event_lost(kind, "refused");
                }
            }
        }
        let flushed = client.flush().await.is_ok();
        for event in told {
            events::event_told(event.happening.name());
            if let Some(handed) = event.handed.filter(|_| flushed) {
                let _ = handed.send(());
            }
        }
    }

    /// Waits for the connection to NATS.
    pub async fn connected(&self) {
        let mut pulse = self.nats.pulse.clone();
        if pulse.wait_for(|pulse| pulse.connected).await.is_err() {
            // The client is gone, and the process about to end.
            std::future::pending::<()>().await;
        }
    }
}
