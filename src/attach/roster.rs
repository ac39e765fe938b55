//! Who is attached: asks `$SRV.INFO` for each plugin that may attach, checks what comes, and sets the terms of the lines by it.
//!
//! An instance that answers is on the roster until it has been silent for a lease; time without NATS doesn't count, since then nobody can answer.
//! Instances of several versions may serve at once, as during an upgrade: together they serve the hooks of all, on the terms of the newest.
//! Every now and then everybody is asked, so that a plugin which nobody allowed can be shown to whoever wonders why it isn't asked.
//!
//! # Why each name is asked for by itself
//! An answer counts for the name whose question it answers. What a NATS account may subscribe to decides who can answer for whom, and nobody
//! becomes another one by a general answer. Each question has a reply subject of its own, on which the server stops after a bounded number of
//! answers: a flood of them costs this node nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::Serialize;

use super::config::{Allowed, Config};
use super::descriptor::{self, Answered, Descriptor};
use super::hooks::{DEFAULT_ORDER, Hooks};
use super::line::{Line, Standing, Terms};
use super::protocol::{Happening, OnFailure};
use crate::domain::time::EpochMs;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::nats::Nats;
use crate::telemetry::events;

/// Everybody is asked each so many rounds.
const STRANGERS_EVERY: u64 = 5;

/// Who is attached. Cheap to clone.
#[derive(Clone)]
pub struct Roster(Arc<Inner>);

struct Inner {
    config: Config,
    nats: Nats,
    hooks: Hooks,
    /// Is told the bits of the happenings that plugins ask for.
    want: Box<dyn Fn(u32) + Send + Sync>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By the names that the configuration allows.
    plugins: BTreeMap<String, Plugin>,
    strangers: BTreeMap<String, Stranger>,
    /// Since when NATS can be reached; what was silent before says nothing.
    connected: Option<Instant>,
}

#[derive(Default)]
struct Plugin {
    /// By their ids.
    instances: BTreeMap<String, Instance>,
    disabled: Option<Decision>,
    was_attached: bool,
}

struct Instance {
    since: EpochMs,
    heard: Instant,
    version: String,
    said: Result<Descriptor, String>,
}

/// A plugin that is there and may not attach.
#[derive(Debug, Clone, Serialize)]
pub struct Stranger {
    pub name: String,
    pub version: String,
    pub protocol: String,
    #[serde(skip)]
    heard: Option<Instant>,
}

/// What an operator decided about a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Decision {
    pub disabled: bool,
    /// Whose key it was.
    pub by: String,
    pub at: EpochMs,
}

impl Roster {
    pub fn new(config: &Config, nats: &Nats, hooks: &Hooks, want: impl Fn(u32) + Send + Sync + 'static) -> Self {
        let plugins = config.plugins.keys().map(|name| (name.clone(), Plugin::default()));
        Self(Arc::new(Inner {
            seen: Mutex::new(Seen {
                plugins: plugins.collect(),
                ..Seen::default()
            }),
            config: config.clone(),
            nats: nats.clone(),
            hooks: hooks.clone(),
            want: Box::new(want),
        }))
    }

    /// Looks around once: before anything is dispatched, so that nothing passes by a plugin that is there.
    pub async fn look(&self) {
        self.round(true).await;
    }

    /// Looks around until the drain.
    pub async fn run(self, lifecycle: Lifecycle) {
        let every = Duration::from_millis(self.0.config.discover_ms);
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rounds = 0;
        while lifecycle.drain.run_until_cancelled(tick.tick()).await.is_some() {
            let round = self.round(rounds % STRANGERS_EVERY == 0);
            if lifecycle.drain.run_until_cancelled(round).await.is_none() {
                return;
            }
            rounds += 1;
        }
    }

    /// Whether the configuration allows it.
    pub fn knows(&self, name: &str) -> bool {
        self.0.config.plugins.contains_key(name)
    }

    /// Follows an operator's decision about `name`, or that there is none any more.
    pub fn decided(&self, name: &str, decision: Option<Decision>) {
        let mut seen = self.seen();
        let Some(plugin) = seen.plugins.get_mut(name) else {
            return;
        };
        let decision = decision.filter(|decision| decision.disabled);
        if plugin.disabled != decision {
            events::plugin_decided(name, decision.as_ref().map(|decision| &*decision.by));
            plugin.disabled = decision;
            self.apply(&mut seen);
        }
    }

    async fn round(&self, strangers: bool) {
        let connected = self.0.nats.pulse.borrow().connected;
        {
            let mut seen = self.seen();
            match (connected, seen.connected) {
                (false, _) => seen.connected = None,
                (true, None) => seen.connected = Some(Instant::now()),
                (true, Some(_)) => {}
            }
        }
        if !connected {
            return;
        }
        let names = self.0.config.plugins.iter();
        let known = join_all(names.map(|(name, allowed)| async move {
            let subject = format!("$SRV.INFO.{name}");
            let most = self.0.config.max_instances;
            (name, allowed, self.ask(subject, most, true).await)
        }));
        let everybody = async {
            let most = self.0.config.max_strangers + self.0.config.plugins.len() * self.0.config.max_instances;
            match strangers {
                true => Some(self.ask("$SRV.INFO".into(), most, false).await),
                false => None,
            }
        };
        let (known, everybody) = tokio::join!(known, everybody);
        let mut seen = self.seen();
        for (name, allowed, answers) in known {
            for answered in answers.iter().filter(|answered| answered.name == *name) {
                self.heard(&mut seen, name, allowed, answered);
            }
        }
        if let Some(answers) = everybody {
            self.meet(&mut seen, answers);
        }
        self.forget(&mut seen);
        self.apply(&mut seen);
    }

    /// Asks, and gathers what comes in time, `most` answers at most. The NATS server itself stops behind them; of one plugin alone that is told.
    async fn ask(&self, subject: String, most: usize, is_one: bool) -> Vec<Answered> {
        let client = &self.0.nats.client;
        let inbox = client.new_inbox();
        let Ok(mut replies) = client.subscribe(inbox.clone()).await else {
            return Vec::new();
        };
        let bounded = replies.unsubscribe_after(most as u64 + 1).await;
        if bounded.is_err()
            || client
                .publish_with_reply(subject.clone(), inbox, "".into())
                .await
                .is_err()
        {
            return Vec::new();
        }
        let mut answers = Vec::new();
        let mut came = 0;
        let end = tokio::time::sleep(Duration::from_millis(self.0.config.discover_ms).min(LONGEST_LOOK));
        tokio::pin!(end);
        loop {
            let message = tokio::select! {
                () = &mut end => break,
                message = replies.next() => message,
            };
            let Some(message) = message else { break };
            // Nobody listens there: the server says so at once.
            if message
                .status
                .is_some_and(|status| status == async_nats::StatusCode::NO_RESPONDERS)
            {
                break;
            }
            came += 1;
            if came > most {
                if is_one {
                    events::plugin_answers_refused("flood", &subject);
                }
                break;
            }
            match descriptor::read(&message.payload) {
                Some(answered) => answers.push(answered),
                None => events::plugin_answers_refused("unreadable", &subject),
            }
        }
        let _ = replies.unsubscribe().await;
        answers
    }

    fn heard(&self, seen: &mut Seen, name: &str, allowed: &Allowed, answered: &Answered) {
        let Some(plugin) = seen.plugins.get_mut(name) else {
            return;
        };
        let said = answered.describe(&self.0.nats.prefix, allowed);
        let is_full = plugin.instances.len() >= self.0.config.max_instances;
        match plugin.instances.get_mut(&answered.id) {
            Some(instance) => {
                if let Err(reason) = &said
                    && instance.said.as_ref().err() != Some(reason)
                {
                    events::plugin_refused(name, &answered.id, reason);
                }
                (instance.heard, instance.said) = (Instant::now(), said);
                instance.version.clone_from(&answered.version);
            }
            None if is_full => events::plugin_answers_refused("flood", name),
            None => {
                match &said {
                    Ok(_) => events::plugin_instance_came(name, &answered.id, &answered.version),
                    Err(reason) => events::plugin_refused(name, &answered.id, reason),
                }
                let instance = Instance {
                    since: wall_clock(),
                    heard: Instant::now(),
                    version: answered.version.clone(),
                    said,
                };
                plugin.instances.insert(answered.id.clone(), instance);
            }
        }
    }

    /// Notes who is there and may not attach.
    fn meet(&self, seen: &mut Seen, answers: Vec<Answered>) {
        let most = self.0.config.max_strangers;
        for answered in answers.into_iter().filter(|answered| !self.knows(&answered.name)) {
            let Some(protocol) = answered.protocol else { continue };
            if seen.strangers.len() >= most && !seen.strangers.contains_key(&answered.name) {
                continue;
            }
            let stranger = Stranger {
                name: answered.name.clone(),
                version: answered.version,
                protocol,
                heard: Some(Instant::now()),
            };
            if seen.strangers.insert(answered.name.clone(), stranger).is_none() {
                events::plugin_not_allowed(&answered.name);
            }
        }
    }

    fn forget(&self, seen: &mut Seen) {
        let lease = Duration::from_millis(self.0.config.lease_ms);
        let Some(connected) = seen.connected else { return };
        let is_there = |heard: Instant, lease: Duration| heard.max(connected).elapsed() < lease;
        for (name, plugin) in &mut seen.plugins {
            plugin.instances.retain(|id, instance| {
                let stays = is_there(instance.heard, lease);
                if !stays {
                    events::plugin_instance_gone(name, id);
                }
                stays
            });
        }
        let long = lease.max(Duration::from_millis(self.0.config.discover_ms) * (2 * STRANGERS_EVERY as u32));
        seen.strangers
            .retain(|_, stranger| stranger.heard.is_some_and(|heard| is_there(heard, long)));
    }

    /// Sets the terms of every line by who is there, and says which events are asked for.
    fn apply(&self, seen: &mut Seen) {
        let mut wanted = 0;
        for line in self.0.hooks.lines() {
            let allowed = &self.0.config.plugins[&*line.plugin];
            let plugin = &seen.plugins[&*line.plugin];
            line.set_terms(self.terms(line, allowed, plugin));
        }
        for (name, plugin) in &mut seen.plugins {
            let attached = plugin.good().count();
            if (attached > 0) != plugin.was_attached {
                plugin.was_attached = attached > 0;
                events::plugin_attached(name, plugin.was_attached);
            }
            events::plugin_instances(name, attached);
            if plugin.disabled.is_none() {
                let asked = plugin.good().flat_map(|descriptor| &descriptor.events);
                wanted |= asked.fold(0, |bits, happening| bits | happening.bit());
            }
        }
        self.0.hooks.arrange();
        (self.0.want)(wanted);
    }

    fn terms(&self, line: &Line, allowed: &Allowed, plugin: &Plugin) -> Terms {
        let config = &self.0.config.hooks;
        let absent = allowed.absent(config);
        let serving = || plugin.good().filter(|descriptor| descriptor.hooks.contains(&line.hook));
        if plugin.disabled.is_some() {
            return Terms {
                standing: Standing::Disabled,
                ..absent
            };
        }
        let newest = serving().max_by(|one, other| (&one.version, &other.id).cmp(&(&other.version, &one.id)));
        let Some(newest) = newest else {
            return absent;
        };
        let deadline = allowed.deadline_ms.or(newest.deadline_ms).unwrap_or(config.deadline_ms);
        Terms {
            standing: Standing::Attached(serving().count()),
            order: allowed.order.or(newest.order).unwrap_or(DEFAULT_ORDER),
            deadline: Duration::from_millis(deadline.min(config.deadline_most_ms)),
            on_failure: allowed.on_failure.or(newest.on_failure).unwrap_or(OnFailure::Pass),
            receivers: newest.receivers.clone(),
            types: newest.types.clone(),
            max_batch: newest.max_batch.unwrap_or(config.max_batch).min(config.max_batch),
            commands: newest.commands.clone(),
            ..absent
        }
    }

    /// Everything, for people.
    pub fn report(&self) -> Report {
        let seen = self.seen();
        let plugins = seen.plugins.iter().map(|(name, plugin)| self.reported(name, plugin));
        Report {
            plugins: plugins.collect(),
            strangers: seen.strangers.values().cloned().collect(),
        }
    }

    fn reported(&self, name: &str, plugin: &Plugin) -> PluginReport {
        let lines = self.0.hooks.lines().iter().filter(|line| *line.plugin == *name);
        let hooks = lines.map(|line| {
            let terms = line.terms();
            HookReport {
                hook: line.hook.name(),
                subject: line.subject.clone(),
                instances: match terms.standing {
                    Standing::Attached(instances) => instances,
                    Standing::Absent { .. } | Standing::Disabled => 0,
                },
                order: terms.order,
                deadline_ms: terms.deadline.as_millis() as u64,
                on_failure: terms.on_failure,
                breaker: line.breaker().name(),
                receivers: terms.receivers.iter().map(ToString::to_string).collect(),
                types: terms.types.iter().map(ToString::to_string).collect(),
                commands: terms.commands.iter().cloned().collect(),
            }
        });
        let newest = plugin.good().max_by(|one, other| one.version.cmp(&other.version));
        let events = plugin.good().flat_map(|descriptor| descriptor.events.iter().copied());
        let events: std::collections::BTreeSet<Happening> = events.collect();
        let instances = plugin.instances.iter().map(|(id, instance)| InstanceReport {
            id: id.clone(),
            version: instance.version.clone(),
            since: instance.since,
            silent_ms: instance.heard.elapsed().as_millis() as u64,
            refused: instance.said.as_ref().err().cloned(),
        });
        PluginReport {
            name: name.to_owned(),
            state: match (&plugin.disabled, plugin.good().next(), plugin.instances.is_empty()) {
                (Some(_), ..) => "disabled",
                (None, Some(_), _) => "attached",
                (None, None, false) => "refused",
                (None, None, true) => "absent",
            },
            description: newest.map(|newest| newest.description.clone()).unwrap_or_default(),
            version: newest.map(|newest| newest.version.to_string()),
            required: self.0.config.plugins[name].required,
            disabled: plugin.disabled.clone(),
            hooks: hooks.collect(),
            events: events.into_iter().map(Happening::name).collect(),
            instances: instances.collect(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is there answers within this.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

impl Plugin {
    fn good(&self) -> impl Iterator<Item = &Descriptor> {
        self.instances
            .values()
            .filter_map(|instance| instance.said.as_ref().ok())
    }
}

/// `GET /api/plugins`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub plugins: Vec<PluginReport>,
    /// Those that are there and may not attach.
    pub strangers: Vec<Stranger>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    pub name: String,
    /// `attached`, `absent`, `refused` (all that is there of it) or `disabled`.
    pub state: &'static str,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Decision>,
    pub hooks: Vec<HookReport>,
    pub events: Vec<&'static str>,
    pub instances: Vec<InstanceReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct HookReport {
    pub hook: &'static str,
    pub subject: String,
    pub instances: usize,
    pub order: u16,
    pub deadline_ms: u64,
    pub on_failure: OnFailure,
    pub breaker: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct InstanceReport {
    pub id: String,
    pub version: String,
    /// When this node first heard of it.
    pub since: EpochMs,
    /// Since it last answered, in milliseconds.
    pub silent_ms: u64,
    /// Why it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
