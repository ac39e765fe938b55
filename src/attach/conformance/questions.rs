//! What a plugin is asked: questions that a server may ask it, made from what it says of itself.

use serde_json::{Value, json};

use crate::attach::config;
use crate::attach::descriptor::Descriptor;
use crate::attach::protocol::{Hook, Pattern};
use crate::attach::schema;

/// A question's body, without `v` and `request`.
pub struct Sample {
    pub check: &'static str,
    pub body: Value,
    /// Whether the plugin may say that it can't: an answer has to make sense, but there need not be one.
    pub may_fail: bool,
}

impl Sample {
    pub fn of(check: &'static str, body: Value) -> Self {
        Self {
            check,
            body,
            may_fail: false,
        }
    }

    fn odd(check: &'static str, body: Value) -> Self {
        Self {
            may_fail: true,
            ..Self::of(check, body)
        }
    }
}

/// Whether it is a body of a question to this hook.
pub fn fits(hook: Hook, body: &Value) -> bool {
    let mut question = body.clone();
    let Some(fields) = question.as_object_mut() else {
        return false;
    };
    fields.insert("v".into(), json!(1));
    fields.insert("request".into(), json!("r"));
    schema::misfit(&format!("{}.request", hook.name()), &question).is_none()
}

/// The simplest question to a hook.
pub fn simple(plugin: &Descriptor, hook: Hook) -> Value {
    match hook {
        Hook::Review => json!({"notifications": [notification(plugin, 0, json!("Hello"))]}),
        Hook::Authenticate => json!({"token": "conformance-check", "connection": {"transport": "websocket"}}),
        Hook::Subscribe => json!({"user": "alice", "topic": "/topic/orders"}),
        Hook::Command => json!({
            "command": plugin.commands.first(),
            "user": "alice",
            "session": "conformance-check",
            "body": "Hello",
        }),
    }
}

/// All of them that a server may ask.
pub fn samples(plugin: &Descriptor, hook: Hook) -> Vec<Sample> {
    let mut samples = vec![Sample::of("answers", simple(plugin, hook))];
    let mut later = simple(plugin, hook);
    later["a_field_of_a_later_server"] = json!({"more": [1, null, "x"]});
    if let Some(notification) = later.pointer_mut("/notifications/0") {
        notification["a_field_of_a_later_server"] = json!(true);
    }
    samples.push(Sample::of("unknown-fields", later));
    match hook {
        Hook::Review => {
            samples.push(Sample::of("odd-batch", odd_batch(plugin)));
            let most = config::Hooks::default().max_batch;
            let size = plugin.max_batch.unwrap_or(most).min(most);
            let all: Vec<_> = (0..size)
                .map(|number| notification(plugin, number, json!("Hello")))
                .collect();
            samples.push(Sample::of("large-batch", json!({"notifications": all})));
        }
        Hook::Authenticate => {
            let connection =
                json!({"transport": "a-later-one", "origin": "https://example.org", "address": "2001:db8::7"});
            samples.push(Sample::of("no-token", json!({"token": "", "connection": connection})));
            let odd = "\u{0}\"\\\u{1f514}'; DROP TABLE users; --".repeat(100);
            samples.push(Sample::of("odd-token", json!({"token": odd, "connection": connection})));
        }
        Hook::Subscribe => {
            let odd = json!({"user": "o'neill \u{1f514} %2e*>", "topic": "/topic/\u{1f514}.*.>/../x"});
            samples.push(Sample::of("odd-names", odd));
        }
        Hook::Command => {
            let bodies = ["", "\u{0}\u{1f514}", "{\"a\":", &"x".repeat(8_192)].map(str::to_owned);
            let commands = plugin
                .commands
                .iter()
                .flat_map(|command| bodies.iter().map(move |body| (command, body)));
            samples.extend(commands.map(|(command, body)| {
                let body = json!({"command": command, "user": "o'neill \u{1f514}", "session": "s", "body": body, "content_type": "x/y"});
                Sample::odd("odd-body", body)
            }));
            let unknown = json!({"command": "no-such-command", "user": "alice", "session": "s", "body": ""});
            samples.push(Sample::odd("unknown-command", unknown));
        }
    }
    samples
}

/// Everything that a notification may be, as far as it is shown to this plugin.
fn odd_batch(plugin: &Descriptor) -> Value {
    let datas = [
        json!(null),
        json!(""),
        json!("\u{0}\u{1f514}\u{202e}\"\\"),
        json!([]),
        json!({"id": "x", "verdict": "pass", "a": {"b": {"c": [1, 2.5e300, -0.0, true]}}}),
        json!(u64::MAX),
        json!("x".repeat(32_768)),
    ];
    let mut all: Vec<_> = datas
        .into_iter()
        .enumerate()
        .map(|(number, data)| notification(plugin, number, data))
        .collect();
    all[1]["persist"] = json!(false);
    if let Some(id) = all[2].get_mut("id") {
        *id = json!("o'neill \u{1f514} .*>");
    }
    // Receivers that it takes all of are topics and everyone, too.
    if plugin.receivers.is_empty() {
        all[3]["to"] = json!({"topic": "/topic/\u{1f514}.*.>"});
        all[4]["to"] = json!({"everyone": true});
        all[5]["to"] = json!({"user": "o'neill \u{1f514} .*>"});
    }
    json!({"notifications": all})
}

fn notification(plugin: &Descriptor, number: usize, data: Value) -> Value {
    json!({
        "id": format!("conformance-{number}"),
        "type": named_by(&plugin.types, "STRING_MSG"),
        "to": {"user": named_by(&plugin.receivers, "alice")},
        "data": data,
        "persist": true,
        "created": 1_790_000_000_000_u64,
    })
}

/// A name that one of the patterns covers; any covers none but `else_name`.
fn named_by(patterns: &[Pattern], else_name: &str) -> String {
    match patterns.first() {
        None => else_name.to_owned(),
        Some(pattern) => pattern.to_string().replace('*', "conformance"),
    }
}
