//! `quick-notify migrate`: changes the streams and consumers to what the configuration says.
//!
//! The lanes are counted anew only while nothing is queued: an entry that waits in a lane would be overtaken by its receiver's next one in
//! another. So the stream takes nothing while it is looked at (producers get 503), and is opened again in any case.

use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{Config as StreamConfig, Stream};

use super::stream::{self, Difference, Wanted, Wrong};
use crate::queue::QueueError;
use crate::subjects;

/// Changes what is different; says what was.
pub async fn migrate(context: &Context, prefix: &str, wanted: &Wanted) -> Result<Vec<Difference>, QueueError> {
    let differences = match stream::ensure(context, wanted).await {
        Ok(_) => return Ok(Vec::new()),
        Err(Wrong::Away(reason)) => return Err(QueueError::Unavailable(reason)),
        Err(Wrong::Different(differences)) => differences,
    };
    let differs = |config: &StreamConfig| differences.iter().any(|difference| difference.of == config.name);
    if differs(&wanted.dead) {
        update(context, &wanted.dead).await?;
    }
    if differences
        .iter()
        .any(|difference| difference.field == stream::PARTITIONS)
    {
        count_lanes_anew(context, prefix, wanted).await?;
    } else if differs(&wanted.ingest) {
        update(context, &wanted.ingest).await?;
    }
    let ingest = context
        .get_stream(&wanted.ingest.name)
        .await
        .map_err(|error| QueueError::Unavailable(error.to_string()))?;
    for config in &wanted.lanes {
        change_lane(&ingest, config).await?;
    }
    match stream::ensure(context, wanted).await {
        Ok(_) => Ok(differences),
        Err(Wrong::Away(reason)) => Err(QueueError::Unavailable(reason)),
        Err(Wrong::Different(left)) => Err(QueueError::Refused(format!(
            "NATS did not take all changes:\n{}",
            listed(&left)
        ))),
    }
}

/// Differences, a line each.
pub fn listed(differences: &[Difference]) -> String {
    let lines: Vec<_> = differences.iter().map(|difference| format!("  {difference}")).collect();
    lines.join("\n")
}

async fn update(context: &Context, config: &StreamConfig) -> Result<(), QueueError> {
    match context.update_stream(config).await {
        Ok(_) => Ok(()),
        Err(error) => Err(QueueError::Refused(format!(
            "stream {} can't be changed: {error}",
            config.name
        ))),
    }
}

async fn change_lane(ingest: &Stream, config: &ConsumerConfig) -> Result<(), QueueError> {
    let name = config.durable_name.as_deref().unwrap_or_default();
    match ingest.create_consumer(config.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(QueueError::Refused(format!(
            "consumer {name} can't be changed: {error}"
        ))),
    }
}

async fn count_lanes_anew(context: &Context, prefix: &str, wanted: &Wanted) -> Result<(), QueueError> {
    let unavailable = |error: &dyn std::fmt::Display| QueueError::Unavailable(error.to_string());
    let mut ingest = context
        .get_stream(&wanted.ingest.name)
        .await
        .map_err(|error| unavailable(&error))?;
    let before = ingest.cached_info().config.clone();
    let closed = StreamConfig {
        subjects: vec![subjects::closed(prefix)],
        ..before.clone()
    };
    update(context, &closed).await?;
    let changed = async {
        let pending = ingest.info().await.map_err(|error| unavailable(&error))?.state.messages;
        if pending > 0 {
            return Err(QueueError::Refused(format!(
                "the number of partitions can't change while {pending} message(s) are queued: keep the nodes running as they are until the \
                 stream {} is empty, then migrate again",
                wanted.ingest.name
            )));
        }
        for name in lanes_of(&ingest).await? {
            ingest
                .delete_consumer(&name)
                .await
                .map_err(|error| unavailable(&error))?;
        }
        update(context, &wanted.ingest).await
    };
    let changed = changed.await;
    if changed.is_err() {
        update(context, &before).await?;
    }
    changed
}

async fn lanes_of(ingest: &Stream) -> Result<Vec<String>, QueueError> {
    use futures_util::TryStreamExt;
    ingest
        .consumer_names()
        .try_collect()
        .await
        .map_err(|error| QueueError::Unavailable(error.to_string()))
}
