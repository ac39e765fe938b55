//! Confirmations on their way to the record: batched over all sessions, held while the record is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Config;
use super::mailbox::Mailbox;
use crate::attach::Events;
use crate::lifecycle::{Backoff, Lifecycle, wall_clock};
use crate::session::Confirm;
use crate::store::{Confirmation, Confirmed, Store};
use crate::telemetry::events;

/// Hands confirmations to the task that stores them.
#[derive(Clone)]
pub struct Outcomes(mpsc::Sender<Job>);

/// What one frame confirmed.
pub struct Job {
    pub user: Arc<str>,
    pub confirm: Confirm,
    /// Who is told when it is stored: the session that holds the ticket.
    pub reply: Option<Arc<Mailbox>>,
}

impl Outcomes {
    /// Starts the task. It ends at the drain, after what was handed in is stored.
    pub fn start(store: Arc<dyn Store>, told: Events, config: &Config, lifecycle: &Lifecycle) -> Self {
        let (sender, mut jobs) = mpsc::channel::<Job>(config.max_outcomes);
        let max_batch = config.max_outcome_batch;
        let linger = Duration::from_millis(config.outcome_linger_ms);
        let drain = lifecycle.drain.clone();
        lifecycle.spawn_vital("outcomes", async move {
            let mut batch = Vec::new();
            loop {
                let received = tokio::select! {
                    received = jobs.recv_many(&mut batch, max_batch) => received,
                    () = drain.cancelled(), if !jobs.is_closed() => {
                        jobs.close();
                        continue;
                    }
                };
                if received == 0 {
                    return;
                }
                if batch.len() < max_batch && !drain.is_cancelled() {
                    gather(&mut jobs, &mut batch, max_batch, linger).await;
                }
                store_batch(&*store, &told, &mut batch).await;
            }
        });
        Self(sender)
    }

    /// Hands one over; waits while the bound is reached. `false` when the process ends.
    pub async fn hand(&self, job: Job) -> bool {
        self.0.send(job).await.is_ok()
    }
}

/// Waits a moment for more, so that they share a transaction.
async fn gather(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>, most: usize, linger: Duration) {
    let end = tokio::time::sleep(linger);
    tokio::pin!(end);
    while batch.len() < most {
        let room = most - batch.len();
        tokio::select! {
            received = jobs.recv_many(batch, room) => if received == 0 { return },
            () = &mut end => return,
        }
    }
}

async fn store_batch(store: &dyn Store, told: &Events, batch: &mut Vec<Job>) {
    let confirmations: Vec<_> = batch.iter().flat_map(Job::confirmations).collect();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut failed = false;
    let results = loop {
        let now = wall_clock();
        match store.confirm(&confirmations, now).await {
            Ok(results) => break results,
            // Held, however long it takes: what a client confirmed must not come back because the record was away.
            Err(error) => events::record_failed("confirm", &error, confirmations.len()),
        }
        failed = true;
        tokio::time::sleep(backoff.delay()).await;
    };
    if failed {
        events::record_recovered("confirm");
    }
    let now = wall_clock();
    let mut results = results.into_iter();
    for job in batch.drain(..) {
        let mut first = None;
        for (id, result) in job.confirm.ids.iter().zip(results.by_ref()) {
            if let Confirmed::First { seq, created } = result {
                events::acked(created, now);
                told.acked(&job.user, id, seq, created);
            }
            first.get_or_insert(result.seq());
        }
        if let Some(mailbox) = job.reply {
            mailbox.confirmed(job.confirm, first.flatten());
        }
    }
}

impl Job {
    fn confirmations(&self) -> impl Iterator<Item = Confirmation> {
        self.confirm.ids.iter().map(|id| Confirmation {
            user: Arc::clone(&self.user),
            id: id.clone(),
            look_only: self.confirm.look_only,
        })
    }
}
