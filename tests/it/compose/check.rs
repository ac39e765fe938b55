//! The program checks `config/cluster.toml` with exactly what each service of `compose.yaml` gives it.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use super::file::{Compose, words};
use super::start::commands;
use crate::harness::tempdir;

const MOUNTED: &str = "/etc/quick-notify/cluster.toml";

/// `quick-notify` in an environment that has nothing else in it.
fn run(arguments: &[String], environment: &BTreeMap<String, String>) -> (bool, String) {
    let compose = Compose::read();
    let file = compose.mounted("node-1", MOUNTED).display().to_string();
    let arguments = arguments.iter().map(|word| if word == MOUNTED { &file } else { word });
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_quick-notify"))
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(tempdir().path())
        .output()
        .expect("the program starts");
    (
        status.success(),
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
    )
}

/// What a node is started with, only that it checks.
fn check(compose: &Compose, node: &str) -> Vec<String> {
    let mut words = words(&compose.service(node)["command"]);
    assert_eq!(words.pop().as_deref(), Some("serve"));
    words.push("check".into());
    words
}

#[test]
fn each_node_starts_with_a_right_configuration() {
    let compose = Compose::read();
    for (name, _) in compose.nodes() {
        let (right, said) = run(&check(&compose, name), &compose.environment(name));
        assert!(right, "{name}: {said}");
        assert_eq!(
            said, "The configuration is right: 0.0.0.0:2025 with JWT, data in data.\n",
            "{name}"
        );
    }
}

#[test]
fn a_node_is_given_no_variable_that_it_does_not_need() {
    let compose = Compose::read();
    let whole = compose.environment("node-1");
    assert!(whole.len() >= 4);
    for name in whole.keys() {
        let mut environment = whole.clone();
        environment.remove(name);
        let (right, said) = run(&check(&compose, "node-1"), &environment);
        assert!(!right && said.contains(name), "without {name}: {said}");
    }
}

#[test]
fn the_documented_command_makes_a_token() {
    let compose = Compose::read();
    let line = commands()
        .into_iter()
        .find(|line| line.contains(" token "))
        .expect("it is documented");
    let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    assert_eq!(words[..5], ["docker", "compose", "exec", "node-1", "quick-notify"]);
    let (made, said) = run(&words[5..], &compose.environment("node-1"));
    assert!(made && said.trim().split('.').count() == 3, "{said}");
}
