//! The line to one hook of one plugin: asks, within a deadline and a bound, and looks at every answer before anybody acts on it.
//!
//! In: a question's body. Out: the answer's body, or a [`Failure`]. A question may be asked several times, with the same `request`: where several
//! instances share the work, it is asked again after each quarter of the time, and the first good answer counts. NATS draws who gets it, so it may
//! come to the same instance again, even to the one that froze: of two, one of which froze, one question in sixteen fails. Commands are asked once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_nats::client::RequestErrorKind;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{Client, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};

use super::breaker::{self, Breaker};
use super::config;
use super::protocol::{AnswerFrame, Failure, Hook, OnFailure, Pattern, Question, VERSION};
use super::tally::{Tallied, Tally};
use crate::domain::id;
use crate::lifecycle::wall_clock;
use crate::nats::{Nats, Pulse};
use crate::telemetry::events;

/// What a plugin and the configuration say of a hook; both change while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub standing: Standing,
    /// Lower ones are asked first; then by name.
    pub order: u16,
    pub deadline: Duration,
    pub on_failure: OnFailure,
    /// `review`: only notifications for these receivers, and of these types; empty: all.
    pub receivers: Vec<Pattern>,
    /// What the configuration lets it see, besides.
    pub allowed_receivers: Vec<Pattern>,
    pub types: Vec<Pattern>,
    /// `review`: notifications of one question.
    pub max_batch: usize,
    /// `command`: those that it serves and may serve.
    pub commands: BTreeSet<String>,
}

/// Whether anybody serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// By so many instances.
    Attached(usize),
    /// Nobody; `required`: it should be there.
    Absent { required: bool },
    /// By an operator.
    Disabled,
}

impl Standing {
    /// Those that serve it.
    pub const fn instances(self) -> usize {
        match self {
            Self::Attached(instances) => instances,
            Self::Absent { .. } | Self::Disabled => 0,
        }
    }
}

impl Terms {
    /// Whether a notification of this type, for this receiver, is shown to it.
    pub fn covers(&self, receiver: &str, kind: &str) -> bool {
        let any =
            |patterns: &[Pattern], name: &str| patterns.is_empty() || patterns.iter().any(|one| one.matches(name));
        any(&self.allowed_receivers, receiver) && any(&self.receivers, receiver) && any(&self.types, kind)
    }
}

/// One hook of one plugin. There is one for each that the configuration allows, for the life of the process.
pub struct Line {
    pub plugin: Arc<str>,
    pub hook: Hook,
    pub subject: String,
    terms: ArcSwap<Terms>,
    breaker: Mutex<Breaker>,
    /// When there were fewer instances than before, the last time.
    lost: Mutex<Option<Instant>>,
    tally: Tally,
    permits: Semaphore,
    client: Client,
    pulse: watch::Receiver<Pulse>,
    max_request: usize,
    max_reply: usize,
}

impl Line {
    pub fn new(nats: &Nats, subject: String, plugin: &str, hook: Hook, terms: Terms, config: &config::Hooks) -> Self {
        Self {
            plugin: plugin.into(),
            hook,
            subject,
            terms: ArcSwap::from_pointee(terms),
            breaker: Mutex::new(Breaker::new(
                config.breaker_failures,
                Duration::from_millis(config.breaker_first_ms),
                Duration::from_millis(config.breaker_most_ms),
            )),
            lost: Mutex::default(),
            tally: Tally::default(),
            permits: Semaphore::new(config.in_flight),
            client: nats.client.clone(),
            pulse: nats.pulse.clone(),
            max_request: config.max_request,
            max_reply: config.max_reply,
        }
    }

    pub fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// From now on these count. Says whether that changed anything. A hook that was left alone is asked again when its plugin came anew.
    pub fn set_terms(&self, terms: Terms) -> bool {
        let old = self.terms.load_full();
        let (before, now) = (old.standing.instances(), terms.standing.instances());
        let (is_new, has_gone) = (*old != terms, now == 0 && old.standing != terms.standing);
        if is_new {
            self.terms.store(Arc::new(terms));
        }
        if now < before {
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let mut breaker = self.lock();
        if now > before || has_gone {
            breaker.reset();
        }
        // Also when nobody asks: whoever asks next is let through.
        let is_open = breaker.standing(Instant::now()) == breaker::Standing::Open;
        events::hook_open(&self.plugin, self.hook.name(), is_open);
        is_new
    }

    /// Octets of a question, its frame included.
    pub fn max_question(&self) -> usize {
        self.max_request.min(self.client.server_info().max_payload)
    }

    pub fn breaker(&self) -> breaker::Standing {
        self.lock().standing(Instant::now())
    }

    /// What became of the questions so far.
    pub fn tallied(&self) -> Tallied {
        self.tally.tallied()
    }

    /// Asks, and looks at the answer with `check`, whose error says what makes no sense. Within the deadline, the wait for a place included.
    pub async fn ask<Q: Serialize, A: DeserializeOwned, T>(
        &self,
        question: &Q,
        check: impl FnOnce(A) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let answer = self.asked(question, begun).await;
        let answer = answer.and_then(|answer| check(answer).map_err(Failure::BadReply));
        self.ended(begun.elapsed(), answer.as_ref().err());
        answer
    }

    /// Counts a question, tells of it, and learns from it.
    fn ended(&self, took: Duration, failure: Option<&Failure>) {
        let (plugin, hook) = (&*self.plugin, self.hook.name());
        let was_asked = !failure.is_some_and(|failure| is_unasked(failure) || *failure == Failure::Absent);
        events::hook_asked(plugin, hook, was_asked.then_some(took), failure.map(Failure::code));
        // What is said of a failure may have the plugin's own words in it, and those of one that knows tokens may have a token in them.
        let text = failure.map(|failure| match self.hook {
            Hook::Authenticate => failure.code().to_owned(),
            Hook::Review | Hook::Subscribe | Hook::Command => failure.to_string(),
        });
        let text = text.unwrap_or_default();
        match failure {
            None => self.tally.answered(took),
            Some(failure) => {
                let now = Instant::now();
                if let Some(count) = self.tally.failed(failure, &text, wall_clock(), now) {
                    events::hook_failing(plugin, hook, failure.code(), &text, count);
                }
            }
        }
        match failure {
            Some(failure) if is_unasked(failure) => {}
            Some(failure) if self.is_down_by(failure) => {
                if self.lock().failed(Instant::now()) {
                    events::hook_left_alone(plugin, hook, &text);
                }
            }
            _ => {
                if self.lock().succeeded() {
                    events::hook_recovered(plugin, hook);
                }
            }
        }
    }

    /// Whether the plugin seems to be down. Questions about what one user sent are answered wrongly, perhaps, because of what he sent; who answers at
    /// all lives, and others' questions must not fail for that one's.
    fn is_down_by(&self, failure: &Failure) -> bool {
        self.hook == Hook::Review || matches!(failure, Failure::Timeout(_) | Failure::Absent)
    }

    async fn asked<Q: Serialize, A: DeserializeOwned>(&self, question: &Q, begun: Instant) -> Result<A, Failure> {
        let terms = self.terms.load_full();
        match terms.standing {
            Standing::Attached(_) => {}
            Standing::Absent { .. } => return Err(Failure::Absent),
            Standing::Disabled => return Err(Failure::Disabled),
        }
        let limit = terms.deadline;
        // A question that waits in the client for NATS to return would come to the plugin when nobody waits for its answer any more.
        if !self.is_connected() {
            let mut pulse = self.pulse.clone();
            let back = tokio::time::timeout(limit, pulse.wait_for(|pulse| pulse.connected)).await;
            back.map_err(|_| away())?.map_err(|_| away())?;
        }
        if self.lock().ask(Instant::now()).is_err() {
            return Err(Failure::Open);
        }
        // Who finds a place later leaves the plugin too little time, which would look like its failure.
        let patience = (limit / 2).saturating_sub(begun.elapsed());
        let Ok(Ok(_permit)) = tokio::time::timeout(patience, self.permits.acquire()).await else {
            return Err(Failure::Busy);
        };
        let request = id::request();
        let payload = self.written(&request, question)?;
        let mut waiting = Waiting {
            line: self,
            since: Instant::now(),
            limit,
            is_over: false,
        };
        let left = limit.saturating_sub(begun.elapsed());
        let answered = self.answered(&request, payload, left, &terms).await;
        waiting.is_over = true;
        answered.map_err(|failure| {
            failure.unwrap_or_else(|| match self.is_connected() {
                true => Failure::Timeout(limit.as_millis() as u64),
                false => away(),
            })
        })
    }

    /// The first answer that can be read. What goes wrong with one question counts when no other one is out; `None`: there was no answer in time.
    async fn answered<A: DeserializeOwned>(
        &self,
        request: &str,
        payload: Bytes,
        left: Duration,
        terms: &Terms,
    ) -> Result<A, Option<Failure>> {
        let mut more = if self.asks_again(terms) { TRIES - 1 } else { 0 };
        let pause = (left / TRIES).max(Duration::from_millis(1));
        let mut again = tokio::time::interval_at(tokio::time::Instant::now() + pause, pause);
        let mut out = FuturesUnordered::new();
        out.push(self.once(request, payload.clone()));
        let deadline = tokio::time::sleep(left);
        tokio::pin!(deadline);
        let mut failure = None;
        loop {
            tokio::select! {
                Some(answered) = out.next() => match answered {
                    Ok(answer) => return Ok(answer),
                    Err(error) if out.is_empty() => return Err(Some(error)),
                    // Another instance was asked, too, and may do better.
                    Err(error) => failure = Some(error),
                },
                _ = again.tick(), if more > 0 => {
                    more -= 1;
                    out.push(self.once(request, payload.clone()));
                }
                () = &mut deadline => return Err(failure),
            }
        }
    }

    /// Whether an instance may have frozen, and others be there. Never for commands: they may do something, and would do it twice.
    fn asks_again(&self, terms: &Terms) -> bool {
        let frozen = || self.lost().is_some_and(|lost| lost.elapsed() < FROZEN_FOR);
        self.hook != Hook::Command && (terms.standing.instances() >= 2 || frozen())
    }

    fn written<Q: Serialize>(&self, request: &str, body: &Q) -> Result<Bytes, Failure> {
        let question = Question {
            v: VERSION,
            request,
            body,
        };
        let payload = serde_json::to_vec(&question).expect("questions are JSON");
        let most = self.max_question();
        if payload.len() > most {
            return Err(Failure::TooLarge("the question", payload.len(), most));
        }
        Ok(payload.into())
    }

    /// One question, to whichever instance NATS chooses.
    async fn once<A: DeserializeOwned>(&self, request: &str, payload: Bytes) -> Result<A, Failure> {
        // The deadline is the caller's; the client has one of its own, which is longer than any.
        let sent = async_nats::Request::new().payload(payload).timeout(None);
        match self.client.send_request(self.subject.clone(), sent).await {
            Ok(message) => self.read(request, &message),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => Failure::Absent,
                _ => Failure::Unavailable(error.to_string()),
            }),
        }
    }

    fn read<A: DeserializeOwned>(&self, request: &str, message: &Message) -> Result<A, Failure> {
        if message.payload.len() > self.max_reply {
            return Err(Failure::TooLarge("the answer", message.payload.len(), self.max_reply));
        }
        if let Some(headers) = &message.headers
            && let Some(code) = headers.get(NATS_SERVICE_ERROR_CODE)
        {
            let text = headers.get(NATS_SERVICE_ERROR).map_or("", |text| text.as_str());
            return Err(Failure::Error(excerpt(&format!("{} {text}", code.as_str()))));
        }
        let bad_json = |error: serde_json::Error| Failure::BadJson(excerpt(&error.to_string()));
        let frame: AnswerFrame = serde_json::from_slice(&message.payload).map_err(bad_json)?;
        if frame.v != Some(VERSION) {
            let said = frame.v.map_or_else(|| "no `v`".to_owned(), |v| v.to_string());
            return Err(Failure::BadVersion(said));
        }
        if frame.request.as_deref() != Some(request) {
            return Err(Failure::BadId);
        }
        serde_json::from_slice(&message.payload).map_err(bad_json)
    }

    fn is_connected(&self) -> bool {
        self.pulse.borrow().connected
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> Option<Instant> {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So often is a question asked where an instance may have frozen.
const TRIES: u32 = 4;

/// A process that froze is silent, and so no instance any more, but NATS gives it questions until it has missed two pings, which by default come
/// every two minutes.
const FROZEN_FOR: Duration = Duration::from_secs(300);

/// A question that is out. When nobody waits for its answer any more, and the plugin had half of its time already, that counts, too; less is no
/// failure of its own, or whoever comes and goes could have it left alone.
struct Waiting<'a> {
    line: &'a Line,
    since: Instant,
    limit: Duration,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        if !self.is_over && took >= self.limit / 2 {
            let failure = Failure::Timeout(took.as_millis() as u64);
            self.line.ended(took, Some(&failure));
        }
    }
}

/// Whether nobody was asked, so that nothing is learnt of the plugin.
fn is_unasked(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Open
            | Failure::Disabled
            | Failure::Busy
            | Failure::Unavailable(_)
            | Failure::TooLarge("the question", ..)
    )
}

fn away() -> Failure {
    Failure::Unavailable("the connection is lost; it is made again as soon as can be".into())
}

/// What a plugin wrote, short and without control characters, for an answer or a log.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let shown = text.chars().take(MOST);
    shown.map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}

/// Acts on a terminal or on the direction of what is beside it, or isn't seen at all.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
