//! The JSON Schema of every message of the protocol, as files that plugins' authors get from the program: `quick-notify plugins schema`, and
//! `GET /api/plugins/schema`.
//!
//! The files say what a plugin may rely on. The server reads answers with types of its own, for speed; tests hold the two together, and the
//! conformance check (`super::conformance`) holds a plugin against the files. `schema/README.md` says what version 1 promises.

use std::sync::LazyLock;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

use super::line::excerpt;

/// Where the files of this version are served, relative to each other as their `$ref`s are.
pub const PATH: &str = "/api/plugins/schema/v1";

macro_rules! schemas {
    ($($name:literal)*) => {
        /// Every schema: its name, and its text.
        pub const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("schema/", $name, ".json")))),*];
    };
}

schemas! {
    "metadata"
    "notification"
    "authenticate.request"
    "authenticate.reply"
    "review.request"
    "review.reply"
    "review.page.request"
    "review.page.reply"
    "subscribe.request"
    "subscribe.reply"
    "command.request"
    "command.reply"
    "event"
}

/// The text of one.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What there is, for people and programs: `GET /api/plugins/schema`.
pub fn index() -> Value {
    let all = ALL.iter().map(|(name, text)| {
        let schema = parsed(text);
        json!({"name": name, "title": schema["title"], "url": format!("{PATH}/{name}.json")})
    });
    json!({"v": super::protocol::VERSION, "schemas": all.collect::<Vec<_>>()})
}

/// What keeps `message` from being a message of that name, and where; `None`: it is one.
///
/// # Panics
/// When there is no such schema.
pub fn misfit(name: &str, message: &Value) -> Option<String> {
    let validator = VALIDATORS.iter().find(|(known, _)| *known == name);
    let (_, validator) = validator.unwrap_or_else(|| panic!("there is no schema {name}"));
    let error = validator.iter_errors(message).next()?;
    let place = error.instance_path().as_str().to_owned();
    let place = if place.is_empty() { "the message" } else { &*place };
    Some(format!("{place}: {}", excerpt(&error.to_string())))
}

static VALIDATORS: LazyLock<Vec<(&str, Validator)>> = LazyLock::new(|| {
    let notification = parsed(text("notification").expect("it is there"));
    let registry = Registry::new()
        .add(format!("{BASE}notification.json"), notification)
        .and_then(|registry| registry.prepare())
        .expect("the schema of a notification");
    let compiled = |text| {
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_base_uri(BASE);
        options.with_registry(&registry).build(&parsed(text))
    };
    ALL.iter()
        .map(|(name, text)| (*name, compiled(text).expect("the program's own schemas")))
        .collect()
});

/// Where their `$id`s are relative to within this program, which fetches nothing.
const BASE: &str = "json-schema:///";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the program's own files are JSON")
}
