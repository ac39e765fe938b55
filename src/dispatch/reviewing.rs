//! What attached plugins make of a batch before the record has it: see [`crate::attach::review`].
//!
//! What the record has already is not shown to them again: it came once more after a crash, or from a producer that tries again, and stands as it
//! was stored. What a plugin changes keeps the hash of what its producer sent, by which a retry is known. What it routes is queued anew, one copy a
//! receiver, before the original is settled: copies have ids that follow from the original's, so that doing it twice makes no second one. The
//! original has no row, and counts as one that asked for none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::refused::Refused;
use super::{Dispatcher, Interrupted};
use crate::attach::protocol::Hook;
use crate::attach::review::{End, Review, Route, Step};
use crate::domain::notification::Notification;
use crate::lifecycle::Lifecycle;
use crate::queue::{NewEntry, QueueError};
use crate::telemetry::events;

/// Copies that are handed to the queue at once, and their octets.
const COPIES: usize = 500;
const COPIED: usize = 8 * 1024 * 1024;

impl Dispatcher {
    /// Changes `read` as the plugins say; answers with the places of what was routed and its number of copies. `None` when the drain came first.
    pub(super) async fn review(
        &self,
        read: &mut [Result<Notification, Refused>],
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<HashMap<usize, usize>>, Interrupted> {
        let mut routed = HashMap::new();
        if self.hooks.asked(Hook::Review).is_none() {
            return Ok(Some(routed));
        }
        let Some(places) = self.new_ones(read, given_back, lifecycle).await? else {
            return Ok(None);
        };
        let mut unroutable = HashMap::new();
        let reviewed = {
            let notifications = places.iter().filter_map(|place| read[*place].as_ref().ok());
            let Some(mut review) = self.hooks.review(&self.kinds, notifications) else {
                return Ok(Some(routed));
            };
            loop {
                match review.next(&lifecycle.drain).await {
                    Step::Done => break review.end(),
                    Step::Drained => return Ok(None),
                    Step::Route(route) => match self.queue_copies(&review, &route, lifecycle).await {
                        None => return Ok(None),
                        Some(Ok(copies)) => drop(routed.insert(places[route.place], copies)),
                        Some(Err(error)) => drop(unroutable.insert(places[route.place], (route.router.plugin, error))),
                    },
                }
            }
        };
        for (place, reviewed) in places.into_iter().zip(reviewed) {
            let (code, detail, cause, plugin) = match (reviewed.end, unroutable.remove(&place)) {
                (End::Rejected(plugin, reason), _) => ("rejected", reason.clone(), reason, plugin),
                (End::Unreviewed(plugin, failure), _) => {
                    ("unreviewed", failure.to_string(), failure.code().into(), plugin)
                }
                (End::Routed, Some((plugin, error))) => {
                    ("unroutable", error.to_string(), error.to_string(), plugin.into())
                }
                (end, _) => {
                    if let Ok(notification) = &mut read[place] {
                        notification.persist &= end != End::Routed;
                        notification.kind = reviewed.kind.unwrap_or(std::mem::take(&mut notification.kind));
                        if let Some(data) = reviewed.data {
                            notification.data = data;
                        }
                    }
                    continue;
                }
            };
            let refused = Refused::of_draft(code, detail);
            let notification = std::mem::replace(&mut read[place], Err(refused)).ok().map(Box::new);
            if let Err(refused) = &mut read[place] {
                (refused.notification, refused.plugin, refused.cause) = (notification, Some(plugin), cause);
            }
        }
        Ok(Some(routed))
    }

    /// The places of what the record doesn't have.
    async fn new_ones(
        &self,
        read: &[Result<Notification, Refused>],
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Vec<usize>>, Interrupted> {
        let readable = read.iter().enumerate();
        let readable: Vec<_> = readable
            .filter_map(|(place, read)| Some((place, read.as_ref().ok()?)))
            .collect();
        let persisted = readable.iter().filter(|(_, notification)| notification.persist);
        let ids: Vec<&str> = persisted.map(|(_, notification)| &*notification.id).collect();
        let mut kept = Vec::new().into_iter();
        if !ids.is_empty() {
            let Some(found) = self.kept(&ids, given_back, lifecycle).await? else {
                return Ok(None);
            };
            kept = found.into_iter();
        }
        let mut is_kept = |notification: &Notification| notification.persist && kept.next().flatten().is_some();
        let new = readable.into_iter().filter(|(_, notification)| !is_kept(notification));
        Ok(Some(new.map(|(place, _)| place).collect()))
    }

    /// Queues the copies of a route and says how many there are, or why not all of them can be. `None` when the drain came first.
    ///
    /// A queue that is away is waited for; one that is full only for a time: what is in hand here may be what fills it.
    async fn queue_copies(
        &self,
        review: &Review<'_>,
        route: &Route,
        lifecycle: &Lifecycle,
    ) -> Option<Result<usize, QueueError>> {
        let patience = Duration::from_millis(self.config.full_ms);
        let mut full_since = None;
        // They are alike.
        let first = route.receivers.first();
        let octets = first.map_or(0, |receiver| NewEntry::of(&review.copy(route, receiver)).payload.len());
        for receivers in route.receivers.chunks((COPIED / octets.max(1)).clamp(1, COPIES)) {
            let mut backoff = self.config.backoff();
            let copies = receivers.iter().map(|receiver| review.copy(route, receiver));
            let mut open: Vec<NewEntry> = copies.map(|copy| NewEntry::of(&copy)).collect();
            while !open.is_empty() {
                let published = self.queue.publish(open.clone()).await;
                let mut again = Vec::new();
                for (entry, published) in open.into_iter().zip(published) {
                    match published {
                        Ok(_) => full_since = None,
                        Err(QueueError::Full(after)) => {
                            let since = *full_since.get_or_insert_with(Instant::now);
                            if since.elapsed() >= patience {
                                return Some(Err(QueueError::Full(after)));
                            }
                            again.push(entry);
                        }
                        Err(error) if error.is_retryable() => again.push(entry),
                        Err(error) => return Some(Err(error)),
                    }
                }
                open = again;
                if !open.is_empty() {
                    events::copies_wait(&route.router.plugin, open.len());
                    let pause = tokio::time::sleep(backoff.delay());
                    lifecycle.drain.run_until_cancelled(pause).await?;
                }
            }
        }
        Some(Ok(route.receivers.len()))
    }
}
