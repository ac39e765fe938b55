//! The line to one hook of one plugin: asks, within a deadline and a bound, and looks at every answer before anybody acts on it.
//!
//! In: a question's body. Out: the answer's body, or a [`Failure`]. A question may be asked twice: where several instances share the work and
//! half of the time is over, a second one is tried, and the first answer counts; the hooks are made so that this does no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_nats::client::RequestErrorKind;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{Client, Message};
use bytes::Bytes;
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

    /// From now on these count. Says whether that changed anything.
    pub fn set_terms(&self, terms: Terms) -> bool {
        let is_new = **self.terms.load() != terms;
        if is_new {
            self.terms.store(Arc::new(terms));
        }
        is_new
    }

    /// Octets of a question, its frame included.
    pub fn max_question(&self) -> usize {
        self.max_request.min(self.client.server_info().max_payload)
    }

    pub fn breaker(&self) -> breaker::Standing {
        self.lock().standing()
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
        let answer = self.asked(question, check, begun).await;
        match &answer {
            Ok(_) => {
                self.tally.answered(begun.elapsed());
                if self.lock().succeeded() {
                    events::hook_recovered(&self.plugin, self.hook.name());
                }
            }
            // It was not asked: nothing is learnt of it.
            Err(
                Failure::Open
                | Failure::Disabled
                | Failure::Busy
                | Failure::Unavailable(_)
                | Failure::TooLarge("the question", ..),
            ) => {}
            Err(failure) => {
                if self.lock().failed(Instant::now()) {
                    events::hook_left_alone(&self.plugin, self.hook.name(), failure);
                }
            }
        }
        if let Err(failure) = &answer {
            self.tally.failed(failure, wall_clock());
        }
        let failure = answer.as_ref().err().map(|failure| (failure.code(), failure as _));
        events::hook_asked(&self.plugin, self.hook.name(), begun.elapsed(), failure);
        answer
    }

    async fn asked<Q: Serialize, A: DeserializeOwned, T>(
        &self,
        question: &Q,
        check: impl FnOnce(A) -> Result<T, String>,
        begun: Instant,
    ) -> Result<T, Failure> {
        let terms = self.terms.load_full();
        let instances = match terms.standing {
            Standing::Attached(instances) => instances,
            Standing::Absent { .. } => return Err(Failure::Absent),
            Standing::Disabled => return Err(Failure::Disabled),
        };
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
        let left = limit.saturating_sub(begun.elapsed());
        let Ok(Ok(_permit)) = tokio::time::timeout(left, self.permits.acquire()).await else {
            return Err(Failure::Busy);
        };
        let left = limit.saturating_sub(begun.elapsed());
        let asking = async {
            if instances < 2 {
                return self.once(question).await;
            }
            let first = self.once(question);
            tokio::pin!(first);
            match tokio::time::timeout(left / 2, &mut first).await {
                Ok(answered) => answered,
                // Perhaps that instance froze, and the next question goes to another one.
                Err(_) => tokio::select! {
                    answered = &mut first => answered,
                    answered = self.once(question) => answered,
                },
            }
        };
        let answered = tokio::time::timeout(left, asking).await;
        let (request, message) = answered.map_err(|_| match self.is_connected() {
            true => Failure::Timeout(limit.as_millis() as u64),
            false => away(),
        })??;
        let answer = self.read(&request, &message)?;
        check(answer).map_err(Failure::BadReply)
    }

    /// One question, to whichever instance NATS chooses.
    async fn once<Q: Serialize>(&self, question: &Q) -> Result<(String, Message), Failure> {
        let request = id::request();
        let question = Question {
            v: VERSION,
            request: &request,
            body: question,
        };
        let payload = serde_json::to_vec(&question).expect("questions are JSON");
        let most = self.max_question();
        if payload.len() > most {
            return Err(Failure::TooLarge("the question", payload.len(), most));
        }
        // The deadline is the caller's; the client has one of its own, which is longer than any.
        let sent = async_nats::Request::new().payload(Bytes::from(payload)).timeout(None);
        match self.client.send_request(self.subject.clone(), sent).await {
            Ok(message) => Ok((request, message)),
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
