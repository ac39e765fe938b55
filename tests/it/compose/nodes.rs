//! The three nodes and `config/cluster.toml`: room, time, and the names of what they need.

use figment::Figment;
use figment::providers::{Format, Toml};
use quick_notify::config::Config;
use serde_json::Value;

use super::file::{Compose, root, seconds, text, words};

#[test]
fn a_node_has_time_to_drain_and_room_for_its_sessions() {
    let compose = Compose::read();
    let config = config();
    for (name, node) in compose.nodes() {
        let grace = seconds(&node["stop_grace_period"]) * 1_000;
        assert!(grace > config.app.drain_timeout_ms, "{name} is killed while it drains");
        let files = node["ulimits"]["nofile"].as_u64().expect("a limit") as usize;
        assert!(
            files > config.edge.max_connections + config.http.max_connections + 1_000,
            "{name}"
        );
        assert_eq!(node["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(node["read_only"], true, "{name}");
        assert_eq!(
            node["tmpfs"],
            serde_json::json!(["/var/lib/quick-notify"]),
            "{name}: where app.data is made"
        );
        assert_eq!(node["hostname"], **name, "it is what the logs call it");
    }
}

/// The file says what differs, each setting with its reason beside or above it, and nothing else.
#[test]
fn the_cluster_file_says_what_differs_and_why() {
    let said: Value = Figment::from(Toml::string(&text("config/cluster.toml")))
        .extract()
        .expect("TOML");
    let defaults = serde_json::to_value(Config::default()).expect("it can be written");
    fn same(path: &str, said: &Value, default: &Value) {
        match said {
            Value::Object(table) => table
                .iter()
                .for_each(|(name, value)| same(&format!("{path}.{name}"), value, &default[name])),
            _ => assert_ne!(said, default, "{path} says the default"),
        }
    }
    same("", &said, &defaults);

    let mut before = "";
    for line in text("config/cluster.toml")
        .lines()
        .map(|line| line.trim().to_owned())
        .collect::<Vec<_>>()
        .leak()
    {
        let secret = line.starts_with("secret_env = ");
        if line.contains(" = ") && !line.starts_with('#') && !secret {
            assert!(line.contains(" # ") || before.starts_with('#'), "{line}: why?");
        }
        before = line;
    }
}

/// The hosts and accounts that the file names are those of `compose.yaml`.
#[test]
fn a_node_finds_its_servers() {
    let compose = Compose::read();
    let said: Value = Figment::from(Toml::string(&text("config/cluster.toml")))
        .extract()
        .expect("TOML");
    let host = |url: &str| {
        url.split_once("://")
            .expect("a URL")
            .1
            .rsplit('@')
            .next()
            .expect("a host")
            .split(['/', ':'])
            .next()
            .expect("a host")
            .to_owned()
    };
    let nats: Vec<_> = words(&said["nats"]["servers"]).iter().map(|url| host(url)).collect();
    let all: Vec<_> = compose
        .services()
        .map(|(name, _)| name.clone())
        .filter(|name| name.starts_with("nats-"))
        .collect();
    assert_eq!(nats, all);
    assert_eq!(said["queue"]["jetstream"]["replicas"], all.len());
    let postgres = said["store"]["postgres"]["url"].as_str().expect("a URL");
    let environment = compose.environment("postgres");
    let (user, database) = (&environment["POSTGRES_USER"], &environment["POSTGRES_DB"]);
    assert_eq!(postgres, format!("postgres://{user}@postgres:5432/{database}"));
    assert_eq!(words(&said["redis"]["servers"]), ["redis://redis:6379"]);
    let monitors: Vec<_> = nats.iter().map(|name| format!("http://{name}:8222")).collect();
    assert_eq!(words(&said["queue"]["jetstream"]["monitoring"]), monitors);
    let needed: Vec<_> = nats
        .into_iter()
        .chain(["postgres".to_owned(), "redis".to_owned()])
        .collect();
    for (name, node) in compose.nodes() {
        let waits: Vec<_> = node["depends_on"]
            .as_object()
            .expect("a table")
            .keys()
            .cloned()
            .collect();
        assert_eq!(waits, needed, "{name} waits for what it needs");
    }
}

/// The configuration with what the cluster's file leaves at its default: sizes and times, whatever the adapters.
fn config() -> Config {
    let file = root().join("config/cluster.toml");
    let said: Value = Figment::from(Toml::file_exact(file)).extract().expect("TOML");
    for section in ["edge", "http", "session", "ingest"] {
        for name in said[section].as_object().into_iter().flat_map(|table| table.keys()) {
            assert!(
                ["nats", "keys"].contains(&name.as_str()),
                "{section}.{name}: this test takes the default for it"
            );
        }
    }
    assert_eq!(said["app"].as_object().expect("a table").len(), 1);
    Config::default()
}
