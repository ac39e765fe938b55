//! The README's story, as it stands there: its plugin in Python, its line for the server, what is sent to a group, and who gets it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::plugin::attached;
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, tempdir};

/// What stands between these lines of the README.
fn block<'a>(readme: &'a str, from: &str, to: &str) -> &'a str {
    let (_, behind) = readme
        .split_once(from)
        .unwrap_or_else(|| panic!("the README has no {from:?}"));
    behind.split_once(to).expect("a block ends").0
}

#[test]
fn the_readme_installs_what_the_tests_do() {
    let readme = include_str!("../../../README.md");
    let tested = [
        include_str!("../harness/requirements.txt"),
        include_str!("../../../examples/requirements.txt"),
    ];
    for package in tested.iter().flat_map(|list| list.split_whitespace()) {
        assert!(readme.contains(package), "the README doesn't install {package}");
    }
}

#[tokio::test]
async fn a_group_is_routed_by_the_python_of_the_readme() {
    let readme = include_str!("../../../README.md");
    let nats = Nats::start().await;
    let folder = tempdir();
    let python = block(readme, "\n```python\nimport asyncio, json, nats", "\n```\n");
    let python = format!("import asyncio, json, nats{python}");
    // Only the address is another one: the README's server is at the usual port.
    let at = python.replace("nats.connect()", &format!("nats.connect({:?})", nats.url()));
    assert_ne!(at, python, "it connects");
    let file = folder.path().join("groups.py");
    std::fs::write(&file, at).expect("it can be written");

    let line = readme
        .lines()
        .find(|line| line.starts_with("quick-notify --set attach.enabled=true"));
    let words = line.expect("the server's line").split(" --set ").skip(1);
    let said: Vec<(&str, &str)> = words
        .map(|word| word.trim_end_matches(" &").trim_matches('\''))
        .map(|word| word.split_once('=').expect("PATH=VALUE"))
        .collect();
    let near = attached(&nats);
    let near = near.iter().map(|(path, value)| (&**path, &**value));
    let server = Server::alone(&said.into_iter().chain(near).collect::<Vec<_>>()).await;

    let _plugin = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python"))
        .arg(&file)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    server.sees("groups", "attached").await;
    let mut members = [
        Tab::listen(&server, "test1", None).await,
        Tab::listen(&server, "test2", None).await,
    ];
    let text = block(readme, "quick-notify publish --to group:ops \"", "\"\n");
    let published = Server::program(&["publish", "--to", "group:ops", text, "--url", &server.url()]);
    assert!(
        published.status.success(),
        "{}",
        String::from_utf8_lossy(&published.stderr)
    );
    let receipt: Value = serde_json::from_slice(&published.stdout).expect("a receipt");
    for member in &mut members {
        let delivery = member.delivery().await;
        assert_eq!(delivery.data(), text);
        assert_ne!(delivery.id, receipt["id"], "each has a copy of its own");
    }
    let tried = Server::program(&["plugins", "test", "groups", "--nats", &nats.url()]);
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stdout));
    let listed = Server::program(&["plugins", "list", "--url", &server.url()]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("groups") && listed.contains("attached"), "{listed}");
}
