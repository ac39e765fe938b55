//! The streams and consumers as the configuration wants them; made when they are missing, and compared when they are there.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy};
use async_nats::jetstream::context::{Context, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream, SubjectTransform,
};

use super::Config;
use super::lane::{GROUP, consumer_name};
use crate::subjects;

/// What the configuration wants to be there.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub ingest: StreamConfig,
    pub dead: StreamConfig,
    pub lanes: Vec<ConsumerConfig>,
}

/// A field that is not as the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream's or consumer's name.
    pub of: String,
    pub field: &'static str,
    pub is: String,
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} is {}, the configuration says {}",
            self.of, self.field, self.is, self.wanted
        )
    }
}

impl Wanted {
    pub fn new(config: &Config, prefix: &str) -> Self {
        let name = match &*config.stream {
            "" => prefix.to_owned(),
            name => name.to_owned(),
        };
        let (source, destination) = subjects::into_lanes(prefix, config.partitions);
        let ingest = StreamConfig {
            name: name.clone(),
            subjects: subjects::ingest(prefix),
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_messages: config.max_messages as i64,
            max_bytes: config.max_bytes as i64,
            num_replicas: config.replicas,
            duplicate_window: Duration::from_secs(config.duplicate_window_seconds),
            subject_transform: Some(SubjectTransform { source, destination }),
            ..StreamConfig::default()
        };
        let dead = StreamConfig {
            name: format!("{name}-dead"),
            subjects: vec![subjects::dead_letters(prefix)],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            max_messages: config.dead_max_messages as i64,
            max_bytes: config.dead_max_bytes as i64,
            num_replicas: config.replicas,
            duplicate_window: Duration::from_secs(config.duplicate_window_seconds),
            ..StreamConfig::default()
        };
        let lane = |lane| ConsumerConfig {
            durable_name: Some(consumer_name(lane)),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: config.ack_wait(),
            max_deliver: -1,
            filter_subject: subjects::lane(prefix, lane),
            replay_policy: ReplayPolicy::Instant,
            max_ack_pending: config.max_ack_pending as i64,
            priority_policy: PriorityPolicy::PinnedClient,
            priority_groups: vec![GROUP.into()],
            priority_timeout: config.pin_timeout(),
            ..ConsumerConfig::default()
        };
        Self {
            ingest,
            dead,
            lanes: (0..config.partitions).map(lane).collect(),
        }
    }
}

/// Why streams and consumers are not as they have to be.
#[derive(Debug)]
pub enum Wrong {
    /// Only an operator can help.
    Different(Vec<Difference>),
    /// Worth another try.
    Away(String),
}

/// Makes what is missing and compares what is there.
pub async fn ensure(context: &Context, wanted: &Wanted) -> Result<Stream, Wrong> {
    let mut differences = Vec::new();
    let mut ingest = None;
    for config in [&wanted.dead, &wanted.ingest] {
        let stream = get_or_create(context, config).await?;
        differences.extend(compare_stream(&stream.cached_info().config, config));
        ingest = Some(stream);
    }
    let ingest = ingest.ok_or_else(|| Wrong::Away("no stream".into()))?;
    // With another number of lanes the consumers are others, too: one report is enough.
    let lanes_fit = !differences.iter().any(|difference| difference.field == PARTITIONS);
    for config in wanted.lanes.iter().filter(|_| lanes_fit) {
        differences.extend(lane(&ingest, config).await?);
    }
    if differences.is_empty() {
        Ok(ingest)
    } else {
        Err(Wrong::Different(differences))
    }
}

async fn get_or_create(context: &Context, config: &StreamConfig) -> Result<Stream, Wrong> {
    let away = |error: &dyn fmt::Display| Wrong::Away(format!("stream {}: {error}", config.name));
    match context.get_stream(&config.name).await {
        Ok(stream) => return Ok(stream),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(ref inner)
                if inner.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND => {}
            _ => return Err(away(&error)),
        },
    }
    match context.create_stream(config).await {
        Ok(stream) => Ok(stream),
        // Another node was faster.
        Err(error)
            if matches!(error.kind(), CreateStreamErrorKind::JetStream(ref inner)
                if inner.error_code() == async_nats::jetstream::ErrorCode::STREAM_NAME_EXIST) =>
        {
            context.get_stream(&config.name).await.map_err(|error| away(&error))
        }
        Err(error) => Err(away(&error)),
    }
}

/// Makes the consumer if it is missing; says what is different if it is there.
async fn lane(stream: &Stream, config: &ConsumerConfig) -> Result<Vec<Difference>, Wrong> {
    let name = config.durable_name.as_deref().unwrap_or_default();
    let away = |error: &dyn fmt::Display| Wrong::Away(format!("consumer {name}: {error}"));
    let info = match stream.consumer_info(name).await {
        Ok(info) => info,
        Err(error) if is_missing(&error) => match stream.create_consumer(config.clone()).await {
            Ok(_) => return Ok(Vec::new()),
            Err(error) => return Err(away(&error)),
        },
        Err(error) => return Err(away(&error)),
    };
    Ok(compare_lane(name, &info.config, config))
}

fn is_missing(error: &async_nats::jetstream::context::ConsumerInfoError) -> bool {
    use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => true,
        Kind::JetStream(inner) => inner.error_code() == async_nats::jetstream::ErrorCode::CONSUMER_NOT_FOUND,
        _ => false,
    }
}

/// The field whose change needs a drained stream.
pub const PARTITIONS: &str = "subject_transform";

/// What of a stream is not as it is wanted.
pub fn compare_stream(is: &StreamConfig, wanted: &StreamConfig) -> Vec<Difference> {
    let transform = |config: &StreamConfig| match &config.subject_transform {
        Some(transform) => format!("{} to {}", transform.source, transform.destination),
        None => "none".into(),
    };
    let rows = |config: &StreamConfig| {
        [
            ("subjects", format!("{:?}", config.subjects)),
            ("retention", format!("{:?}", config.retention).to_lowercase()),
            ("discard", format!("{:?}", config.discard).to_lowercase()),
            ("storage", format!("{:?}", config.storage).to_lowercase()),
            ("max_age", format!("{:?}", config.max_age)),
            ("max_messages", config.max_messages.to_string()),
            (
                "max_messages_per_subject",
                config.max_messages_per_subject.max(0).to_string(),
            ),
            ("max_message_size", config.max_message_size.max(0).to_string()),
            ("max_bytes", config.max_bytes.to_string()),
            ("replicas", config.num_replicas.to_string()),
            ("duplicate_window", format!("{:?}", config.duplicate_window)),
            (PARTITIONS, transform(config)),
            ("sealed", config.sealed.to_string()),
        ]
    };
    differences(&wanted.name, rows(is), rows(wanted))
}

fn compare_lane(name: &str, is: &consumer::Config, wanted: &ConsumerConfig) -> Vec<Difference> {
    use consumer::IntoConsumerConfig;
    let wanted = wanted.clone().into_consumer_config();
    let rows = |config: &consumer::Config| {
        [
            ("filter_subject", config.filter_subject.clone()),
            ("deliver_policy", format!("{:?}", config.deliver_policy)),
            ("ack_policy", format!("{:?}", config.ack_policy)),
            ("ack_wait", format!("{:?}", config.ack_wait)),
            ("max_deliver", config.max_deliver.to_string()),
            ("max_ack_pending", config.max_ack_pending.to_string()),
            ("priority_policy", format!("{:?}", config.priority_policy)),
            ("priority_groups", format!("{:?}", config.priority_groups)),
            ("priority_timeout", format!("{:?}", config.priority_timeout)),
            ("inactive_threshold", format!("{:?}", config.inactive_threshold)),
            ("headers_only", config.headers_only.to_string()),
            ("backoff", format!("{:?}", config.backoff)),
        ]
    };
    differences(name, rows(is), rows(&wanted))
}

fn differences<const N: usize>(
    of: &str,
    is: [(&'static str, String); N],
    wanted: [(&'static str, String); N],
) -> Vec<Difference> {
    is.into_iter()
        .zip(wanted)
        .filter(|(is, wanted)| is.1 != wanted.1)
        .map(|((field, is), (_, wanted))| Difference {
            of: of.to_owned(),
            field,
            is,
            wanted,
        })
        .collect()
}

/// When the stream was made, in nanoseconds.
pub fn created(info: &Info) -> i128 {
    info.created.unix_timestamp_nanos()
}
