//! The metadata of a plugin's service: its values by their keys, and the keys that nobody knows.

use std::collections::HashMap;

use serde_json::Value;

use super::descriptor::{Unfit, unfit};
use super::line::excerpt;
use super::protocol::MARK;

/// Octets of one value.
const MOST_VALUE: usize = 4_096;
/// Unknown keys that are told.
const MOST_UNKNOWN: usize = 16;

/// The keys of version 1.
const KEYS: [&str; 9] = [
    MARK,
    "order",
    "deadline-ms",
    "on-failure",
    "receivers",
    "types",
    "max-batch",
    "commands",
    "events",
];

pub struct Metadata<'a>(pub &'a HashMap<String, Value>);

impl<'a> Metadata<'a> {
    /// NATS has texts alone; some libraries send what else they were given.
    pub fn are_texts(&self) -> Result<(), Unfit> {
        let other = self.0.iter().filter(|(_, value)| !value.is_string());
        let Some((key, value)) = other.min_by_key(|(key, _)| *key) else {
            return Ok(());
        };
        let (key, value) = (excerpt(key), excerpt(&value.to_string()));
        unfit(
            format!("its metadata's {key} is {value}; the values of metadata are texts"),
            format!("say {key} as text, in quotes"),
        )
    }

    pub fn value(&self, name: &str) -> Result<Option<&'a str>, Unfit> {
        match self.text(name) {
            Some(value) if value.len() > MOST_VALUE => unfit(
                format!("its metadata's {name} has more than {MOST_VALUE} octets"),
                "say less",
            ),
            value => Ok(value),
        }
    }

    pub fn words(&self, name: &str) -> Result<impl Iterator<Item = &'a str> + use<'a>, Unfit> {
        Ok(self.value(name)?.unwrap_or_default().split_whitespace())
    }

    pub fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Unfit> {
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

    /// However long it is.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Keys that version 1 doesn't have, each with the one that was perhaps meant. They may be the plugin's own, or a library's.
    pub fn unknown(&self) -> Vec<String> {
        let keys = self.0.keys().map(String::as_str);
        let mut unknown: Vec<_> = keys
            .filter(|key| !KEYS.contains(key) && !key.starts_with("_nats."))
            .collect();
        unknown.sort_unstable();
        let told = unknown.into_iter().take(MOST_UNKNOWN).map(|key| match near(key) {
            Some(meant) => format!("{} (perhaps {meant}?)", excerpt(key)),
            None => excerpt(key),
        });
        told.collect()
    }
}

/// The key that this one is but for `_` in place of `-`, capitals, or one letter.
fn near(key: &str) -> Option<&'static str> {
    let key = key.replace('_', "-").to_ascii_lowercase();
    KEYS.into_iter().find(|known| is_near(&key, known))
}

/// Whether they are the same but for one letter: another one, one more or one less.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = |(a, b): &(&u8, &u8)| a == b;
    let begin = one.iter().zip(other).take_while(same).count();
    let (one, other) = (&one[begin..], &other[begin..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(same).count();
    one.len() - end <= 1 && other.len() - end <= 1
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_key_is_near_that_is_one_letter_away() {
        for (key, meant) in [
            ("on_failure", Some("on-failure")),
            ("onfailure", Some("on-failure")),
            ("On_Failure", Some("on-failure")),
            ("receiver", Some("receivers")),
            ("commandss", Some("commands")),
            ("typos", Some("types")),
            ("owner", None),
            ("", None),
        ] {
            assert_eq!(near(key), meant, "{key}");
        }
    }
}
