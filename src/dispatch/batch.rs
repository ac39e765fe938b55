//! One batch of a lane: read, stored, rung, settled.

use super::record::Inserted;
use super::refused::{Refused, bounded};
use super::{Dispatcher, Interrupted};
use crate::domain::envelope::Envelope;
use crate::domain::notification::{Draft, Notification};
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::queue::{DeadLetter, Direct, Entry, Source};
use crate::store::{Batch, Item, Placed};
use crate::telemetry::events;

impl Dispatcher {
    /// One batch: store, ring, settle. Says whether to go on; `false` means that the drain came while the record was away.
    pub(super) async fn handle(
        &self,
        epoch: u64,
        entries: Vec<Entry>,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<bool, Interrupted> {
        let Some(through) = entries.last().map(|entry| entry.sequence) else {
            return Ok(true);
        };
        let read: Vec<_> = entries.iter().map(|entry| self.read(entry)).collect();
        let mut refused = Vec::with_capacity(read.len());
        let mut items = Vec::with_capacity(read.len());
        for (entry, read) in entries.iter().zip(read) {
            let (notification, reason) = match read {
                Ok(notification) => (Some(notification), None),
                Err(reason) => (None, Some(reason)),
            };
            refused.push(reason);
            items.push(Item {
                sequence: entry.sequence,
                notification,
            });
        }
        let batch = Batch {
            lane: self.lane,
            epoch,
            items,
        };
        let Inserted { placed, retried } = match self.store(&batch, given_back, lifecycle).await {
            Ok(Some(inserted)) => inserted,
            left => {
                // Unsettled: it comes again, here or elsewhere. A try whose end is unknown may have been committed, though; then what has no place in
                // the record counts as repeated, and would be rung by nobody.
                self.ring(unrecorded(batch), lifecycle).await;
                return left.map(|_| false);
            }
        };
        let now = wall_clock();
        let mut bells = Vec::with_capacity(placed.len());
        let mut dead = Vec::new();
        for (((item, entry), placed), refused) in batch.items.into_iter().zip(entries).zip(placed).zip(refused) {
            let (notification, reason) = match (placed, item.notification) {
                (Placed::Stored { seq }, Some(notification)) => {
                    events::stored(notification.created, now);
                    self.events.stored(&notification, seq);
                    bells.push(Envelope::of(notification, Some(seq)));
                    continue;
                }
                (Placed::Duplicate { seq }, Some(notification)) => {
                    events::duplicate();
                    // The try before this one may have stored it.
                    if retried {
                        self.events.stored(&notification, seq);
                    }
                    bells.push(Envelope::of(notification, Some(seq)));
                    continue;
                }
                (Placed::Transient { repeated }, Some(notification)) => {
                    // After a try whose end is unknown it counts as repeated, and yet it was not rung.
                    if !repeated || retried {
                        bells.push(Envelope::of(notification, None));
                    }
                    continue;
                }
                (_, Some(notification)) => (Some(notification), Refused::conflict()),
                (_, None) => (None, refused.unwrap_or_else(Refused::conflict)),
            };
            self.events.dead(notification.as_ref(), entry.sequence, reason.code);
            let id = notification.map_or_else(String::new, |notification| notification.id);
            events::dead_letter(&id, entry.sequence, reason.code);
            dead.push(DeadLetter {
                sequence: entry.sequence,
                id,
                reason: reason.code,
                detail: bounded(reason.detail),
                payload: entry.payload,
            });
        }
        if !self.ring(bells, lifecycle).await {
            // Unsettled: it comes again, and is rung again.
            return Ok(false);
        }
        // After the commit: a crash between the two redelivers, and the record knows what it has.
        self.queue.settle(self.lane, through, dead).await?;
        Ok(true)
    }

    /// What an entry says, or why it can never pass.
    fn read(&self, entry: &Entry) -> Result<Notification, Refused> {
        match &entry.source {
            Source::Door => serde_json::from_slice(&entry.payload).map_err(|error| Refused {
                code: "unreadable",
                detail: error.to_string(),
            }),
            Source::Direct(direct) => self.accept(direct, &entry.payload),
        }
    }

    /// The check of a door, for a draft that came past them all.
    fn accept(&self, direct: &Direct, payload: &[u8]) -> Result<Notification, Refused> {
        let notification = Draft::from_json(payload)
            .and_then(|draft| draft.accept(|| direct.fallback_id.clone(), direct.created, &self.kinds))
            .map_err(|rejection| Refused {
                code: "invalid",
                detail: rejection.to_string(),
            })?;
        // Who may publish for whom is decided by the subject.
        if direct.to.as_ref() != Some(&notification.to) {
            return Err(Refused {
                code: "misdirected",
                detail: format!(
                    "the body is for {}, which its subject does not say as it should: in a token every octet but letters, digits, - and _ is = \
                     and two upper-case hex digits",
                    notification.to.receiver()
                ),
            });
        }
        Ok(notification)
    }

    /// Rings. A bell that may be lost is noted, so that every node looks into the record; says `false` when the drain came before that.
    async fn ring(&self, bells: Vec<Envelope>, lifecycle: &Lifecycle) -> bool {
        if bells.is_empty() {
            return true;
        }
        let persisted = bells.iter().any(|bell| bell.content.seq().is_some());
        let Err(error) = self.topic.publish(bells).await else {
            return true;
        };
        events::bell_lost(&error);
        let mut backoff = self.config.backoff();
        // However long it takes: what is neither rung nor noted nobody would look for.
        while persisted && let Err(error) = self.store.doubt(self.lane).await {
            events::record_failed("doubt", &error, 0);
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return false;
            }
        }
        true
    }
}

/// The bells of what asked for no place in the record.
fn unrecorded(batch: Batch) -> Vec<Envelope> {
    let notifications = batch.items.into_iter().filter_map(|item| item.notification);
    notifications
        .filter(|notification| !notification.persist)
        .map(|notification| Envelope::of(notification, None))
        .collect()
}
