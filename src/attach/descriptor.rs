//! What an instance says of itself by `$SRV.INFO`, checked.
//!
//! In: the answer's bytes, the name that was asked for, and what the configuration allows. Out: a [`Descriptor`], or why the instance is refused, and what to do about it.
//! Pure.

use std::collections::{BTreeSet, HashMap};

use semver::Version;
use serde::{Deserialize, Deserializer};

use super::config::{Allowed, is_name};
use super::line::excerpt;
use super::protocol::{Happening, Hook, MARK, OnFailure, Pattern, VERSION};
use crate::subjects;

/// Octets of an answer; a service that says more of itself is none of ours.
pub const MOST_OCTETS: usize = 65_536;
/// Octets of one value of the metadata.
const MOST_VALUE: usize = 4_096;
/// Octets of a version; build numbers included, nobody needs more.
const MOST_VERSION: usize = 64;
/// Commands of a stranger that are told.
const MOST_COMMANDS: usize = 32;

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
}

/// Why an instance may not attach as it is. Both are sentences, without their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub reason: String,
    /// What to do, and where.
    pub mend: String,
}

fn unfit<T>(reason: impl Into<String>, mend: impl Into<String>) -> Result<T, Unfit> {
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
    metadata: HashMap<String, String>,
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
        protocol: info.metadata.get(MARK).map(|version| excerpt(version)),
        info,
    })
}

impl Answered {
    /// Whether it may do what it says that it does.
    pub fn describe(&self, prefix: &str, allowed: &Allowed) -> Result<Descriptor, Unfit> {
        let (info, name) = (&self.info, &self.info.name);
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
        let mut hooks = BTreeSet::new();
        for endpoint in &info.endpoints {
            let Some(hook) = Hook::of(&endpoint.name) else {
                continue;
            };
            let subject = subjects::hook(prefix, name, hook.name());
            let word = hook.name();
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
            if !allowed.hooks.contains(&hook) {
                return unfit(
                    format!("it serves {word}, which attach.plugins.{name}.hooks does not allow"),
                    format!("add \"{word}\" to attach.plugins.{name}.hooks, or take the endpoint away"),
                );
            }
            hooks.insert(hook);
        }
        let metadata = Metadata(&info.metadata);
        let commands: BTreeSet<String> = metadata.words("commands")?.map(str::to_owned).collect();
        if let Some(command) = commands.iter().find(|command| !allowed.commands.contains(*command)) {
            let command = excerpt(command);
            return unfit(
                format!("it serves the command {command}, which attach.plugins.{name}.commands does not allow"),
                format!(
                    "add \"{command}\" to attach.plugins.{name}.commands, or take it out of the metadata's commands"
                ),
            );
        }
        if hooks.contains(&Hook::Command) == commands.is_empty() {
            return unfit(
                "the endpoint `command` and the metadata's `commands` go together",
                "name what the endpoint serves in the metadata: `commands` = \"typing\"",
            );
        }
        let mut events = BTreeSet::new();
        for word in metadata.words("events")? {
            let Some(happening) = Happening::of(word) else {
                let known = Happening::ALL.map(Happening::name).join(" ");
                let word = excerpt(word);
                return unfit(
                    format!("its metadata asks for the event {word:?}; there are: {known}"),
                    "name only those in the metadata's events",
                );
            };
            if !allowed.events.contains(&happening) {
                return unfit(
                    format!("it asks for the event {word}, which attach.plugins.{name}.events does not allow"),
                    format!("add \"{word}\" to attach.plugins.{name}.events, or take it out of the metadata's events"),
                );
            }
            events.insert(happening);
        }
        if hooks.is_empty() && events.is_empty() {
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
            commands,
            events,
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
        let words = |name: &str| {
            let words = self.info.metadata.get(name).map(|words| words.split_whitespace());
            words.into_iter().flatten()
        };
        let endpoints = self.info.endpoints.iter();
        let hooks = endpoints
            .filter_map(|endpoint| Hook::of(&endpoint.name))
            .map(Hook::name);
        let lists = [
            ("hooks", hooks.collect()),
            (
                "events",
                words("events").filter_map(Happening::of).map(Happening::name).collect(),
            ),
            (
                "commands",
                words("commands")
                    .filter(|word| is_name(word))
                    .take(MOST_COMMANDS)
                    .collect(),
            ),
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

struct Metadata<'a>(&'a HashMap<String, String>);

impl<'a> Metadata<'a> {
    fn value(&self, name: &str) -> Result<Option<&'a str>, Unfit> {
        match self.0.get(name) {
            Some(value) if value.len() > MOST_VALUE => unfit(
                format!("its metadata's {name} has more than {MOST_VALUE} octets"),
                "say less",
            ),
            value => Ok(value.map(|value| &**value)),
        }
    }

    fn words(&self, name: &str) -> Result<impl Iterator<Item = &'a str> + use<'a>, Unfit> {
        Ok(self.value(name)?.unwrap_or_default().split_whitespace())
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Unfit> {
        let Some(said) = self.value(name)? else {
            return Ok(None);
        };
        match said.parse().ok().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let said = excerpt(said);
                unfit(
                    format!("its metadata's {name} is {said:?}; it must be a number from {least} to {most}"),
                    "say such a number, as text, or leave it out",
                )
            }
        }
    }
}
