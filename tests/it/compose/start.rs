//! The lines at the top of `compose.yaml`, which a newcomer pastes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::file::{Variable, settings, text, variables, without_comments};
use crate::harness::tempdir;

/// The commands among the comments, in their order.
pub fn commands() -> Vec<String> {
    let lines = text("compose.yaml");
    let commands = lines.lines().filter_map(|line| line.strip_prefix("#     "));
    commands.map(str::to_owned).collect()
}

#[test]
fn the_documented_line_fills_every_secret_with_a_value_of_its_own() {
    let make = || {
        let directory = tempdir();
        std::fs::write(directory.path().join(".env.example"), text(".env.example")).expect("written");
        let made = Command::new("sh")
            .args(["-c", &commands()[0]])
            .current_dir(&directory)
            .output()
            .expect("sh runs");
        assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
        let file = directory.path().join(".env");
        let mode = std::fs::metadata(&file).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads it");
        std::fs::read_to_string(file).expect("text")
    };
    let (example, one, two) = (settings(&text(".env.example")), settings(&make()), settings(&make()));
    assert_eq!(one.keys().collect::<Vec<_>>(), example.keys().collect::<Vec<_>>());
    let mut values = BTreeSet::new();
    for (name, value) in &example {
        if !value.is_empty() {
            assert_eq!(&one[name], value);
            continue;
        }
        for made in [&one[name], &two[name]] {
            assert!(
                made.len() >= 32 && made.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{name}={made}"
            );
            assert!(values.insert(made.clone()), "{name} is no value of its own");
        }
    }
    assert!(values.len() >= 10);
}

#[test]
fn the_example_names_every_variable_and_holds_no_secret() {
    let example = settings(&text(".env.example"));
    let named = variables(&without_comments(&text("compose.yaml")));
    assert_eq!(named.keys().collect::<Vec<_>>(), example.keys().collect::<Vec<_>>());
    for (name, hows) in named {
        let said = match example[&name].as_str() {
            "" => Variable::Required,
            value => Variable::Default(value.to_owned()),
        };
        assert_eq!(hows, BTreeSet::from([said]), "{name}: compose.yaml, and .env.example");
    }
}

/// A password that stands in the file is everybody's.
#[test]
fn what_sounds_like_a_secret_comes_from_a_required_variable() {
    let mut seen = 0;
    for line in without_comments(&text("compose.yaml")).lines() {
        let Some((name, value)) = line.trim().split_once(": ") else {
            continue;
        };
        let secret = ["PASSWORD", "SECRET", "KEY", "TOKEN"]
            .iter()
            .any(|word| name.contains(word));
        if secret && name == name.to_uppercase() && !name.ends_with("_FILE") {
            assert!(
                value.trim_matches(['\'', '"']).starts_with("${") && value.contains(":?"),
                "{line}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}
