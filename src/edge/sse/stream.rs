//! The transport of a session that sends events, and the body of the response that carries them: a bounded pipe between two tasks.
//!
//! The session writes whole events. The connection takes them when its client does; while it doesn't, the pipe fills up, and the session waits as
//! for any slow client. At the session's end the client has the time of a farewell to take the rest; then the connection is cut.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::edge::transport::{Lost, Payload, Received, Transport};
use crate::http::Lent;
use crate::session::{Disconnect, Reason};

/// A pipe that holds `bound` octets, or one event that is larger. Its first words are how long a client waits before it comes back by itself.
pub fn pipe(bound: usize, retry_ms: u128, lent: Option<Lent>) -> (EventStream, Events) {
    let pipe = Arc::new(Pipe {
        inner: Mutex::default(),
        bound,
    });
    let stream = EventStream {
        pipe: Arc::clone(&pipe),
        retry_ms,
        lent,
    };
    (stream, Events(pipe))
}

/// The session's end of the pipe.
pub struct EventStream {
    pipe: Arc<Pipe>,
    retry_ms: u128,
    /// `None`: nobody can be cut off, as where no server stands around the routes.
    lent: Option<Lent>,
}

/// The connection's end: a body.
pub struct Events(Arc<Pipe>);

/// What became of a request for events.
pub enum Fate {
    /// The session is open, and has said its first word.
    Open,
    Refused(Disconnect),
}

/// Tells the request that its session has ended; when it is dropped, too, since the request waits for it.
pub struct Decision(Arc<Pipe>);

struct Pipe {
    inner: Mutex<Inner>,
    bound: usize,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Bytes>,
    octets: usize,
    is_open: bool,
    refused: Option<Disconnect>,
    /// The session writes no more.
    ended: bool,
    /// The connection takes no more.
    gone: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

impl Transport for EventStream {
    /// Its client says nothing, but may go.
    async fn receive(&mut self) -> Received {
        poll_fn(|context| self.pipe.lock().poll_gone(context)).await;
        Received::Closed
    }

    async fn write(&mut self, message: Payload) -> Result<(), Lost> {
        let event = message.into_bytes();
        let bound = self.pipe.bound;
        poll_fn(|context| self.pipe.lock().poll_room(bound, event.len(), context)).await?;
        let mut inner = self.pipe.lock();
        if !std::mem::replace(&mut inner.is_open, true) {
            inner.push(retry(self.retry_ms));
        }
        inner.push(event);
        Ok(())
    }

    /// Nothing is gathered here.
    async fn flush(&mut self) -> Result<(), Lost> {
        match self.pipe.lock().gone {
            true => Err(Lost),
            false => Ok(()),
        }
    }

    fn retract(&mut self) {
        let mut inner = self.pipe.lock();
        inner.waiting = VecDeque::new();
        inner.octets = 0;
    }

    /// The code has no place here; of the reason, the session has said what is the client's to know, and this says when to come back.
    async fn close(&mut self, _code: u16, reason: &str) {
        {
            let mut inner = self.pipe.lock();
            if !inner.is_open {
                // The answer to the request says it all.
                return;
            }
            let delay = reason
                .split_once("retry-after=")
                .and_then(|(_, delay)| delay.parse().ok());
            if let Some(delay) = delay {
                inner.push(retry(delay));
            }
            inner.end();
        }
        match &self.lent {
            // Until all of it is on its way, not only out of the pipe.
            Some(lent) => lent.over().await,
            None => poll_fn(|context| self.pipe.lock().poll_gone(context)).await,
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut inner = self.pipe.lock();
        inner.end();
        // A client that has taken everything is gone by now.
        if let Some(lent) = self.lent.as_ref().filter(|_| inner.is_open) {
            lent.cut();
        }
    }
}

impl Events {
    /// For who knows how the session ended.
    pub fn fate(&self) -> Decision {
        Decision(Arc::clone(&self.0))
    }

    /// Waits until it is known whether there is a stream.
    pub async fn decided(&mut self) -> Fate {
        poll_fn(|context| {
            let mut inner = self.0.lock();
            if inner.is_open {
                return Poll::Ready(Fate::Open);
            }
            match inner.refused.take() {
                Some(end) => Poll::Ready(Fate::Refused(end)),
                None => {
                    inner.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Decision {
    pub fn refuse(self, end: Disconnect) {
        self.decide(end);
    }

    fn decide(&self, end: Disconnect) {
        let mut inner = self.0.lock();
        inner.refused.get_or_insert(end);
        inner.wake_reader();
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        // Of what was refused before, this changes nothing.
        self.decide(Disconnect::new(Reason::Unavailable, "the session broke off; try again"));
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut inner = self.0.lock();
        if let Some(event) = inner.waiting.pop_front() {
            inner.octets -= event.len();
            if inner.waiting.is_empty() {
                // An idle session holds no memory here.
                inner.waiting = VecDeque::new();
            }
            wake(&mut inner.writer);
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.gone = true;
        inner.waiting = VecDeque::new();
        wake(&mut inner.writer);
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }
}

impl Inner {
    fn push(&mut self, event: Bytes) {
        self.octets += event.len();
        self.waiting.push_back(event);
        self.wake_reader();
    }

    fn end(&mut self) {
        self.ended = true;
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        wake(&mut self.reader);
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.gone {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_room(&mut self, bound: usize, event: usize, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.gone {
            return Poll::Ready(Err(Lost));
        }
        if self.waiting.is_empty() || self.octets + event <= bound {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn retry(ms: u128) -> Bytes {
    format!("retry: {ms}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when it panics.
    #[tokio::test]
    async fn a_session_that_breaks_off_without_a_word_does_not_leave_its_request_waiting() {
        let (stream, mut events) = pipe(1_024, 1_000, None);
        let fate = events.fate();
        let session = tokio::spawn(async move {
            let _both = (stream, fate);
            std::future::pending::<()>().await;
        });
        session.abort();
        let Fate::Refused(end) = events.decided().await else {
            panic!("it is open");
        };
        assert_eq!(end.reason, Reason::Unavailable);
    }
}
