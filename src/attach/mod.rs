//! Attached plugins: processes of their own, in any language, on NATS, which come and go while the server runs.
//!
//! A plugin is a NATS service (`$SRV.INFO`) that says by its metadata which hooks it serves; only those that the configuration names may attach
//! (`attach.plugins.NAME`). *Hooks* are questions with a deadline, and can change what happens: see [`Hooks`]. *Events* tell what happened, and can
//! hold nothing up. Without `attach.enabled`, or with nobody there, asking and telling cost a look at a pointer.

pub mod authenticate;
pub mod breaker;
pub mod command;
pub mod config;
pub mod conformance;
pub mod decisions;
pub mod descriptor;
pub mod events;
pub mod hooks;
pub mod line;
pub mod look;
mod metadata;
pub mod protocol;
pub mod report;
pub mod review;
pub mod roster;
pub mod schema;
pub mod subscribe;
pub mod tally;
mod verdict;

pub use config::Config;
pub use decisions::{Decisions, Unkept};
pub use events::Events;
pub use hooks::Hooks;
pub use roster::Roster;

use crate::lifecycle::Lifecycle;
use crate::nats::Nats;

/// Everything that is attached.
#[derive(Clone)]
pub struct Attach {
    pub hooks: Hooks,
    pub events: Events,
    /// `None` without `attach.enabled`.
    pub office: Option<Office>,
}

/// Who is attached, and what operators decide about it.
#[derive(Clone)]
pub struct Office {
    pub roster: Roster,
    pub decisions: Decisions,
}

impl Attach {
    /// Looks who is there, and goes on looking until the drain. When this returns, those that were there when it began are asked.
    /// What they want to be told of is left to `events`.
    pub async fn start(
        config: &Config,
        nats: Option<&Nats>,
        events: Events,
        lifecycle: &Lifecycle,
    ) -> Result<Self, Unkept> {
        let (true, Some(nats)) = (config.enabled, nats) else {
            return Ok(Self {
                hooks: Hooks::none(),
                events,
                office: None,
            });
        };
        let decisions = Decisions::open(nats, config.replicas).await?;
        let hooks = Hooks::new(config, nats);
        let roster = Roster::new(config, nats, &hooks, {
            let events = events.clone();
            move |wanted| events.want(wanted)
        });
        // Before anybody is asked: what an operator disabled stays so.
        for name in config.plugins.keys() {
            if let Some((revision, decision)) = decisions.about(name).await? {
                roster.decided(name, revision, decision);
            }
        }
        roster.look().await;
        lifecycle.spawn_vital("roster", roster.clone().run(lifecycle.clone()));
        lifecycle.spawn_vital("decisions", decisions.clone().follow(roster.clone(), lifecycle.clone()));
        Ok(Self {
            hooks,
            events,
            office: Some(Office { roster, decisions }),
        })
    }
}
