//! NATS with JetStream, whose streams are on disk: one server, or a cluster of three.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::super::within;
use super::process::{Data, Process, Recipe, free_port, program};

pub struct Nats(Process);

impl Nats {
    /// With the server's default of syncing every two minutes: a killed process loses nothing of that, the kernel has it.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With lines of configuration of its own, such as `max_payload: 64KB`, or a whole `authorization { … }`.
    pub async fn with(lines: &str) -> Self {
        let data = data(lines);
        Self(Process::start(recipe(Vec::new()), data).await)
    }

    /// The one server of this test process, which syncs always; its users keep apart by their prefixes.
    pub async fn shared() -> &'static SharedNats {
        static SERVER: OnceCell<SharedNats> = OnceCell::const_new();
        let start = || async {
            let monitor = free_port();
            let lines = format!("http: \"127.0.0.1:{monitor}\"\njetstream {{ sync_interval: always }}");
            let data = filled(Data::of_the_run("nats"), &lines);
            SharedNats {
                nats: Self(Process::start(recipe(Vec::new()), data).await),
                monitor: format!("http://127.0.0.1:{monitor}"),
            }
        };
        SERVER.get_or_init(start).await
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }
}

/// A server for tests that leave it alone.
pub struct SharedNats {
    pub nats: Nats,
    /// Where it tells of itself.
    pub monitor: String,
}

/// Three servers that replicate.
pub struct NatsCluster {
    pub servers: Vec<Nats>,
    monitors: Vec<u16>,
}

impl NatsCluster {
    pub async fn start() -> Self {
        Self::with("").await
    }

    pub async fn with(lines: &str) -> Self {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let monitors: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let all = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect::<Vec<_>>()
            .join(",");
        let servers = (0..3).map(|number| {
            let arguments = [
                ("--name", format!("n{number}")),
                ("--cluster_name", "test".to_owned()),
                ("--cluster", format!("nats://127.0.0.1:{}", routes[number])),
                ("--routes", all.clone()),
                ("--http_port", monitors[number].to_string()),
            ];
            let extra = arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                // Clients keep to the addresses that they were given: a test may hold the line to them.
                .chain(["--no_advertise=true".to_owned()])
                .collect();
            Nats(Process::launch(recipe(extra), data(lines), free_port()))
        });
        let mut cluster = Self {
            servers: servers.collect(),
            monitors,
        };
        for server in &mut cluster.servers {
            server.ready().await;
        }
        cluster.settled().await;
        cluster
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Nats::url).collect()
    }

    /// Waits until all three know who leads, and the leader has both others beside it.
    pub async fn settled(&self) {
        let http = reqwest::Client::new();
        within("an agreement of the three NATS servers", async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let metas = self.monitors.iter().map(|port| meta(&http, *port));
                let metas = futures_util::future::join_all(metas).await;
                let leaders: Vec<_> = metas
                    .iter()
                    .map(|meta| meta["leader"].as_str().unwrap_or_default())
                    .collect();
                let agreed = !leaders[0].is_empty() && leaders.iter().all(|leader| *leader == leaders[0]);
                if agreed && metas.iter().any(has_both) {
                    return;
                }
            }
        })
        .await;
    }
}

/// What a server says of the group that keeps the streams' whereabouts.
async fn meta(http: &reqwest::Client, port: u16) -> Value {
    let request = http
        .get(format!("http://127.0.0.1:{port}/jsz"))
        .timeout(Duration::from_secs(1));
    let answer: Option<Value> = async { request.send().await.ok()?.json().await.ok() }.await;
    answer.unwrap_or_default()["meta_cluster"].take()
}

/// Only the leader tells of replicas.
fn has_both(meta: &Value) -> bool {
    let current = |replica: &&Value| replica["current"] == true && replica["offline"] != true;
    meta["replicas"]
        .as_array()
        .is_some_and(|replicas| replicas.iter().filter(current).count() == 2)
}

fn data(lines: &str) -> Data {
    filled(Data::fresh(), lines)
}

fn filled(data: Data, lines: &str) -> Data {
    std::fs::create_dir(data.store()).expect("a directory");
    std::fs::write(data.path.join("nats.conf"), format!("logtime: true\n{lines}\n")).expect("a file");
    data
}

fn recipe(extra: Vec<String>) -> Recipe {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin");
    Recipe {
        name: "nats-server",
        program: program("nats-server", "TEST_NATS_SERVER", &[venv]),
        arguments: Box::new(move |store, port| {
            let (store, port) = (store.display().to_string(), port.to_string());
            let fixed = [
                "--config",
                "../nats.conf",
                "--addr",
                "127.0.0.1",
                "--port",
                &port,
                "--jetstream",
                "--store_dir",
                &store,
            ];
            fixed
                .iter()
                .map(|word| (*word).to_owned())
                .chain(extra.clone())
                .collect()
        }),
        account: None,
        greeting: (b"", |answer| answer.starts_with(b"INFO ")),
    }
}

impl Deref for Nats {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Nats {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
