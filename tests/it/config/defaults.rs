//! `config/default.toml` says what the code does: every setting, with its default.

use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
use quick_notify::config::{self, Config};
use serde_json::{Map, Value};

#[test]
fn the_documented_defaults_are_those_of_the_code() {
    let documented = documented();
    let coded = leaves(&serde_json::to_value(Config::default()).expect("it can be written"));
    let missing: Vec<_> = coded.keys().filter(|path| !documented.contains_key(*path)).collect();
    let unknown: Vec<_> = documented.keys().filter(|path| !coded.contains_key(*path)).collect();
    assert!(missing.is_empty(), "config/default.toml doesn't say {missing:?}");
    assert!(
        unknown.is_empty(),
        "config/default.toml says what is no setting: {unknown:?}"
    );
    for (path, value) in &coded {
        assert_eq!(&documented[path], value, "{path} in config/default.toml");
    }
}

#[test]
fn the_documented_defaults_can_be_loaded() {
    let loaded = config::load(&[file()], &[]).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(
        serde_json::to_value(loaded).expect("it can be written"),
        serde_json::to_value(Config::default()).expect("it can be written")
    );
}

/// What has no default is there as an example, in a comment.
#[test]
fn settings_without_a_default_are_shown_in_comments() {
    let text = std::fs::read_to_string(file()).expect("config/default.toml is there");
    let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    for name in [
        "key_file",
        "signing_key_file",
        "[[auth.jwt.keys]]",
        "file =",
        "jwks =",
        "kid =",
        "algorithm =",
        "secret_env =",
        "secret_file",
        "schema =",
        "schema_file =",
    ] {
        assert!(
            comments.iter().any(|line| line.contains(name)),
            "no comment shows {name}"
        );
    }
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml")
}

fn documented() -> Map<String, Value> {
    let documented: Value = Figment::from(Toml::file_exact(file()))
        .extract()
        .expect("config/default.toml is TOML");
    leaves(&documented)
}

/// Every setting by its path; an empty table is a setting, and what has no value is none.
fn leaves(value: &Value) -> Map<String, Value> {
    fn walk(path: &str, value: &Value, into: &mut Map<String, Value>) {
        match value {
            Value::Object(table) if !table.values().all(Value::is_null) => {
                for (name, value) in table {
                    walk(&format!("{path}.{name}"), value, into);
                }
            }
            Value::Object(_) => drop(into.insert(path.to_owned(), Value::Object(Map::new()))),
            Value::Null => {}
            _ => drop(into.insert(path.to_owned(), value.clone())),
        }
    }
    let mut into = Map::new();
    walk("", value, &mut into);
    into
}
