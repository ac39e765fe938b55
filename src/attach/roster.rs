//! Who is attached: asks `$SRV.INFO` for each plugin that may attach, checks what comes, and sets the terms of the lines by it.
//!
//! An instance that answers is on the roster until it has been silent for a lease; time without NATS doesn't count, since then nobody can answer.
//! Instances of several versions may serve at once, as during an upgrade: together they serve the hooks of all, on the terms of the newest.
//! Every now and then everybody is asked, so that a plugin which nobody allowed can be shown to whoever wonders why it isn't asked.
//!
//! # Why each name is asked for by itself
//! An answer counts for the name whose question it answers. What a NATS account may subscribe to decides who can answer for whom, and nobody
//! becomes another one by a general answer. A flood for one name is cut off ([`look`]) and leaves the others alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::config::{Allowed, Config};
use super::descriptor::{Answered, Descriptor, Unfit};
use super::hooks::{DEFAULT_ORDER, Hooks, unsaid_on_failure};
use super::line::{Line, Standing, Terms, excerpt};
use super::look::{self, Heard};
use super::protocol::{Failure, Happening, Hook, OnFailure, Pattern};
use super::report::{Decision, HookReport, InstanceReport, PluginReport, Report, StrangerReport};
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
    /// The revision of what was decided last.
    decided: u64,
    was_attached: bool,
    /// Why answers of the last round were left out; what goes on is not logged anew.
    noise: BTreeSet<&'static str>,
}

struct Instance {
    since: EpochMs,
    heard: Instant,
    version: String,
    said: Result<Descriptor, Unfit>,
}

struct Stranger {
    report: StrangerReport,
    heard: Instant,
}

impl Roster {
    pub fn new(config: &Config, nats: &Nats, hooks: &Hooks, want: impl Fn(u32) + Send + Sync + 'static) -> Self {
        for (name, allowed) in &config.plugins {
            let hooks: Vec<_> = allowed.hooks.iter().copied().map(Hook::name).collect();
            events::plugin_allowed(name, &hooks, &Failure::CODES);
        }
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

    /// Follows an operator's decision about `name`, or that there is none any more. It is heard in more than one way, and the newest `revision` counts.
    pub fn decided(&self, name: &str, revision: u64, decision: Option<Decision>) {
        let mut seen = self.seen();
        let Some(plugin) = seen.plugins.get_mut(name) else {
            return;
        };
        if revision < plugin.decided {
            return;
        }
        plugin.decided = revision;
        let decision = decision.filter(|decision| decision.disabled);
        if plugin.disabled != decision {
            events::plugin_decided(name, decision.as_ref().map(|decision| &*decision.by));
            plugin.disabled = decision;
            self.apply(&mut seen);
        }
    }

    /// All decisions are told anew: they may count from 1 again, where the bucket was made anew.
    pub fn decisions_begin(&self) {
        for plugin in self.seen().plugins.values_mut() {
            plugin.decided = 0;
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
        let time = Duration::from_millis(self.0.config.discover_ms).min(LONGEST_LOOK);
        let names = self.0.config.plugins.iter();
        let known = join_all(names.map(|(name, allowed)| async move {
            let subject = format!("$SRV.INFO.{name}");
            let heard = look::ask(&self.0.nats, subject, self.0.config.max_instances, time).await;
            (name, allowed, heard)
        }));
        let everybody = async {
            let most = self.0.config.max_strangers + self.0.config.plugins.len() * self.0.config.max_instances;
            match strangers {
                true => look::ask(&self.0.nats, "$SRV.INFO".into(), most, time).await,
                false => Heard::default(),
            }
        };
        let (known, everybody, echoes) = tokio::join!(known, everybody, look::echoes(&self.0.nats, LONGEST_LOOK));
        let mut seen = self.seen();
        for (name, allowed, heard) in known {
            self.listen(&mut seen, name, allowed, heard);
        }
        self.meet(&mut seen, everybody.answers);
        match echoes {
            true => self.forget(&mut seen),
            // It keeps the connection, and does nothing.
            false => seen.connected = None,
        }
        self.apply(&mut seen);
    }

    /// Takes what was answered to the question about one plugin.
    fn listen(&self, seen: &mut Seen, name: &str, allowed: &Allowed, heard: Heard) {
        let Some(plugin) = seen.plugins.get_mut(name) else {
            return;
        };
        let mut left_out = BTreeMap::from([("unreadable", heard.unreadable), ("flood", heard.is_flood.into())]);
        for answered in heard.answers {
            let reason = match answered.name == name {
                true if self.heard(plugin, allowed, &answered) => continue,
                true => "flood",
                false => "misnamed",
            };
            *left_out.entry(reason).or_default() += 1;
        }
        left_out.retain(|_, count| *count > 0);
        for (reason, count) in &left_out {
            events::plugin_answers_refused(name, reason, *count, !plugin.noise.contains(reason));
        }
        plugin.noise = left_out.into_keys().collect();
    }

    /// Notes what an instance says; false where there is no room for it.
    fn heard(&self, plugin: &mut Plugin, allowed: &Allowed, answered: &Answered) -> bool {
        let (name, id) = (&answered.name, &answered.id);
        let said = answered.describe(&self.0.nats.prefix, allowed);
        let known = plugin.instances.get(id);
        if known.is_none() && plugin.instances.len() >= self.0.config.max_instances {
            return false;
        }
        let before = known.map(|instance| &instance.said);
        if let Ok(descriptor) = &said {
            let left_out = before
                .and_then(|said| said.as_ref().ok())
                .map(|before| &before.left_out);
            for unfit in &descriptor.left_out {
                if left_out.is_none_or(|before| !before.contains(unfit)) {
                    events::plugin_left_out(name, id, &unfit.reason, &unfit.mend);
                }
            }
            let minds = descriptor.on_failure.filter(|minds| *minds != OnFailure::Pass);
            if let (None, Some(minds), None, None) = (before, minds, allowed.on_failure, allowed.required)
                && !descriptor.hooks.is_empty()
            {
                events::plugin_passed_when_absent(name, id, minds.name());
            }
        }
        match (&said, before) {
            (Ok(_), None) => events::plugin_instance_came(name, id, &answered.version),
            (Err(unfit), said) if said != Some(&Err(unfit.clone())) => {
                events::plugin_refused(name, id, &unfit.reason, &unfit.mend);
            }
            _ => {}
        }
        let instance = Instance {
            since: known.map_or_else(wall_clock, |instance| instance.since),
            heard: Instant::now(),
            version: answered.version.clone(),
            said,
        };
        plugin.instances.insert(id.clone(), instance);
        true
    }

    /// Notes who is there and may not attach.
    fn meet(&self, seen: &mut Seen, answers: Vec<Answered>) {
        let most = self.0.config.max_strangers;
        for answered in answers.into_iter().filter(|answered| !self.knows(&answered.name)) {
            let Some(protocol) = &answered.protocol else { continue };
            if seen.strangers.len() >= most && !seen.strangers.contains_key(&answered.name) {
                continue;
            }
            let report = StrangerReport {
                name: answered.name.clone(),
                version: answered.version.clone(),
                protocol: protocol.clone(),
                allow: answered.wishes(),
            };
            let heard = Instant::now();
            let stranger = Stranger { report, heard };
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
        seen.strangers.retain(|_, stranger| is_there(stranger.heard, long));
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
        let absent = allowed.absent(line.hook, config);
        if plugin.disabled.is_some() {
            return Terms {
                standing: Standing::Disabled,
                ..absent
            };
        }
        let Some(newest) = plugin.newest(line.hook) else {
            return absent;
        };
        let deadline = allowed.deadline_ms.or(newest.deadline_ms).unwrap_or(config.deadline_ms);
        Terms {
            standing: Standing::Attached(plugin.serving(line.hook).count()),
            order: allowed.order.or(newest.order).unwrap_or(DEFAULT_ORDER),
            deadline: Duration::from_millis(deadline.min(config.deadline_most_ms)),
            on_failure: allowed
                .on_failure
                .or(newest.on_failure)
                .unwrap_or(unsaid_on_failure(line.hook)),
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
            strangers: seen
                .strangers
                .values()
                .map(|stranger| stranger.report.clone())
                .collect(),
        }
    }

    /// One plugin, for people.
    pub fn about(&self, name: &str) -> Option<PluginReport> {
        let seen = self.seen();
        seen.plugins.get(name).map(|plugin| self.reported(name, plugin))
    }

    fn reported(&self, name: &str, plugin: &Plugin) -> PluginReport {
        let allowed = &self.0.config.plugins[name];
        let lines = self.0.hooks.lines().iter().filter(|line| *line.plugin == *name);
        let shown = |pattern: &Pattern| excerpt(&pattern.to_string());
        let hooks = lines.map(|line| {
            let terms = line.terms();
            let deadline_ms = terms.deadline.as_millis() as u64;
            let asked = plugin.newest(line.hook).and_then(|newest| newest.deadline_ms);
            let asked = asked.filter(|asked| *asked > deadline_ms && allowed.deadline_ms.is_none());
            HookReport {
                hook: line.hook.name(),
                subject: line.subject.clone(),
                instances: match terms.standing {
                    Standing::Attached(instances) => instances,
                    Standing::Absent { .. } | Standing::Disabled => 0,
                },
                order: terms.order,
                deadline_ms,
                deadline_asked_ms: asked.filter(|_| matches!(terms.standing, Standing::Attached(_))),
                on_failure: terms.on_failure,
                breaker: line.breaker().name(),
                receivers: terms.receivers.iter().map(shown).collect(),
                types: terms.types.iter().map(shown).collect(),
                commands: terms.commands.iter().cloned().collect(),
                tallied: line.tallied(),
            }
        });
        let newest = plugin.good().max_by(|one, other| one.version.cmp(&other.version));
        let events = plugin.good().flat_map(|descriptor| descriptor.events.iter().copied());
        let events: BTreeSet<Happening> = events.collect();
        let instances = plugin.instances.iter().map(|(id, instance)| InstanceReport {
            id: id.clone(),
            version: instance.version.clone(),
            since: instance.since,
            silent_ms: instance.heard.elapsed().as_millis() as u64,
            refused: instance.said.as_ref().err().map(|unfit| unfit.reason.clone()),
            mend: instance.said.as_ref().err().map(|unfit| unfit.mend.clone()),
            left_out: instance.good().map_or_else(Vec::new, |good| {
                let said = good.left_out.iter();
                said.map(|unfit| format!("{}: {}", unfit.reason, unfit.mend)).collect()
            }),
            unknown: instance.good().map_or_else(Vec::new, |good| good.unknown.clone()),
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
            required: allowed.is_required(),
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
        self.instances.values().filter_map(Instance::good)
    }

    fn serving(&self, hook: Hook) -> impl Iterator<Item = &Descriptor> {
        self.good().filter(move |descriptor| descriptor.hooks.contains(&hook))
    }

    /// The one whose terms count for a hook.
    fn newest(&self, hook: Hook) -> Option<&Descriptor> {
        self.serving(hook)
            .max_by(|one, other| (&one.version, &other.id).cmp(&(&other.version, &one.id)))
    }
}

impl Instance {
    fn good(&self) -> Option<&Descriptor> {
        self.said.as_ref().ok()
    }
}
