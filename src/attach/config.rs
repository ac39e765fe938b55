//! `[attach]`: who may attach, and the bounds of what they are asked and told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::protocol::{Happening, Hook, OnFailure, Pattern};

/// Which plugins may attach, and how they are looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether plugins are looked for, asked and told. Needs NATS with JetStream.
    pub enabled: bool,
    /// How often to ask who is there, in milliseconds.
    pub discover_ms: u64,
    /// An instance that has not answered for so long is gone, in milliseconds.
    pub lease_ms: u64,
    /// Instances of one plugin; further ones are left out.
    pub max_instances: usize,
    /// Plugins that are there and may not attach, shown so that somebody allows them; further ones are not shown.
    pub max_strangers: usize,
    /// NATS servers that keep what operators decide about plugins.
    pub replicas: usize,
    pub hooks: Hooks,
    pub events: Events,
    /// Who may attach, by the name of the NATS service.
    pub plugins: BTreeMap<String, Allowed>,
}

/// Octets of a question to `review` around the data of one notification, at most.
pub const AROUND: usize = 4_096;

/// What one plugin may do. What is said here counts before what the plugin says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowed {
    /// Hooks that it may serve.
    pub hooks: BTreeSet<Hook>,
    /// Events that it may ask for.
    pub events: BTreeSet<Happening>,
    /// Commands that it may serve, such as `typing` for SEND to `/app/x/typing`.
    pub commands: BTreeSet<String>,
    /// Receivers whose notifications it may review, such as `group:*`; empty: all.
    pub receivers: Vec<Pattern>,
    /// Whether its hooks fail while it is not there, also before it was ever seen. Else nobody asks it then. See [`Allowed::is_required`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// What a failure means. Where neither this nor the plugin says it: `reject` for `subscribe`, so that no topic opens by a failure, else `pass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Its place among the plugins of a hook: lower ones first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<u16>,
    /// Its time for an answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// How plugins are asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// The time for an answer where neither the plugin nor its table says one, and the longest that a plugin may ask for, in milliseconds.
    pub deadline_ms: u64,
    pub deadline_most_ms: u64,
    /// Questions to one hook of one plugin that this node has open at once; further ones wait, for half of their deadline.
    pub in_flight: usize,
    /// Octets of a question and of an answer. Questions have to fit into what the NATS server takes (`max_payload`), too.
    pub max_request: usize,
    pub max_reply: usize,
    /// Notifications of one question to `review` at most.
    pub max_batch: usize,
    /// Receivers that one notification may be routed to, and pages that they may come in.
    pub max_receivers: usize,
    pub max_pages: usize,
    /// Failures in a row after which a hook is left alone, for how long at first and at most, in milliseconds.
    pub breaker_failures: u32,
    pub breaker_first_ms: u64,
    pub breaker_most_ms: u64,
    /// First and longest delay between tries where `on_failure` is `retry`, in milliseconds.
    pub retry_first_ms: u64,
    pub retry_most_ms: u64,
    /// Whether a plugin may vouch for a token that never ends: its session would never end by itself.
    pub unending_tokens: bool,
}

/// What is told of what happens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Events that are told whether or not a plugin asked for them.
    pub always: BTreeSet<Happening>,
    /// Events that may wait for NATS; further ones are lost, and counted.
    pub queue: usize,
    /// Octets of such events, roughly: their data counts.
    pub queue_octets: usize,
    /// Whether events of a notification have its data. `unreached` always has.
    pub data: bool,
    /// A notification that is unconfirmed so long after it was stored, while its receiver has no session, is `unreached`, in milliseconds.
    pub unreached_after_ms: u64,
    /// Older ones are not told any more, in milliseconds: what has gathered before anybody listened.
    pub unreached_within_ms: u64,
    /// A user without a session for so long is offline, in milliseconds: the reload of a page is no farewell.
    pub offline_after_ms: u64,
    pub stream: Stream,
}

/// The JetStream stream that keeps events for those who must not miss one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    /// Events that it keeps; without any there is no stream.
    pub kinds: BTreeSet<Happening>,
    pub max_age_seconds: u64,
    /// Octets; the oldest go first.
    pub max_bytes: u64,
    pub replicas: usize,
    /// Events that wait for the server's word that it has them; further ones wait in `attach.events.queue`.
    pub in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            discover_ms: 1_000,
            lease_ms: 5_000,
            max_instances: 64,
            max_strangers: 32,
            replicas: 1,
            hooks: Hooks::default(),
            events: Events::default(),
            plugins: BTreeMap::new(),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            deadline_ms: 1_000,
            deadline_most_ms: 5_000,
            in_flight: 16,
            max_request: 524_288,
            max_reply: 524_288,
            max_batch: 200,
            max_receivers: 100_000,
            max_pages: 1_000,
            breaker_failures: 5,
            breaker_first_ms: 500,
            breaker_most_ms: 10_000,
            retry_first_ms: 50,
            retry_most_ms: 1_000,
            unending_tokens: false,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            always: BTreeSet::new(),
            queue: 10_000,
            queue_octets: 67_108_864,
            data: false,
            unreached_after_ms: 60_000,
            unreached_within_ms: 3_600_000,
            offline_after_ms: 5_000,
            stream: Stream::default(),
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            kinds: BTreeSet::new(),
            max_age_seconds: 86_400,
            max_bytes: 1_073_741_824,
            replicas: 1,
            in_flight: 256,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `attach`, reason). Dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let (hooks, events) = (&self.hooks, &self.events);
        let bounds = [
            ("discover_ms", self.discover_ms, 50, 60_000),
            ("lease_ms", self.lease_ms, 100, 600_000),
            ("max_instances", self.max_instances as u64, 1, 1_000),
            ("max_strangers", self.max_strangers as u64, 0, 1_000),
            ("replicas", self.replicas as u64, 1, 5),
            ("hooks.deadline_ms", hooks.deadline_ms, 1, 60_000),
            ("hooks.deadline_most_ms", hooks.deadline_most_ms, 1, 60_000),
            ("hooks.in_flight", hooks.in_flight as u64, 1, 10_000),
            ("hooks.max_request", hooks.max_request as u64, 1_024, 67_108_864),
            ("hooks.max_reply", hooks.max_reply as u64, 1_024, 67_108_864),
            ("hooks.max_batch", hooks.max_batch as u64, 1, 10_000),
            ("hooks.max_receivers", hooks.max_receivers as u64, 1, 10_000_000),
            ("hooks.max_pages", hooks.max_pages as u64, 2, 1_000_000),
            ("hooks.breaker_failures", hooks.breaker_failures.into(), 1, 10_000),
            ("hooks.breaker_first_ms", hooks.breaker_first_ms, 1, 600_000),
            ("hooks.breaker_most_ms", hooks.breaker_most_ms, 1, 600_000),
            ("hooks.retry_first_ms", hooks.retry_first_ms, 1, 600_000),
            ("hooks.retry_most_ms", hooks.retry_most_ms, 1, 600_000),
            ("events.queue", events.queue as u64, 1, 10_000_000),
            (
                "events.queue_octets",
                events.queue_octets as u64,
                65_536,
                17_179_869_184,
            ),
            ("events.unreached_after_ms", events.unreached_after_ms, 100, 604_800_000),
            (
                "events.unreached_within_ms",
                events.unreached_within_ms,
                1_000,
                604_800_000,
            ),
            ("events.offline_after_ms", events.offline_after_ms, 0, 3_600_000),
            (
                "events.stream.max_age_seconds",
                events.stream.max_age_seconds,
                1,
                31_622_400,
            ),
            (
                "events.stream.max_bytes",
                events.stream.max_bytes,
                65_536,
                i64::MAX as u64,
            ),
            ("events.stream.replicas", events.stream.replicas as u64, 1, 5),
            ("events.stream.in_flight", events.stream.in_flight as u64, 1, 100_000),
        ];
        let out = bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")));
        let contradictions = [
            (
                self.lease_ms < self.discover_ms.saturating_mul(2),
                "lease_ms",
                "must be at least twice attach.discover_ms, so that one lost answer ends no attachment",
            ),
            (
                hooks.deadline_most_ms < hooks.deadline_ms,
                "hooks.deadline_most_ms",
                "must be at least attach.hooks.deadline_ms",
            ),
            (
                hooks.breaker_most_ms < hooks.breaker_first_ms,
                "hooks.breaker_most_ms",
                "must be at least attach.hooks.breaker_first_ms",
            ),
            (
                hooks.retry_most_ms < hooks.retry_first_ms,
                "hooks.retry_most_ms",
                "must be at least attach.hooks.retry_first_ms",
            ),
            (
                events.unreached_within_ms <= events.unreached_after_ms,
                "events.unreached_within_ms",
                "must be more than attach.events.unreached_after_ms, or nothing is ever told",
            ),
        ];
        let contradictions = contradictions
            .into_iter()
            .filter(|(is_wrong, ..)| *is_wrong)
            .map(|(_, path, reason)| (path.to_owned(), reason.to_owned()));
        let plugins = self.plugins.iter().flat_map(|(name, allowed)| {
            let problems = allowed.problems(name, hooks.deadline_most_ms);
            problems
                .into_iter()
                .map(move |(path, reason)| (format!("plugins.{name}{path}"), reason))
        });
        out.chain(contradictions).chain(plugins).collect()
    }

    /// Whether a plugin may review.
    pub fn may_review(&self) -> bool {
        self.enabled
            && self
                .plugins
                .values()
                .any(|allowed| allowed.hooks.contains(&Hook::Review))
    }

    /// The time of the one plugin that may say who a token speaks for, in milliseconds, unless it asks for another one.
    pub fn authenticator_deadline_ms(&self) -> Option<u64> {
        let allowed = &self.plugins[self.authenticator().ok()?];
        Some(allowed.deadline_ms.unwrap_or(self.hooks.deadline_ms))
    }

    /// The one plugin that may say who a token speaks for, or why there is none such.
    pub fn authenticator(&self) -> Result<&str, String> {
        if !self.enabled {
            return Err("needs attach.enabled = true, and a plugin that may serve `authenticate`".into());
        }
        let mut those = self
            .plugins
            .iter()
            .filter(|(_, allowed)| allowed.hooks.contains(&Hook::Authenticate));
        match (those.next(), those.next()) {
            (Some((name, _)), None) => Ok(name),
            (None, _) => Err("no plugin may serve it: say attach.plugins.NAME.hooks = [\"authenticate\"]".into()),
            (Some((one, _)), Some((other, _))) => Err(format!(
                "both {one} and {other} may serve `authenticate`; one alone can decide"
            )),
        }
    }
}

impl Allowed {
    /// Whether its absence is a failure. Who says here that a failure rejects or waits doesn't mean that everything passes while the plugin is gone:
    /// that has to be said, by `required = false`.
    pub fn is_required(&self) -> bool {
        let minds = matches!(self.on_failure, Some(OnFailure::Reject | OnFailure::Retry));
        self.required.unwrap_or(minds && !self.hooks.is_empty())
    }

    fn problems(&self, name: &str, deadline_most_ms: u64) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !is_name(name) {
            let reason = "a plugin's name is that of its NATS service: 1 to 64 letters, digits, - and _";
            problems.push((String::new(), reason.to_owned()));
        }
        if self.hooks.is_empty() && self.events.is_empty() {
            problems.push((String::new(), "may do nothing: say `hooks` or `events`".into()));
        }
        if self.hooks.contains(&Hook::Command) == self.commands.is_empty() {
            let reason = "the hook `command` and the names of `commands` go together";
            problems.push((".commands".into(), reason.into()));
        }
        for command in self.commands.iter().filter(|command| !is_name(command)) {
            let command: String = command.chars().take(64).collect();
            let reason = format!("{command:?}: a command has 1 to 64 letters, digits, - and _");
            problems.push((".commands".into(), reason));
        }
        if self.order.is_some_and(|order| order > 1_000) {
            problems.push((".order".into(), "must lie between 0 and 1000".into()));
        }
        if self.deadline_ms.is_some_and(|ms| !(1..=deadline_most_ms).contains(&ms)) {
            let reason = format!("must lie between 1 and attach.hooks.deadline_most_ms, which is {deadline_most_ms}");
            problems.push((".deadline_ms".into(), reason));
        }
        if self.required == Some(true) && self.hooks.is_empty() {
            problems.push((".required".into(), "is for plugins that serve hooks".into()));
        }
        problems
    }
}

/// The name of a plugin or of a command: one token of a subject.
pub(super) use crate::subjects::is_word as is_name;
