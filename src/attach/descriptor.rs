//! What an instance says of itself by `$SRV.INFO`, checked.
//!
//! In: the answer's bytes, the name that was asked for, and what the configuration allows. Out: a [`Descriptor`], or why the instance is refused.
//! Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_nats::service::endpoint;
use semver::Version;
use serde::Deserialize;

use super::config::{Allowed, is_name};
use super::line::excerpt;
use super::protocol::{Happening, Hook, MARK, OnFailure, Pattern, VERSION};
use crate::subjects;

/// Octets of an answer; a service that says more of itself is none of ours.
pub const MOST_OCTETS: usize = 65_536;
/// Octets of one value of the metadata.
const MOST_VALUE: usize = 4_096;

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

/// The answer, as libraries of other languages write it, too: what nobody said is absent in one of them and null in another.
#[derive(Debug, Deserialize)]
struct Info {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    id: String,
    version: String,
    description: Option<String>,
    metadata: Option<HashMap<String, String>>,
    endpoints: Option<Vec<endpoint::Info>>,
}

/// Reads an answer to `$SRV.INFO`; `None` where it is none.
pub fn read(payload: &[u8]) -> Option<Answered> {
    if payload.len() > MOST_OCTETS {
        return None;
    }
    let info: Info = serde_json::from_slice(payload).ok()?;
    // A service's id is a text that it chose.
    let id = excerpt(&info.id).chars().take(64).collect();
    (is_name(&info.name) && info.kind == "io.nats.micro.v1.info_response").then(|| Answered {
        name: info.name.clone(),
        id,
        version: excerpt(&info.version).chars().take(32).collect(),
        protocol: info
            .metadata
            .iter()
            .flatten()
            .find(|(key, _)| *key == MARK)
            .map(|(_, version)| excerpt(version)),
        info,
    })
}

impl Answered {
    /// Whether it may do what it says that it does; an error says what to mend, and where.
    pub fn describe(&self, prefix: &str, allowed: &Allowed) -> Result<Descriptor, String> {
        let info = &self.info;
        match self.protocol.as_deref() {
            None => {
                return Err(format!(
                    "its metadata has no {MARK:?}: \"{VERSION}\", so it is no plugin"
                ));
            }
            Some(version) if version != VERSION.to_string() => {
                return Err(format!(
                    "it speaks version {version:?} of the protocol; this server speaks {VERSION}"
                ));
            }
            Some(_) => {}
        }
        let version = Version::parse(&info.version)
            .map_err(|_| "its version is none as semver has it, such as 1.0.0".to_owned())?;
        let mut hooks = BTreeSet::new();
        for endpoint in info.endpoints.iter().flatten() {
            let Some(hook) = Hook::of(&endpoint.name) else {
                continue;
            };
            let subject = subjects::hook(prefix, &info.name, hook.name());
            if endpoint.subject != subject {
                let heard = excerpt(&endpoint.subject);
                return Err(format!(
                    "its endpoint {} listens on {heard}; it must be {subject}",
                    hook.name()
                ));
            }
            if endpoint.queue_group.is_empty() {
                let hook = hook.name();
                return Err(format!(
                    "its endpoint {hook} is in no queue group: each instance would do all of the work"
                ));
            }
            if !allowed.hooks.contains(&hook) {
                let (hook, name) = (hook.name(), &info.name);
                return Err(format!(
                    "it serves {hook}, which attach.plugins.{name}.hooks does not allow"
                ));
            }
            hooks.insert(hook);
        }
        let metadata = Metadata(
            info.metadata
                .iter()
                .flatten()
                .map(|(name, value)| (&**name, &**value))
                .collect(),
        );
        let commands: BTreeSet<String> = metadata.words("commands")?.map(str::to_owned).collect();
        if let Some(command) = commands.iter().find(|command| !allowed.commands.contains(*command)) {
            let (command, name) = (excerpt(command), &info.name);
            return Err(format!(
                "it serves the command {command}, which attach.plugins.{name}.commands does not allow"
            ));
        }
        if hooks.contains(&Hook::Command) == commands.is_empty() {
            return Err("the endpoint `command` and the metadata's `commands` go together".into());
        }
        let mut events = BTreeSet::new();
        for word in metadata.words("events")? {
            let happening = Happening::of(word).ok_or_else(|| {
                let known = Happening::ALL.map(Happening::name).join(" ");
                format!(
                    "its metadata asks for the event {:?}; there are: {known}",
                    excerpt(word)
                )
            })?;
            if !allowed.events.contains(&happening) {
                let name = &info.name;
                return Err(format!(
                    "it asks for the event {word}, which attach.plugins.{name}.events does not allow"
                ));
            }
            events.insert(happening);
        }
        if hooks.is_empty() && events.is_empty() {
            return Err("it has no endpoint named as a hook, and asks for no events".into());
        }
        let on_failure = metadata.value("on-failure")?.map(|said| {
            OnFailure::of(said)
                .ok_or_else(|| format!("its metadata's on-failure is {said:?}; say pass, reject or retry"))
        });
        Ok(Descriptor {
            id: self.id.clone(),
            version,
            description: excerpt(info.description.as_deref().unwrap_or_default()),
            hooks,
            order: metadata.number("order", 0, 1_000)?.map(|order| order as u16),
            deadline_ms: metadata.number("deadline-ms", 1, 60_000)?,
            on_failure: on_failure.transpose()?,
            receivers: Pattern::list(metadata.value("receivers")?.unwrap_or_default()),
            types: Pattern::list(metadata.value("types")?.unwrap_or_default()),
            max_batch: metadata.number("max-batch", 1, 10_000)?.map(|batch| batch as usize),
            commands,
            events,
        })
    }
}

struct Metadata<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Metadata<'a> {
    fn value(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(name) {
            Some(value) if value.len() > MOST_VALUE => {
                Err(format!("its metadata's {name} has more than {MOST_VALUE} octets"))
            }
            value => Ok(value.copied()),
        }
    }

    fn words(&self, name: &str) -> Result<impl Iterator<Item = &'a str> + use<'a>, String> {
        Ok(self.value(name)?.unwrap_or_default().split_whitespace())
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, String> {
        let Some(said) = self.value(name)? else {
            return Ok(None);
        };
        let number = said.parse().ok().filter(|number| (least..=most).contains(number));
        let wrong = || {
            let said = excerpt(said);
            format!("its metadata's {name} is {said:?}; it must be a number from {least} to {most}")
        };
        number.map(Some).ok_or_else(wrong)
    }
}
