//! Shows accepted notifications to the plugins that review them, before the record has them.
//!
//! In: a batch. Out: for each notification what it became ([`Reviewed`]), and on the way there the routes, one at a time, so that no more than one
//! list of receivers is held however many there are ([`Review::next`]).
//!
//! The plugins are asked one after another, lower `order` first: the next one sees what the one before changed, and none of what was rejected or
//! routed. A plugin is asked about what its terms cover, in questions of bounded size that are out at the same time. What a plugin does not
//! answer, or answers wrongly, goes as the terms say at that moment: on as it is, to the dead letters, or it is asked about again until the plugin
//! answers, an operator disables it, it is gone without being required, or the drain comes. What other nodes' and lanes' questions leave no room
//! for is asked again in any case: that is no failure of the plugin's.
//!
//! One notification that a plugin can't answer for must not take its neighbours along. So the terms are for a question about one alone: a larger one
//! that failed is asked again in halves ([`Failure::is_of_the_question`]), and what was in it is never again in one as large. And what comes to the
//! same each time ([`Failure::is_final`]) is no longer asked, but goes to the dead letters, where the terms say `retry`.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::config;
use super::hooks::Hooks;
use super::line::{Line, Terms};
use super::protocol::{Failure, Hook, OnFailure};
use super::verdict::{self, Asked, Further, Notifications, Page, Receivers, Routing, Verdict, Verdicts};
use crate::domain::kind::{Kinds, NOTIFY_DELETED, NOTIFY_VIEWED};
use crate::domain::notification::{Audience, Notification, Router};
use crate::lifecycle::Backoff;
use crate::telemetry::events;

/// Octets of a question's frame.
const FRAME: usize = 128;

/// A batch on its way past the plugins.
pub struct Review<'a> {
    hooks: &'a Hooks,
    config: &'a config::Hooks,
    kinds: &'a Kinds,
    lines: Arc<Vec<Arc<Line>>>,
    cases: Vec<Case<'a>>,
    /// The plugin whose turn it is.
    turn: usize,
    /// What it is to be asked about now, and what again after a pause.
    todo: Vec<usize>,
    again: Vec<usize>,
    /// What it routed, and has to be published before anything else is done.
    routed: VecDeque<(usize, Routing)>,
    backoff: Backoff,
    held: Option<Held>,
}

/// A notification and what the plugins said of it up to now.
struct Case<'a> {
    notification: &'a Notification,
    kind: Option<String>,
    data: Option<Box<RawValue>>,
    end: Option<End>,
    /// How many notifications a question to the plugin whose turn it is may have at most, with this one among them.
    most: usize,
}

/// What became of a notification.
#[derive(Debug)]
pub struct Reviewed {
    /// Its type and its data, where a plugin changed them.
    pub kind: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Passed,
    /// By this plugin, for this reason.
    Rejected(Arc<str>, String),
    /// This plugin failed, and what it doesn't review must not pass.
    Unreviewed(Arc<str>, Failure),
    Routed,
}

/// What happens next.
#[derive(Debug)]
pub enum Step {
    /// Copies of the notification of this place go to these receivers.
    Route(Route),
    /// All plugins have been asked.
    Done,
    /// The drain came first: nothing is decided.
    Drained,
}

#[derive(Debug)]
pub struct Route {
    pub place: usize,
    pub router: Router,
    /// Each once.
    pub receivers: Vec<String>,
}

impl Hooks {
    /// Whether a plugin may review here, attached or not.
    pub fn may_review(&self) -> bool {
        self.lines().iter().any(|line| line.hook == Hook::Review)
    }

    /// Begins the review of `notifications`; `None` when nobody reviews.
    pub fn review<'a>(
        &'a self,
        kinds: &'a Kinds,
        notifications: impl IntoIterator<Item = &'a Notification>,
    ) -> Option<Review<'a>> {
        let (lines, config) = (self.asked(Hook::Review)?, self.config()?);
        let cases = notifications.into_iter().map(|notification| Case {
            notification,
            kind: None,
            data: None,
            end: None,
            most: usize::MAX,
        });
        let mut review = Review {
            hooks: self,
            config,
            kinds,
            lines,
            cases: cases.collect(),
            turn: 0,
            todo: Vec::new(),
            again: Vec::new(),
            routed: VecDeque::new(),
            backoff: backoff(config),
            held: None,
        };
        review.todo = review.covered();
        Some(review)
    }
}

impl Review<'_> {
    /// Goes on to the next route, or to the end.
    pub async fn next(&mut self, drain: &CancellationToken) -> Step {
        loop {
            if let Some((place, routing)) = self.routed.pop_front() {
                match drain.run_until_cancelled(self.follow(place, routing)).await {
                    None => return Step::Drained,
                    Some(Some(route)) => return Step::Route(route),
                    Some(None) => {}
                }
            } else if !self.todo.is_empty() {
                if drain.run_until_cancelled(self.ask()).await.is_none() {
                    return Step::Drained;
                }
            } else if !self.again.is_empty() {
                self.hold();
                let pause = tokio::time::sleep(self.backoff.delay());
                if drain.run_until_cancelled(pause).await.is_none() {
                    return Step::Drained;
                }
                self.ask_again();
            } else {
                self.held = None;
                self.turn += 1;
                if self.turn >= self.lines.len() {
                    return Step::Done;
                }
                self.backoff = backoff(self.config);
                self.cases.iter_mut().for_each(|case| case.most = usize::MAX);
                self.todo = self.covered();
            }
        }
    }

    /// What became of each notification, in their order.
    pub fn end(self) -> Vec<Reviewed> {
        let cases = self.cases.into_iter().map(|case| Reviewed {
            kind: case.kind,
            data: case.data,
            end: case.end.unwrap_or(End::Passed),
        });
        cases.collect()
    }

    /// The copy for one receiver of a route.
    pub fn copy(&self, route: &Route, receiver: &str) -> Notification {
        let case = &self.cases[route.place];
        let (kind, data) = (case.kind(), case.data());
        case.notification.copy(receiver, kind, data, &route.router)
    }

    /// What the plugin whose turn it is has to be asked about.
    fn covered(&self) -> Vec<usize> {
        let line = &self.lines[self.turn];
        let terms = line.terms();
        let places = 0..self.cases.len();
        places.filter(|place| self.cases[*place].is_for(line, &terms)).collect()
    }

    /// Asks about all that is to be asked, at the same time as far as there is room.
    async fn ask(&mut self) {
        let todo = std::mem::take(&mut self.todo);
        let line = Arc::clone(&self.lines[self.turn]);
        let shown: Vec<Box<RawValue>> = todo.iter().map(|place| self.cases[*place].shown()).collect();
        let mut answers = Vec::new();
        {
            let mut asking = FuturesUnordered::new();
            for range in self.questions(&line, &todo, &shown) {
                if asking.len() >= self.config.in_flight {
                    answers.extend(asking.next().await);
                }
                let question = self.question(&line, &todo[range.clone()], &shown[range.clone()]);
                asking.push(async move { (range, question.await) });
            }
            while let Some(answer) = asking.next().await {
                answers.push(answer);
            }
        }
        for (range, answer) in answers {
            let places = &todo[range];
            match answer {
                Ok(verdicts) => self.take(&line, places, verdicts),
                Err(failure) => self.failed(&line, places, &failure),
            }
        }
    }

    /// Cuts `todo` into questions of bounded number and size, none with an id twice.
    fn questions(&self, line: &Line, todo: &[usize], shown: &[Box<RawValue>]) -> Vec<std::ops::Range<usize>> {
        let most = line.terms().max_batch.min(self.config.max_batch).max(1);
        let most_octets = line.max_question().saturating_sub(FRAME);
        let mut questions = Vec::new();
        let (mut start, mut octets, mut fit) = (0, 0, most);
        let mut ids = HashSet::new();
        for (at, place) in todo.iter().enumerate() {
            let (case, size) = (&self.cases[*place], shown[at].get().len() + 1);
            let is_new = ids.insert(case.notification.id.as_str());
            fit = fit.min(case.most);
            if at > start && (at - start >= fit || octets + size > most_octets || !is_new) {
                questions.push(start..at);
                (start, octets, fit) = (at, 0, most.min(case.most));
                ids = HashSet::from([case.notification.id.as_str()]);
            }
            octets += size;
        }
        questions.push(start..todo.len());
        questions
    }

    async fn question(&self, line: &Line, places: &[usize], shown: &[Box<RawValue>]) -> Result<Vec<Verdict>, Failure> {
        let notifications: Vec<&RawValue> = shown.iter().map(|one| &**one).collect();
        let asked: Vec<Asked> = places.iter().map(|place| self.cases[*place].asked()).collect();
        let question = Notifications {
            notifications: &notifications,
        };
        let most = self.config.max_receivers;
        line.ask(&question, |verdicts: Verdicts| verdicts.check(&asked, self.kinds, most))
            .await
    }

    fn take(&mut self, line: &Line, places: &[usize], verdicts: Vec<Verdict>) {
        let mut counted = BTreeMap::new();
        for (place, verdict) in places.iter().zip(verdicts) {
            *counted.entry(verdict.name()).or_insert(0) += 1;
            let case = &mut self.cases[*place];
            match verdict {
                Verdict::Pass => {}
                Verdict::Change { kind, data } => {
                    case.kind = kind.or(case.kind.take());
                    case.data = data.or(case.data.take());
                }
                Verdict::Reject(reason) => case.end = Some(End::Rejected(Arc::clone(&line.plugin), reason)),
                Verdict::Route(routing) => self.routed.push_back((*place, routing)),
            }
        }
        for (verdict, count) in counted {
            events::reviewed(&line.plugin, verdict, count);
        }
    }

    /// Asks for the further pages of a route; `None` when that failed.
    async fn follow(&mut self, place: usize, mut routing: Routing) -> Option<Route> {
        let line = Arc::clone(&self.lines[self.turn]);
        if let Err(failure) = self.pages(&line, place, &mut routing).await {
            self.failed(&line, &[place], &failure);
            return None;
        }
        let receivers = routing.once();
        if receivers.is_empty() {
            // Its producer meant it for somebody.
            let reason = "it was routed to nobody".to_owned();
            self.cases[place].end = Some(End::Rejected(Arc::clone(&line.plugin), reason));
            return None;
        }
        self.cases[place].end = Some(End::Routed);
        events::routed(&line.plugin, receivers.len());
        Some(Route {
            place,
            router: Router {
                order: line.terms().order,
                plugin: line.plugin.as_ref().to_owned(),
            },
            receivers,
        })
    }

    async fn pages(&self, line: &Line, place: usize, routing: &mut Routing) -> Result<(), Failure> {
        let shown = self.cases[place].shown();
        let mut backoff = backoff(self.config);
        let mut pages = 1;
        while let Some(next) = routing.next.take() {
            pages += 1;
            let most_pages = self.config.max_pages;
            let check = |page: &Routing| match page.next {
                Some(_) if pages >= most_pages => Err(format!(
                    "the receivers come in more than {most_pages} pages (attach.hooks.max_pages)"
                )),
                _ => Ok(()),
            };
            let most = self.config.max_receivers.saturating_sub(routing.receivers.len());
            let question = Further {
                page: Page {
                    next: &next,
                    notification: &shown,
                },
            };
            let page = loop {
                let asked = line.ask(&question, |page: Receivers| {
                    let page = page.check(most)?;
                    check(&page).map(|()| page)
                });
                match asked.await {
                    Err(Failure::Busy) => tokio::time::sleep(backoff.delay()).await,
                    answer => break answer?,
                }
            };
            routing.extend(page);
        }
        Ok(())
    }

    /// Asks in halves about what could not be asked about; what the terms say of one that was asked about alone.
    fn failed(&mut self, line: &Arc<Line>, places: &[usize], failure: &Failure) {
        if places.len() > 1 && failure.is_of_the_question() && self.is_asked(line) {
            events::review_tried_again(&line.plugin, places.len());
            for place in places {
                self.cases[*place].most = places.len().div_ceil(2);
            }
            self.todo.extend(places);
            return;
        }
        let again = match failure {
            Failure::Busy => true,
            // An operator's decision, or nobody asks it any more.
            _ if *failure == Failure::Disabled || !self.is_asked(line) => false,
            failure => match (line.terms().on_failure, failure) {
                (OnFailure::Pass, _) => false,
                (on_failure, failure) if on_failure == OnFailure::Reject || failure.is_final() => {
                    events::reviewed(&line.plugin, "unreviewed", places.len());
                    for place in places {
                        let end = End::Unreviewed(Arc::clone(&line.plugin), failure.clone());
                        self.cases[*place].end = Some(end);
                    }
                    return;
                }
                _ => true,
            },
        };
        if again {
            events::review_tried_again(&line.plugin, places.len());
            self.again.extend(places);
        } else {
            events::reviewed(&line.plugin, "passed-over", places.len());
        }
    }

    fn is_asked(&self, line: &Arc<Line>) -> bool {
        let asked = self.hooks.asked(Hook::Review);
        asked.is_some_and(|asked| asked.iter().any(|other| Arc::ptr_eq(other, line)))
    }

    /// What is to be asked again, if the plugin is still to be asked about it.
    fn ask_again(&mut self) {
        let line = &self.lines[self.turn];
        let mut again = std::mem::take(&mut self.again);
        again.sort_unstable();
        if !self.is_asked(line) {
            events::reviewed(&line.plugin, "passed-over", again.len());
            return;
        }
        let terms = line.terms();
        again.retain(|place| self.cases[*place].is_for(line, &terms));
        self.todo = again;
    }

    /// Tells how many wait.
    fn hold(&mut self) {
        let plugin = Arc::clone(&self.lines[self.turn].plugin);
        // Before the new one is counted.
        self.held = None;
        self.held = Some(Held::new(plugin, self.again.len()));
    }
}

impl Case<'_> {
    /// Whether it is shown to this plugin.
    fn is_for(&self, line: &Line, terms: &Terms) -> bool {
        let seen = |after: &Router| {
            let (router, other) = ((after.order, &*after.plugin), (terms.order, &*line.plugin));
            other <= router || after.plugin == *line.plugin
        };
        self.end.is_none()
            && !matches!(&*self.notification.kind, NOTIFY_VIEWED | NOTIFY_DELETED)
            && !self.notification.after.as_deref().is_some_and(seen)
            && terms.covers(self.notification.to.receiver(), self.kind())
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(&self.notification.kind)
    }

    fn data(&self) -> &RawValue {
        self.data.as_deref().unwrap_or(&self.notification.data)
    }

    fn shown(&self) -> Box<RawValue> {
        verdict::shown(self.notification, self.kind(), self.data())
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            id: &self.notification.id,
            kind: self.kind(),
            data: self.data(),
            is_personal: matches!(self.notification.to, Audience::User(_)),
        }
    }
}

/// Notifications that wait for a plugin, while they do.
struct Held(Arc<str>, usize);

impl Held {
    fn new(plugin: Arc<str>, count: usize) -> Self {
        events::review_held(&plugin, count as f64);
        Self(plugin, count)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        events::review_held(&self.0, -(self.1 as f64));
    }
}

fn backoff(config: &config::Hooks) -> Backoff {
    Backoff::new(
        Duration::from_millis(config.retry_first_ms),
        Duration::from_millis(config.retry_most_ms),
    )
}
