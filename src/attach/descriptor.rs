//! What an instance says of itself by `$SRV.INFO`, checked.
//!
//! In: the answer's bytes, the name that was asked for, and what the configuration allows. Out: a [`Descriptor`], or why the instance is refused, and what to do about it.
//! Pure.

use std::collections::{BTreeSet, HashMap};

use semver::Version;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::config::{Allowed, is_name};
use super::line::excerpt;
use super::metadata::Metadata;
use super::protocol::{Happening, Hook, MARK, OnFailure, Pattern, VERSION};
use crate::subjects;

/// Octets of an answer; a service that says more of itself is none of ours.
pub const MOST_OCTETS: usize = 65_536;
/// Octets of a version; build numbers included, nobody needs more.
const MOST_VERSION: usize = 64;
/// Commands and receivers of a stranger that are told.
const MOST_WISHES: usize = 32;

/// One instance of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub id: String,
    pub version: Version,
    pub description: String,
    pub hooks: BTreeSet<Hook>,
    pub order: Option<u16>,
    pub deadline_ms: Option<u64>,
    pub on_failure: Option<OnFailure>,
    pub receivers: Vec<Pattern>,
    pub types: Vec<Pattern>,
    pub max_batch: Option<usize>,
    pub commands: BTreeSet<String>,
    pub events: BTreeSet<Happening>,
    /// What it offers or asks for besides, and the configuration doesn't allow.
    pub left_out: Vec<Unfit>,
    /// Keys of its metadata that mean nothing.
    pub unknown: Vec<String>,
}

/// Why an instance may not attach as it is. Both are sentences, without their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub reason: String,
    /// What to do, and where.
    pub mend: String,
}

pub(super) fn unfit<T>(reason: impl Into<String>, mend: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit {
        reason: reason.into(),
        mend: mend.into(),
    })
}

/// A service that answered.
#[derive(Debug)]
pub struct Answered {
    pub name: String,
    pub id: String,
    pub version: String,
    /// `None`: it is no plugin, and no business of ours.
    pub protocol: Option<String>,
    info: Info,
}

/// An answer to `$SRV.INFO`, as libraries of several languages write it: what is empty may be left out, or null.
#[derive(Debug, Deserialize)]
struct Info {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    id: String,
    version: String,
    #[serde(default, deserialize_with = "or_null")]
    description: String,
    #[serde(default, deserialize_with = "or_null")]
    metadata: HashMap<String, Value>,
    #[serde(default, deserialize_with = "or_null")]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    name: String,
    subject: String,
    #[serde(default, deserialize_with = "or_null")]
    queue_group: String,
}

fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an answer to `$SRV.INFO`; `None` where it is none.
pub fn read(payload: &[u8]) -> Option<Answered> {
    if payload.len() > MOST_OCTETS {
        return None;
    }
    let info: Info = serde_json::from_slice(payload).ok()?;
    // A service's id is a text that it chose; those of the libraries are letters and digits.
    let id = info.id.chars().take(64);
    let id = id.map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    (is_name(&info.name) && info.kind == "io.nats.micro.v1.info_response").then(|| Answered {
        name: info.name.clone(),
        id,
        version: excerpt(&info.version).chars().take(32).collect(),
        protocol: info.metadata.get(MARK).map(|version| match version.as_str() {
            Some(version) => excerpt(version),
            None => excerpt(&version.to_string()),
        }),
        info,
    })
}

impl Answered {
    /// What of what it says that it does it may do. What the configuration doesn't allow is left out, so that a plugin that can do more than before
    /// still serves the nodes that don't know of it; one that may do nothing is unfit.
    pub fn describe(&self, prefix: &str, allowed: &Allowed) -> Result<Descriptor, Unfit> {
        let (info, name) = (&self.info, &self.info.name);
        let metadata = Metadata(&info.metadata);
        if self.protocol.is_some() {
            metadata.are_texts()?;
        }
        self.speaks()?;
        let Some(version) = (info.version.len() <= MOST_VERSION)
            .then(|| Version::parse(&info.version).ok())
            .flatten()
        else {
            return unfit(
                "its version is none as semver has it",
                "give the service a version such as 1.0.0",
            );
        };
        let (mut hooks, mut offered, mut left_out) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let mut leave_out = |what: String, table: &str, word: &str, other: &str| {
            left_out.push(Unfit {
                reason: format!("{what}, which attach.plugins.{name}.{table} does not allow"),
                mend: format!("add \"{word}\" to attach.plugins.{name}.{table}, or take {other}"),
            });
        };
        for endpoint in &info.endpoints {
            let Some(hook) = Hook::of(&endpoint.name) else {
                continue;
            };
            let subject = subjects::hook(prefix, name, hook.name());
            let word = hook.name();
            let is_first = offered.insert(hook);
            if !allowed.hooks.contains(&hook) {
                if is_first {
                    leave_out(format!("it serves {word}"), "hooks", word, "the endpoint away");
                }
                continue;
            }
            if endpoint.subject != subject {
                let heard = excerpt(&endpoint.subject);
                return unfit(
                    format!("its endpoint {word} listens on {heard}; it must be {subject}"),
                    format!("give the endpoint {word} the subject {subject}"),
                );
            }
            if endpoint.queue_group.is_empty() {
                return unfit(
                    format!("its endpoint {word} is in no queue group: each instance would do all of the work"),
                    format!("give the endpoint {word} a queue group; q is what the libraries take by themselves"),
                );
            }
            hooks.insert(hook);
        }
        let named: BTreeSet<&str> = metadata.words("commands")?.collect();
        if offered.contains(&Hook::Command) == named.is_empty() {
            return unfit(
                "the endpoint `command` and the metadata's `commands` go together",
                "name what the endpoint serves in the metadata: `commands` = \"typing\"",
            );
        }
        let (commands, others): (BTreeSet<&str>, BTreeSet<&str>) = named
            .into_iter()
            .partition(|command| allowed.commands.contains(*command));
        if hooks.contains(&Hook::Command) {
            for command in others.into_iter().take(MOST_WISHES).map(excerpt) {
                let what = format!("it serves the command {command}");
                leave_out(what, "commands", &command, "it out of the metadata's commands");
            }
            if commands.is_empty() {
                hooks.remove(&Hook::Command);
            }
        }
        let (mut events, mut asked) = (BTreeSet::new(), BTreeSet::new());
        for word in metadata.words("events")? {
            let Some(happening) = Happening::of(word) else {
                let known = Happening::ALL.map(Happening::name).join(" ");
                let word = excerpt(word);
                return unfit(
                    format!("its metadata asks for the event {word:?}; there are: {known}"),
                    "name only those in the metadata's events",
                );
            };
            if allowed.events.contains(&happening) {
                events.insert(happening);
            } else if asked.insert(happening) {
                let what = format!("it asks for the event {word}");
                leave_out(what, "events", word, "it out of the metadata's events");
            }
        }
        if hooks.is_empty() && events.is_empty() {
            if let Some(first) = left_out.into_iter().next() {
                return Err(first);
            }
            return unfit(
                "it has no endpoint named as a hook, and asks for no events",
                format!("add an endpoint such as review on {prefix}.hook.{name}.review, or `events` to the metadata"),
            );
        }
        let on_failure = match metadata.value("on-failure")? {
            None => None,
            Some(said) => match OnFailure::of(said) {
                Some(on_failure) => Some(on_failure),
                None => {
                    let said = excerpt(said);
                    let reason = format!("its metadata's on-failure is {said:?}; say pass, reject or retry");
                    return unfit(reason, "say one of them, or leave it out");
                }
            },
        };
        Ok(Descriptor {
            id: self.id.clone(),
            version,
            description: excerpt(&info.description),
            hooks,
            order: metadata.number("order", 0, 1_000)?.map(|order| order as u16),
            deadline_ms: metadata.number("deadline-ms", 1, 60_000)?,
            on_failure,
            receivers: Pattern::list(metadata.value("receivers")?.unwrap_or_default()),
            types: Pattern::list(metadata.value("types")?.unwrap_or_default()),
            max_batch: metadata.number("max-batch", 1, 10_000)?.map(|batch| batch as usize),
            commands: commands.into_iter().map(str::to_owned).collect(),
            events,
            left_out,
            unknown: metadata.unknown(),
        })
    }

    fn speaks(&self) -> Result<(), Unfit> {
        match self.protocol.as_deref() {
            Some(version) if version == VERSION.to_string() => Ok(()),
            None => unfit(
                format!("its metadata has no {MARK:?}: \"{VERSION}\", so it is no plugin"),
                format!("add {MARK:?}: \"{VERSION}\" to the service's metadata"),
            ),
            Some(version) => unfit(
                format!("it speaks version {version:?} of the protocol; this server speaks {VERSION}"),
                format!("say {MARK:?}: \"{VERSION}\" in the service's metadata, and speak that; or update the server"),
            ),
        }
    }

    /// What the configuration would have to say, so that it may do what it offers.
    pub fn wishes(&self) -> String {
        let quoted = |words: BTreeSet<&str>| {
            let words: Vec<_> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
            words.join(", ")
        };
        let metadata = Metadata(&self.info.metadata);
        let words = |name: &str| metadata.text(name).unwrap_or_default().split_whitespace();
        let offered: BTreeSet<Hook> = {
            let endpoints = self.info.endpoints.iter();
            endpoints.filter_map(|endpoint| Hook::of(&endpoint.name)).collect()
        };
        // What belongs to a hook means nothing without it; and the hook `command` needs commands.
        let of_hook = |hook: Hook, name: &str| {
            words(name).filter({
                let offers = offered.contains(&hook);
                move |_| offers
            })
        };
        let is_plain = |word: &&str| !word.contains(['"', '\\']) && excerpt(word) == **word;
        let commands: BTreeSet<&str> = of_hook(Hook::Command, "commands")
            .filter(|word| is_name(word))
            .take(MOST_WISHES)
            .collect();
        let receivers = of_hook(Hook::Review, "receivers").filter(is_plain);
        let hooks = offered
            .iter()
            .filter(|hook| **hook != Hook::Command || !commands.is_empty());
        let lists = [
            ("hooks", hooks.map(|hook| hook.name()).collect()),
            ("receivers", receivers.take(MOST_WISHES).collect()),
            (
                "events",
                words("events").filter_map(Happening::of).map(Happening::name).collect(),
            ),
            ("commands", commands),
        ];
        let mut wishes = format!("[attach.plugins.{}]", self.name);
        for (list, words) in lists {
            let words: BTreeSet<&str> = words;
            if !words.is_empty() {
                wishes.push_str(&format!("\n{list} = [{}]", quoted(words)));
            }
        }
        wishes
    }
}
