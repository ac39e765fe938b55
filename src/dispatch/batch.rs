//! One batch of a lane: read, reviewed, stored, rung, settled.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::record::Inserted;
use super::refused::Refused;
use super::{Dispatcher, Interrupted};
use crate::domain::envelope::{Content, Envelope};
use crate::domain::notification::{Audience, Draft, Notification};
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::queue::{DeadLetter, Direct, Entry, Source};
use crate::receipts::{Seat, Told, Word};
use crate::store::{Batch, Item, PageQuery, Placed};
use crate::telemetry::events;

/// Rows that are read at once.
const READS: usize = 16;

impl Dispatcher {
    /// One batch. Says whether to go on; `false` means that the drain came while the record, the queue or a plugin was away.
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
        let mut read: Vec<_> = entries.iter().map(|entry| self.read(entry)).collect();
        let mut asking = Asking::of(&mut read);
        let Some(routed) = self.review(&mut read, given_back, lifecycle).await? else {
            return Ok(false);
        };
        let mut refused = HashMap::new();
        let mut items = Vec::with_capacity(read.len());
        for (at, (entry, read)) in entries.iter().zip(read).enumerate() {
            let notification = read.map_err(|reason| refused.insert(at, reason)).ok();
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
                self.ring(unrecorded(batch, &routed), lifecycle).await;
                return left.map(|_| false);
            }
        };
        let now = wall_clock();
        let mut bells = Vec::with_capacity(placed.len());
        let mut repeated = Vec::new();
        let mut dead = Vec::new();
        let items = batch.items.into_iter().zip(entries).zip(placed);
        for (at, ((item, entry), placed)) in items.enumerate() {
            let reason = match (placed, item.notification) {
                (Placed::Stored { seq }, Some(notification)) => {
                    events::stored(notification.created, now);
                    self.events.stored(&notification, seq);
                    asking.answer(at, || Word::Stored { seq });
                    bells.push(Envelope::of(notification, Some(seq)));
                    continue;
                }
                (Placed::Duplicate { seq }, Some(notification)) => {
                    events::duplicate();
                    // The try before this one may have stored it.
                    if retried {
                        self.events.stored(&notification, seq);
                    }
                    asking.answer(at, || Word::Stored { seq });
                    repeated.push((notification, seq));
                    continue;
                }
                (Placed::Transient { repeated }, Some(notification)) => {
                    if let Some(copies) = routed.get(&at) {
                        asking.answer(at, || Word::Routed { copies: *copies });
                        continue;
                    }
                    asking.answer(at, || Word::Told);
                    // After a try whose end is unknown it counts as repeated, and yet it was not rung.
                    if !repeated || retried {
                        bells.push(Envelope::of(notification, None));
                    }
                    continue;
                }
                (_, Some(notification)) => Refused::conflict(notification),
                (_, None) => refused
                    .remove(&at)
                    .unwrap_or_else(|| Refused::of_draft("unreadable", String::new())),
            };
            self.events
                .dead(reason.notification.as_deref(), entry.sequence, reason.code);
            events::dead_letter(reason.id(), entry.sequence, reason.code, reason.by());
            asking.answer_later(at, || reason.word());
            dead.push(DeadLetter {
                sequence: entry.sequence,
                detail: reason.detail(),
                id: reason.id().to_owned(),
                reason: reason.code,
                payload: entry.payload,
            });
        }
        let Some(again) = self.bells_again(repeated, given_back, lifecycle).await? else {
            return Ok(false);
        };
        bells.extend(again);
        if !self.ring(bells, lifecycle).await {
            // Unsettled: it comes again, and is rung again.
            return Ok(false);
        }
        self.receipts.tell(asking.told).await;
        // After the commit: a crash between the two redelivers, and the record knows what it has.
        self.queue.settle(self.lane, through, dead).await?;
        self.receipts.tell(asking.later).await;
        Ok(true)
    }

    /// What an entry says, or why it can never pass.
    fn read(&self, entry: &Entry) -> Result<Notification, Refused> {
        match &entry.source {
            Source::Door => serde_json::from_slice(&entry.payload)
                .map_err(|error| Refused::of_draft("unreadable", error.to_string())),
            Source::Direct(direct) => self.accept(direct, &entry.payload),
        }
    }

    /// The check of a door, for a draft that came past them all.
    fn accept(&self, direct: &Direct, payload: &[u8]) -> Result<Notification, Refused> {
        let notification = Draft::from_json(payload)
            .and_then(|draft| draft.accept(|| direct.fallback_id.clone(), direct.created, &self.kinds))
            .map_err(|rejection| Refused::of_draft("invalid", rejection.to_string()))?;
        // Who may publish for whom is decided by the subject.
        if direct.to.as_ref() != Some(&notification.to) {
            let detail = format!(
                "the body is for {}, which its subject does not say as it should: in a token every octet but letters, digits, - and _ is = \
                 and two upper-case hex digits",
                notification.to.receiver()
            );
            return Err(Refused::of_draft("misdirected", detail));
        }
        Ok(notification)
    }

    /// The bells of what the record had, in its words: a plugin may have changed what came this time, or the time before. `None` when the drain came
    /// first.
    async fn bells_again(
        &self,
        repeated: Vec<(Notification, u64)>,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Vec<Envelope>>, Interrupted> {
        if !self.hooks.may_review() {
            let bells = repeated.into_iter();
            return Ok(Some(
                bells
                    .map(|(notification, seq)| Envelope::of(notification, Some(seq)))
                    .collect(),
            ));
        }
        let mut bells = Vec::with_capacity(repeated.len());
        for some in repeated.chunks(READS) {
            let pages = some.iter().map(|(notification, seq)| PageQuery {
                user: notification.to.receiver().to_owned(),
                after: seq - 1,
                all_after: Some(seq - 1),
                limit: 1,
            });
            let pages: Vec<_> = pages.collect();
            let read = pages
                .iter()
                .map(|page| self.answered("page", || self.store.page(page), given_back, lifecycle));
            for (page, (_, seq)) in join_all(read).await.into_iter().zip(some) {
                let Some(page) = page? else { return Ok(None) };
                // One that was deleted meanwhile is told to nobody.
                let row = page.rows.into_iter().find(|row| row.seq == Some(*seq));
                bells.extend(row.map(|row| Envelope {
                    to: Audience::User(row.receiver.clone()),
                    content: Content::Message(row),
                }));
            }
        }
        Ok(Some(bells))
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

/// Who waits for the word on a notification of the batch, by its place; and the words, those on dead letters apart.
struct Asking {
    doors: HashMap<usize, (Box<str>, Seat)>,
    told: Vec<(Box<str>, Told)>,
    later: Vec<(Box<str>, Told)>,
}

impl Asking {
    fn of(read: &mut [Result<Notification, Refused>]) -> Self {
        let doors = read.iter_mut().enumerate().filter_map(|(at, read)| {
            let notification = read.as_mut().ok()?;
            Some((at, (notification.wait.take()?, Seat::of(notification))))
        });
        Self {
            doors: doors.collect(),
            told: Vec::new(),
            later: Vec::new(),
        }
    }

    fn answer(&mut self, at: usize, word: impl FnOnce() -> Word) {
        if let Some((door, seat)) = self.doors.remove(&at) {
            self.told.push((door, Told { seat, word: word() }));
        }
    }

    /// Once the letter is kept.
    fn answer_later(&mut self, at: usize, word: impl FnOnce() -> Word) {
        if let Some((door, seat)) = self.doors.remove(&at) {
            self.later.push((door, Told { seat, word: word() }));
        }
    }
}

/// The bells of what asked for no place in the record; what was routed is told to nobody.
fn unrecorded(batch: Batch, routed: &HashMap<usize, usize>) -> Vec<Envelope> {
    let items = batch.items.into_iter().enumerate();
    items
        .filter(|(at, _)| !routed.contains_key(at))
        .filter_map(|(_, item)| item.notification)
        .filter(|notification| !notification.persist)
        .map(|notification| Envelope::of(notification, None))
        .collect()
}
