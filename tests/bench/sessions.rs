//! STOMP sessions over WebSocket: a socket each, and no task.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::line::{Line, Net};
use crate::wire;

/// How sessions are opened.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    /// How many; session `i` is the only one of user `test{i}`.
    pub count: usize,
    /// The header of CONNECT.
    pub heart_beat: &'static str,
    /// The header of SUBSCRIBE to the personal queue.
    pub ack: &'static str,
}

pub struct Sessions {
    first: usize,
    all: Vec<Session>,
}

struct Session {
    line: Line,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Connecting,
    Subscribing,
    Ready,
}

/// Handshakes under way at once: a burst that a server meets, and no flood.
const AT_ONCE: usize = 128;

const PATIENCE: Duration = Duration::from_secs(60);

/// The receipt of SUBSCRIBE.
const SUBSCRIBED: &str = "subscribed";

impl Sessions {
    /// Opens them all, and returns when all are subscribed.
    pub fn open(net: &mut Net, scratch: &mut [u8], plan: Plan) -> anyhow::Result<Self> {
        let mut sessions = Self {
            first: net.next_number(),
            all: Vec::with_capacity(plan.count),
        };
        let mut ready = Vec::new();
        let mut open = 0;
        let deadline = Instant::now() + PATIENCE;
        while open < plan.count {
            ensure!(
                Instant::now() < deadline,
                "{open} of {} sessions came to be in {PATIENCE:?}",
                plan.count
            );
            while sessions.all.len() < plan.count && sessions.all.len() - open < AT_ONCE {
                let mut line = net.connect(plan.address)?;
                line.send(wire::UPGRADE)?;
                sessions.all.push(Session {
                    line,
                    phase: Phase::Upgrading,
                });
            }
            net.wait(Duration::from_secs(1), &mut ready)?;
            for number in &ready {
                let Some(index) = sessions.index(*number) else { continue };
                let session = &mut sessions.all[index];
                let before = session.phase;
                session.line.resume()?;
                session.open_further(scratch, index, plan)?;
                open += usize::from(session.phase == Phase::Ready && before != Phase::Ready);
            }
        }
        Ok(sessions)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Something happened to the line with this number: hands every frame and its session's index to `each`. Answers whether the line was one
    /// of these.
    pub fn ready(
        &mut self,
        number: usize,
        scratch: &mut [u8],
        mut each: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let Some(index) = self.index(number) else {
            return Ok(false);
        };
        let line = &mut self.all[index].line;
        line.resume()?;
        line.receive(scratch, |bytes| {
            wire::frames(bytes, |frame| {
                if frame.starts_with(b"ERROR") {
                    bail!("session {index} got {}", String::from_utf8_lossy(frame));
                }
                each(index, frame)
            })
        })?;
        Ok(true)
    }

    pub fn send(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.all[index].line.send(bytes)?)
    }

    fn index(&self, number: usize) -> Option<usize> {
        number.checked_sub(self.first).filter(|index| *index < self.all.len())
    }
}

impl Session {
    /// The way from the upgrade to the subscription, an answer at a time.
    fn open_further(&mut self, scratch: &mut [u8], index: usize, plan: Plan) -> anyhow::Result<()> {
        let phase = &mut self.phase;
        let mut next = Vec::new();
        self.line.receive(scratch, |bytes| {
            if *phase == Phase::Upgrading {
                let Some(answer) = wire::answer(bytes)? else {
                    return Ok(0);
                };
                ensure!(answer.status == 101, "the upgrade was answered with {}", answer.status);
                let headers = [
                    ("accept-version", "1.2"),
                    ("host", "bench"),
                    ("heart-beat", plan.heart_beat),
                    ("Authorization", &format!("test{index}")),
                ];
                wire::frame("CONNECT", &headers, &mut next);
                *phase = Phase::Connecting;
                return Ok(answer.end);
            }
            wire::frames(bytes, |frame| {
                match *phase {
                    Phase::Connecting if frame.starts_with(b"CONNECTED") => {
                        let headers = [
                            ("id", "0"),
                            ("destination", "/user/queue/msg"),
                            ("ack", plan.ack),
                            ("receipt", SUBSCRIBED),
                        ];
                        wire::frame("SUBSCRIBE", &headers, &mut next);
                        *phase = Phase::Subscribing;
                    }
                    Phase::Subscribing if wire::header(frame, "receipt-id") == Some(SUBSCRIBED) => {
                        *phase = Phase::Ready
                    }
                    _ => bail!("session {index}, {phase:?}, got {}", String::from_utf8_lossy(frame)),
                }
                Ok(())
            })
        })?;
        Ok(self.line.send(&next)?)
    }
}
