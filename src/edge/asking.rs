//! What a session has asked, and waits for while it goes on: whether a fresh token is good, whether it may read a topic, and what becomes of its
//! commands. Held only while there is something of it; dropped with the connection, and the questions with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::commands::{Allowance, Refused, told};
use super::{Edge, admit, at_random};
use crate::attach::command;
use crate::attach::subscribe::Barred;
use crate::domain::facts::Facts;
use crate::domain::identity::Identity;
use crate::session::{AppCommand, CommandAnswer, Credential, Disconnect, Reason, Said};
use crate::telemetry::events;

/// An answer, for the session.
pub enum Answered {
    Renewed(Result<Identity, Disconnect>),
    MayRead(Result<(), Disconnect>),
    Command(CommandAnswer),
}

pub struct Asking {
    open: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Commands among them.
    commands: usize,
    allowance: Allowance,
}

impl Asking {
    pub fn new(edge: &Edge) -> Box<Self> {
        Box::new(Self {
            open: FuturesUnordered::new(),
            commands: 0,
            allowance: Allowance::full(&edge.config.commands, Instant::now()),
        })
    }

    /// Whether a session without it would be in the same place.
    pub fn is_over(&self, edge: &Edge) -> bool {
        self.open.is_empty() && self.allowance.is_full(&edge.config.commands, Instant::now())
    }

    /// A fresh token.
    pub fn renew(&mut self, edge: &Arc<Edge>, credential: Credential, facts: Option<Arc<Facts>>) {
        let edge = Arc::clone(edge);
        self.open.push(Box::pin(async move {
            Answered::Renewed(admit::renew(&edge, &credential, facts.as_deref()).await)
        }));
    }

    /// May this user read this topic?
    pub fn may_read(&mut self, edge: &Arc<Edge>, user: Arc<str>, topic: String) {
        let edge = Arc::clone(edge);
        self.open.push(Box::pin(async move {
            let asked = edge.hooks.may_read(&user, &topic).await;
            Answered::MayRead(asked.map_err(|barred| match barred {
                Barred::Denied(why) => {
                    Disconnect::new(Reason::ForbiddenDestination, format!("SUBSCRIBE to {topic}: {why}"))
                }
                Barred::Unknown => {
                    let detail = format!("SUBSCRIBE to {topic}: whether it is allowed can't be known now; try again");
                    let within = Duration::from_millis(edge.config.return_within_ms);
                    Disconnect::new(Reason::Unavailable, detail).with_retry_after(at_random(within))
                }
            }))
        }));
    }

    /// A command; answers at once where nobody is asked.
    pub fn command(
        &mut self,
        edge: &Arc<Edge>,
        user: Arc<str>,
        session: String,
        command: AppCommand,
    ) -> Option<CommandAnswer> {
        let config = &edge.config.commands;
        let refused = if command.body.len() > config.max_body {
            Err(Refused::TooLarge)
        } else if !self.allowance.take(config, Instant::now()) {
            Err(Refused::TooMany)
        } else if self.commands >= config.in_flight {
            Err(Refused::Busy)
        } else {
            edge.hooks.server_of(&command.name).map_err(|undone| match undone {
                command::Undone::Unserved => Refused::Unserved,
                _ => Refused::Away,
            })
        };
        let line = match refused {
            Ok(line) => line,
            Err(refused) => {
                events::command_refused(refused.code());
                return Some(command.answered(Err(refused.told(config))));
            }
        };
        self.commands += 1;
        let edge = Arc::clone(edge);
        self.open.push(Box::pin(async move {
            let question = command::Question {
                command: &command.name,
                user: &user,
                session: &session,
                content_type: command.content_type.as_deref(),
                body: &command.body,
            };
            let replied = command::ask(&line, &question).await;
            let said = replied.map(|reply| Said {
                content_type: reply.content_type,
                body: reply.body,
            });
            Answered::Command(command.answered(said.map_err(|undone| told(undone, &edge.config.commands))))
        }));
        None
    }

    async fn next(&mut self) -> Answered {
        match self.open.next().await {
            Some(answered) => {
                if matches!(answered, Answered::Command(_)) {
                    self.commands -= 1;
                }
                answered
            }
            None => std::future::pending().await,
        }
    }
}

/// The next answer, if anything was asked.
pub async fn next(asking: &mut Option<Box<Asking>>) -> Answered {
    match asking {
        Some(asking) => asking.next().await,
        None => std::future::pending().await,
    }
}
