//! Prometheus and Grafana: what is asked for is what there is.

use std::collections::BTreeSet;

use quick_notify::telemetry::metrics::{Kind, TABLE};
use serde_json::{Value, json};

use super::file::{Compose, mounts, names, root, text, words, yaml};

const DASHBOARDS: &str = "/var/lib/grafana/dashboards";

fn prometheus() -> Value {
    let compose = Compose::read();
    let arguments = words(&compose.service("prometheus")["command"]);
    let target = arguments
        .iter()
        .find_map(|word| word.strip_prefix("--config.file="))
        .expect("a file");
    yaml(&std::fs::read_to_string(compose.mounted("prometheus", target)).expect("text"))
}

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root().join("dashboards"))
        .expect("it is there")
        .flatten();
    let files = files
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"));
    let dashboards: Vec<_> = files
        .map(|name| {
            (
                name.clone(),
                serde_json::from_str(&text(&format!("dashboards/{name}"))).expect("JSON"),
            )
        })
        .collect();
    assert!(dashboards.iter().any(|(name, _)| name == "delivery.json"));
    dashboards
}

#[test]
fn prometheus_asks_every_node_and_the_load_balancer() {
    let file = prometheus();
    // What Prometheus knows of these tables, and this file uses: a misspelt key would stop it.
    assert_eq!(
        names(&file),
        BTreeSet::from(["global", "scrape_configs"].map(str::to_owned))
    );
    let mut targets = Vec::new();
    for job in file["scrape_configs"].as_array().expect("a list") {
        assert_eq!(
            names(job),
            BTreeSet::from(["job_name", "static_configs"].map(str::to_owned))
        );
        for group in job["static_configs"].as_array().expect("a list") {
            assert_eq!(names(group), BTreeSet::from(["targets".to_owned()]));
            targets.extend(
                words(&group["targets"])
                    .into_iter()
                    .map(|target| (job["job_name"].clone(), target)),
            );
        }
    }
    let compose = Compose::read();
    let listens = text("config/cluster.toml");
    assert!(listens.contains("[telemetry]\nlisten = \"0.0.0.0:9025\""));
    assert!(
        text("config/haproxy.cfg")
            .contains("    bind :8404\n    http-request use-service prometheus-exporter if { path /metrics }")
    );
    let nodes = compose
        .nodes()
        .into_iter()
        .map(|(name, _)| (json!("quick-notify"), format!("{name}:9025")));
    let expected: Vec<_> = nodes.chain([(json!("haproxy"), "haproxy:8404".to_owned())]).collect();
    assert_eq!(targets, expected);
}

#[test]
fn grafana_finds_prometheus_and_the_dashboards() {
    let compose = Compose::read();
    let mounted = mounts(compose.service("grafana"));
    let source = |target: &str| {
        mounted
            .iter()
            .find(|(_, to)| to == target)
            .unwrap_or_else(|| panic!("nothing at {target}"))
            .0
            .clone()
    };
    let provisioning = source("/etc/grafana/provisioning");
    let read = |file: &str| yaml(&text(&format!("{provisioning}/{file}")));
    let datasource = read("datasources/prometheus.yaml")["datasources"][0].clone();
    let prometheus = compose.service("prometheus");
    assert_eq!(datasource["url"], "http://prometheus:9090");
    assert!(prometheus["ports"][0].as_str().expect("a port").ends_with(":9090"));
    assert_eq!(
        datasource["jsonData"]["timeInterval"],
        self::prometheus()["global"]["scrape_interval"]
    );
    let provider = read("dashboards/quick-notify.yaml")["providers"][0].clone();
    assert_eq!(provider["options"]["path"], DASHBOARDS);
    assert_eq!(source(DASHBOARDS), "./dashboards");
    let home = &compose.environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    let home = home.strip_prefix(&format!("{DASHBOARDS}/")).expect("among them");
    assert!(dashboards().iter().any(|(name, _)| name == home), "{home}");
    for (name, dashboard) in dashboards() {
        assert!(dashboard["uid"].is_string() && dashboard["title"].is_string(), "{name}");
        walk(&dashboard, &mut |key, value| {
            if key == "datasource" {
                assert_eq!(
                    *value,
                    json!({"type": "prometheus", "uid": datasource["uid"]}),
                    "{name}"
                );
            }
        });
    }
}

/// Every query of every dashboard, by its dashboard.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        walk(&dashboard, &mut |key, value| {
            if matches!(key, "expr" | "definition") {
                queries.push((name.clone(), value.as_str().expect("a query").to_owned()));
            }
        });
    }
    queries
}

/// The names of this product's metrics in a query.
fn metrics_of(query: &str) -> Vec<&str> {
    query
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("quick_notify_"))
        .collect()
}

#[test]
fn dashboards_ask_for_metrics_that_there_are() {
    let mut asked = BTreeSet::new();
    for (dashboard, query) in queries() {
        for name in metrics_of(&query) {
            let metric = TABLE.iter().find(|metric| match metric.kind {
                Kind::Seconds => name.strip_suffix("_bucket") == Some(metric.name),
                _ => name == metric.name,
            });
            let metric = metric.unwrap_or_else(|| panic!("{dashboard}: there is no {name}: {query}"));
            // A counter is read as a rate or an increase, a gauge is not.
            let rated = query.contains("rate(") || query.contains("increase(");
            assert_eq!(rated, metric.kind != Kind::Gauge, "{dashboard}: {query}");
            asked.insert(metric.name.trim_start_matches("quick_notify_"));
        }
    }
    for name in [
        "accepted_total",
        "stored_total",
        "delivered_total",
        "acked_total",
        "accept_to_stored_seconds",
        "accept_to_delivered_seconds",
        "accept_to_acked_seconds",
        "sessions",
        "queue_pending",
        "record_errors_total",
        "bells_lost_total",
        "dead_letters_total",
        "resent_total",
        "given_up_total",
    ] {
        assert!(asked.contains(name), "no dashboard shows {name}");
    }
}

/// Grafana takes what overlaps, and shows one of the two.
#[test]
fn panels_stand_beside_each_other() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{name}: {}",
                panel["title"]
            );
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            assert!(at("x") + at("w") <= 24, "{name}: {}", panel["title"]);
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} covers another", panel["title"]);
            }
        }
        assert!(ids.len() > 10, "{name}");
    }
}

fn walk(value: &Value, see: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                see(key, value);
                walk(value, see);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| walk(value, see)),
        _ => {}
    }
}
