//! `compose.yaml` and what it mounts. No container runs here: the file is held against the Compose Specification, everything that it names
//! against what there is, and each configuration is given to the very program that it is for.

mod balancer;
mod check;
mod file;
mod image;
mod nodes;
mod servers;
mod start;
mod sticky;
mod watching;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use file::{Compose, names, root, venv};

#[test]
fn the_file_fits_the_compose_specification() {
    let checked = Command::new(venv("check-jsonschema"))
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(root().join("compose.yaml"))
        .output()
        .expect("check-jsonschema runs");
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{said}");
}

/// What a service leans on is declared, and what is declared is leaned on.
#[test]
fn everything_that_a_service_refers_to_is_declared() {
    let compose = Compose::read();
    let declared = |kind: &str| -> BTreeSet<String> { names(&compose.whole[kind]) };
    let mut used: [BTreeSet<String>; 3] = Default::default();
    for (name, service) in compose.services() {
        for config in service["configs"].as_array().into_iter().flatten() {
            used[0].insert(config["source"].as_str().expect("a source").to_owned());
            assert!(
                config["target"].as_str().is_some_and(|target| target.starts_with('/')),
                "{name}"
            );
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            used[1].insert(secret.as_str().expect("a name").to_owned());
        }
        for (source, _) in file::mounts(service) {
            if !source.starts_with("./") {
                used[2].insert(source);
            }
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name} on {other}");
            assert!(
                compose.is_probed(other),
                "{name} waits for the health of {other}, which has no health check"
            );
        }
        assert!(compose.is_probed(name), "{name} has no health check");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["logging"]["driver"], "local", "{name}: logs without a bound");
    }
    let declared = [declared("configs"), declared("secrets"), declared("volumes")];
    assert_eq!(used, declared, "configs, secrets, volumes: used and declared");
}

#[test]
fn every_file_that_it_mounts_is_in_the_repository() {
    let compose = Compose::read();
    let mut files = Vec::new();
    for config in compose.whole["configs"].as_object().expect("configs").values() {
        files.push(config["file"].as_str().expect("a file").to_owned());
    }
    for (_, service) in compose.services() {
        files.extend(
            file::mounts(service)
                .into_iter()
                .map(|(source, _)| source)
                .filter(|source| source.starts_with("./")),
        );
    }
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        assert!(root().join(&file).exists(), "{file} is not there");
    }
}

/// Only the load balancer is reached from other machines.
#[test]
fn nothing_but_the_load_balancer_is_published_to_everybody() {
    let compose = Compose::read();
    let public: Vec<_> = compose
        .services()
        .flat_map(|(name, service)| {
            service["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |port| (name, port))
        })
        .filter(|(_, port)| !port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")))
        .map(|(name, port): (&String, &Value)| (name.as_str(), port.as_str().expect("a port")))
        .collect();
    assert_eq!(public, [("haproxy", "2025:2025")]);
}
