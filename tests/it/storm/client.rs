//! A light client: a socket and a task, which comes back as the SDK does: full jitter, and when it is told to where it is told.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wire;
use crate::harness::lasts;
use crate::harness::random::Random;

const BACK_OFF_LEAST: Duration = Duration::from_millis(500);
const BACK_OFF_MOST: Duration = Duration::from_secs(30);
/// The SDK's own: from the opening to CONNECTED.
const CONNECT: Duration = Duration::from_secs(15);
/// A storm of ten thousand on a machine that does other things, too.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Client {
    /// The nodes, in the order in which they are tried.
    pub addresses: Vec<String>,
    pub number: usize,
    /// Confirms nothing in its first session.
    pub holds_back: bool,
    pub seed: u64,
}

/// What all clients saw.
pub struct Seen {
    everybody: usize,
    here: AtomicUsize,
    changed: Notify,
    pub deliveries: Mutex<Vec<Heard>>,
    /// Connections that were refused or broke off before they were subscribed, those that were sent away among them.
    pub refused: AtomicUsize,
    /// Those of them whose clients had waited for as long as they wait.
    pub gave_up: AtomicUsize,
    /// Deliveries of a further attempt.
    pub again: AtomicUsize,
    longest_wait_ms: AtomicU64,
}

/// A first delivery to a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heard {
    pub client: usize,
    pub session: usize,
    pub id: String,
}

impl Seen {
    pub fn new(everybody: usize) -> Self {
        Self {
            everybody,
            here: AtomicUsize::new(0),
            changed: Notify::new(),
            deliveries: Mutex::default(),
            refused: AtomicUsize::new(0),
            gave_up: AtomicUsize::new(0),
            again: AtomicUsize::new(0),
            longest_wait_ms: AtomicU64::new(0),
        }
    }

    /// Waits until everybody is subscribed.
    pub async fn all_here(&self) {
        let here = async {
            loop {
                let changed = self.changed.notified();
                if self.here.load(SeqCst) == self.everybody {
                    return;
                }
                changed.await;
            }
        };
        if timeout(PATIENCE, here).await.is_err() {
            panic!(
                "{} of {} are here after {PATIENCE:?}",
                self.here.load(SeqCst),
                self.everybody
            );
        }
    }

    /// Waits until so many are left at most; from here on counts anew.
    pub async fn left(&self, most: usize) {
        let gone = async {
            loop {
                let changed = self.changed.notified();
                if self.here.load(SeqCst) <= most {
                    return;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, gone).await.expect("they see that the node is gone");
        self.longest_wait_ms.store(0, SeqCst);
        self.refused.store(0, SeqCst);
        self.gave_up.store(0, SeqCst);
    }

    pub fn heard(&self) -> usize {
        self.deliveries.lock().expect("a lock").len()
    }

    /// Whether each of these, by id, was heard by the client that it was for.
    pub fn has_heard<'a>(&self, mut accepted: impl Iterator<Item = (&'a String, &'a usize)>) -> bool {
        let deliveries = self.deliveries.lock().expect("a lock");
        let heard: HashSet<_> = deliveries.iter().map(|heard| (&heard.id, &heard.client)).collect();
        accepted.all(|one| heard.contains(&one))
    }

    pub fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.longest_wait_ms.load(SeqCst))
    }

    fn enters(&self) {
        self.here.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
    }

    fn leaves(&self) {
        self.here.fetch_sub(1, SeqCst);
        self.changed.notify_waiters();
    }
}

impl Client {
    pub async fn run(self, seen: Arc<Seen>, over: CancellationToken) {
        over.run_until_cancelled(self.live(&seen)).await;
    }

    async fn live(self, seen: &Seen) {
        let mut random = Random::new(self.seed);
        let (mut session, mut attempt, mut last_seq, mut node) = (0, 0, 0, 0);
        loop {
            let opened = timeout(CONNECT, self.open(&self.addresses[node], last_seq, seen)).await;
            let told = match opened.unwrap_or_else(|_| {
                seen.gave_up.fetch_add(1, SeqCst);
                bail!("no answer")
            }) {
                Ok((stream, partial)) => {
                    session += 1;
                    attempt = 0;
                    seen.enters();
                    let told = self.listen(stream, partial, session, &mut last_seq, seen).await;
                    seen.leaves();
                    told
                }
                Err(error) => {
                    seen.refused.fetch_add(1, SeqCst);
                    error
                }
            };
            let most = BACK_OFF_MOST.min(BACK_OFF_LEAST * 2_u32.pow(attempt.min(10)));
            let dice = random.below(u64::try_from(most.as_micros()).expect("small"));
            attempt += 1;
            node = (node + 1) % self.addresses.len();
            lasts(retry_after(&told.to_string()).unwrap_or(Duration::from_micros(dice + 1))).await;
        }
    }

    /// Connected and subscribed; with what came behind that.
    async fn open(&self, address: &str, last_seq: u64, seen: &Seen) -> anyhow::Result<(TcpStream, Vec<u8>)> {
        let mut stream = TcpStream::connect(address).await?;
        let mut partial = Vec::new();
        stream.write_all(wire::UPGRADE).await?;
        let answer = loop {
            if let Some(answer) = wire::answer(&partial)? {
                break answer;
            }
            read(&stream, &mut partial).await?;
        };
        ensure!(answer.status == 101, "the upgrade was answered with {}", answer.status);
        partial.drain(..answer.end);
        let user = format!("test{}", self.number);
        let mut frames = Vec::new();
        let headers = [
            ("accept-version", "1.2"),
            ("host", "test"),
            ("heart-beat", "0,0"),
            ("Authorization", &*user),
        ];
        wire::frame("CONNECT", &headers, &mut frames);
        stream.write_all(&frames).await?;
        let asked = Instant::now();
        self.expect(&stream, &mut partial, "CONNECTED").await?;
        let waited = u64::try_from(asked.elapsed().as_millis()).expect("small");
        seen.longest_wait_ms.fetch_max(waited, SeqCst);
        frames.clear();
        let last_seq = last_seq.to_string();
        let headers = [
            ("id", "0"),
            ("destination", "/user/queue/msg"),
            ("ack", "client-individual"),
            ("last-seq", &*last_seq),
            ("receipt", "subscribed"),
        ];
        wire::frame("SUBSCRIBE", &headers, &mut frames);
        stream.write_all(&frames).await?;
        self.expect(&stream, &mut partial, "RECEIPT").await?;
        Ok((stream, partial))
    }

    /// Reads until the first frame, which has to be this one; leaves what is behind it.
    async fn expect(&self, stream: &TcpStream, partial: &mut Vec<u8>, command: &str) -> anyhow::Result<()> {
        loop {
            let mut first = None;
            let mut taken = 0;
            // One message at a time: the server puts one frame into each.
            while first.is_none() {
                let Some(end) = whole(&partial[taken..]) else { break };
                let message = &partial[taken..taken + end];
                wire::frames(message, |frame| {
                    first = Some(String::from_utf8_lossy(frame).into_owned());
                    Ok(())
                })?;
                taken += end;
            }
            partial.drain(..taken);
            if let Some(first) = first {
                if !first.starts_with(command) {
                    // What is said at the close tells when to come back.
                    let close = wait_for_close(stream, partial).await;
                    bail!("{first} instead of {command}; {close}");
                }
                return Ok(());
            }
            read(stream, partial).await?;
        }
    }

    /// Hears and confirms until the end, and answers with its reason.
    async fn listen(
        &self,
        mut stream: TcpStream,
        mut partial: Vec<u8>,
        session: usize,
        last_seq: &mut u64,
        seen: &Seen,
    ) -> anyhow::Error {
        let mut acks = Vec::new();
        loop {
            let heard = wire::frames(&partial, |frame| {
                ensure!(frame.starts_with(b"MESSAGE"), "got {}", String::from_utf8_lossy(frame));
                let id = wire::header(frame, "message-id").context("a MESSAGE without an id")?;
                let seq: u64 = wire::header(frame, "seq").context("a MESSAGE without seq")?.parse()?;
                match wire::header(frame, "attempt") {
                    Some("1") => seen.deliveries.lock().expect("a lock").push(Heard {
                        client: self.number,
                        session,
                        id: id.to_owned(),
                    }),
                    _ => drop(seen.again.fetch_add(1, SeqCst)),
                }
                *last_seq = seq.max(*last_seq);
                if !self.holds_back || session > 1 {
                    wire::frame("ACK", &[("id", id)], &mut acks);
                }
                Ok(())
            });
            match heard {
                Ok(taken) => drop(partial.drain(..taken)),
                Err(error) => return error,
            }
            if !acks.is_empty() {
                if let Err(error) = stream.write_all(&acks).await {
                    return error.into();
                }
                acks = Vec::new();
            }
            if partial.is_empty() {
                partial = Vec::new();
            }
            if let Err(error) = read(&stream, &mut partial).await {
                return error;
            }
        }
    }
}

async fn wait_for_close(stream: &TcpStream, partial: &mut Vec<u8>) -> String {
    loop {
        if let Err(close) = wire::frames(partial, |_| Ok(())) {
            return close.to_string();
        }
        if let Err(error) = read(stream, partial).await {
            return error.to_string();
        }
    }
}

/// How long the first message is, head and all; `None` until it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let length = match bytes {
        [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        [_, 126, ..] | [_] | [] => return None,
        [_, length, ..] => 2 + usize::from(*length),
    };
    (bytes.len() >= length).then_some(length)
}

async fn read(stream: &TcpStream, partial: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        stream.readable().await?;
        // No buffer while it waits.
        let mut some = [0; 2_048];
        match stream.try_read(&mut some) {
            Ok(0) => bail!("the server closed"),
            Ok(count) => {
                partial.extend(&some[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn retry_after(reason: &str) -> Option<Duration> {
    let (_, rest) = reason.split_once("retry-after=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_millis)
}
