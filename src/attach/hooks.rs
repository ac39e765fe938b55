//! Who is asked, and in which order.
//!
//! There is a [`Line`] for each hook that the configuration allows to a plugin. The roster says on which terms each of them is served now; from that
//! follows, for each hook, who is asked: those that are attached, and those that should be and are not, lower `order` first, then by name.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::command::{self, Contested};
use super::config::{self, Allowed, Config};
use super::line::{Line, Standing, Terms};
use super::protocol::{Hook, OnFailure};
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// All hooks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hooks(Option<Arc<Inner>>);

struct Inner {
    config: config::Hooks,
    lines: Vec<Arc<Line>>,
    /// By hook: who is asked, in order.
    asked: [ArcSwap<Vec<Arc<Line>>>; Hook::ALL.len()],
    /// Commands that several plugins serve, as they were told.
    contested: Mutex<Contested>,
}

impl Hooks {
    /// Nobody is ever asked.
    pub fn none() -> Self {
        Self(None)
    }

    /// Those that the configuration allows, none of them attached yet.
    pub fn new(config: &Config, nats: &Nats) -> Self {
        let lines = config.plugins.iter().flat_map(|(name, allowed)| {
            allowed.hooks.iter().map(|hook| {
                let subject = subjects::hook(&nats.prefix, name, hook.name());
                let terms = allowed.absent(*hook, &config.hooks);
                Arc::new(Line::new(nats, subject, name, *hook, terms, &config.hooks))
            })
        });
        let hooks = Self(Some(Arc::new(Inner {
            lines: lines.collect(),
            config: config.hooks.clone(),
            asked: Default::default(),
            contested: Mutex::default(),
        })));
        hooks.arrange();
        hooks
    }

    /// The lines that there are, for who sets their terms.
    pub fn lines(&self) -> &[Arc<Line>] {
        self.0.as_ref().map_or(&[], |inner| &inner.lines)
    }

    /// Follows the terms of all lines. To be called after they were set.
    pub fn arrange(&self) {
        let Some(inner) = &self.0 else { return };
        for hook in Hook::ALL {
            let mut asked: Vec<_> = inner
                .lines
                .iter()
                .filter(|line| line.hook == hook)
                .map(|line| (line.terms(), Arc::clone(line)))
                .filter(|(terms, _)| {
                    matches!(
                        terms.standing,
                        Standing::Attached(_) | Standing::Absent { required: true }
                    )
                })
                .collect();
            asked.sort_by(|(one, a), (other, b)| (one.order, &a.plugin).cmp(&(other.order, &b.plugin)));
            let asked: Vec<_> = asked.into_iter().map(|(_, line)| line).collect();
            if hook == Hook::Command {
                inner.tell_contested(&asked);
            }
            inner.asked[hook as usize].store(Arc::new(asked));
        }
    }

    /// Who is asked for `hook`, in order; `None` when nobody is.
    pub fn asked(&self, hook: Hook) -> Option<Arc<Vec<Arc<Line>>>> {
        let asked = self.0.as_ref()?.asked[hook as usize].load();
        (!asked.is_empty()).then(|| Arc::clone(&asked))
    }

    /// Whether anybody is asked for `hook`.
    pub fn are_asked(&self, hook: Hook) -> bool {
        let asked = |inner: &Arc<Inner>| !inner.asked[hook as usize].load().is_empty();
        self.0.as_ref().is_some_and(asked)
    }

    /// The line to one hook of one plugin, attached or not.
    pub fn line(&self, plugin: &str, hook: Hook) -> Option<&Arc<Line>> {
        let mut lines = self.lines().iter();
        lines.find(|line| line.hook == hook && *line.plugin == *plugin)
    }

    /// The bounds; `None` where nobody is ever asked.
    pub fn config(&self) -> Option<&config::Hooks> {
        self.0.as_ref().map(|inner| &inner.config)
    }
}

impl Inner {
    /// Says once of each command that several plugins serve it.
    fn tell_contested(&self, asked: &[Arc<Line>]) {
        let contested = command::contested(asked);
        let mut told = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        for (command, (by, other)) in contested
            .iter()
            .filter(|(command, both)| told.get(*command) != Some(*both))
        {
            events::command_contested(command, by, other);
        }
        *told = contested;
    }
}

impl Allowed {
    /// The terms of a hook that nobody serves.
    pub(super) fn absent(&self, hook: Hook, config: &config::Hooks) -> Terms {
        Terms {
            standing: Standing::Absent {
                required: self.is_required(),
            },
            order: self.order.unwrap_or(DEFAULT_ORDER),
            deadline: Duration::from_millis(self.deadline_ms.unwrap_or(config.deadline_ms)),
            on_failure: self.on_failure.unwrap_or(unsaid_on_failure(hook)),
            receivers: Vec::new(),
            allowed_receivers: self.receivers.clone(),
            types: Vec::new(),
            max_batch: config.max_batch,
            commands: self.commands.clone(),
        }
    }
}

/// What a failure means where neither the table nor the plugin says it. A topic doesn't open because the one who guards it fails.
pub const fn unsaid_on_failure(hook: Hook) -> OnFailure {
    match hook {
        Hook::Subscribe => OnFailure::Reject,
        Hook::Authenticate | Hook::Review | Hook::Command => OnFailure::Pass,
    }
}

/// The place of a plugin that says none.
pub const DEFAULT_ORDER: u16 = 500;
