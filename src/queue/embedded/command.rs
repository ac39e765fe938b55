//! What the handles ask of the writer.

use tokio::sync::oneshot;

use crate::queue::{Dead, DeadLetter, Entry, Most, NewEntry, Published, QueueError};

/// Where the answers to a publish go: one an entry.
pub(super) type Answers = oneshot::Sender<Vec<Result<Published, QueueError>>>;

/// What the writer is asked; each with where its answer goes.
pub(super) enum Command {
    Publish(Vec<NewEntry>, Answers),
    Read {
        after: u64,
        most: Most,
        reply: oneshot::Sender<Result<Vec<Entry>, QueueError>>,
    },
    Settle {
        through: u64,
        dead: Vec<DeadLetter>,
        reply: oneshot::Sender<Result<(), QueueError>>,
    },
    Dead {
        after: u64,
        limit: u32,
        reply: oneshot::Sender<Result<Vec<Dead>, QueueError>>,
    },
    Replay {
        number: u64,
        reply: oneshot::Sender<Result<bool, QueueError>>,
    },
    Ping(oneshot::Sender<Result<(), QueueError>>),
    Close(oneshot::Sender<()>),
}
