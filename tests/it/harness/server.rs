//! A server process with a data directory of its own. Killed when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::adapters::Backing;
use super::within;

pub struct Server {
    child: Child,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    address: String,
    metrics: Option<String>,
    data: TempDir,
    backing: Option<Backing>,
    http: reqwest::Client,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text))
    }

    /// `field: reason` of a refusal, for comparing whole sentences.
    pub fn refusal(&self) -> String {
        let error = &self.json()["error"];
        format!(
            "{}: {}",
            error["field"].as_str().unwrap_or("-"),
            error["reason"].as_str().unwrap_or("-")
        )
    }
}

impl Server {
    /// A server with the defaults of `cargo run`, on free ports.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with settings, such as `("session.window", "2")`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::launch(settings, &[]).await
    }

    /// The same with environment variables.
    pub async fn launch(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        Self::on(tempdir(), settings, environment).await
    }

    /// The same on a data directory that exists.
    pub async fn on(data: TempDir, settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        Self::wrapped(data, settings, environment, &[]).await
    }

    /// The same with `wrapper` before the program's name, which has to become that program by exec.
    pub async fn wrapped(
        data: TempDir,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Self {
        let backing = Backing::of_this_run().await;
        Self::build(("127.0.0.1:0", data, backing), settings, environment, wrapper).await
    }

    /// A server with settings whose story is about the files of the adapters that it has alone.
    pub async fn alone(settings: &[(&str, &str)]) -> Self {
        Self::build(("127.0.0.1:0", tempdir(), None), settings, &[], &[]).await
    }

    /// A node of a cluster, whose settings say everything.
    pub async fn at(listen: &str, data: TempDir, settings: &[(&str, &str)]) -> Self {
        Self::build((listen, data, None), settings, &[], &[]).await
    }

    async fn build(
        (listen, data, backing): (&str, TempDir, Option<Backing>),
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Self {
        let beneath = backing.as_ref().map(Backing::settings).unwrap_or_default();
        let settings: Vec<(String, String)> = [beneath, &owned_pairs(settings)].concat();
        let environment: Vec<(String, String)> = owned_pairs(environment);
        let started = spawn(data.path(), listen, &settings, &environment, wrapper);
        let Started {
            child,
            address,
            metrics,
        } = started.unwrap_or_else(|log| panic!("{log}"));
        Self {
            wrapper: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            child,
            settings,
            environment,
            address,
            metrics,
            data,
            backing,
            http: reqwest::Client::new(),
        }
    }

    /// What it was told of a setting; the last word counts.
    pub fn setting(&self, path: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|(name, _)| name == path);
        found.map(|(_, value)| &**value)
    }

    /// From the next start on.
    pub fn set(&mut self, path: &str, value: &str) {
        self.settings.push((path.to_owned(), value.to_owned()));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ws(&self) -> String {
        format!("ws://{}/stomp-ws", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where `/metrics` is served.
    pub fn metrics_address(&self) -> &str {
        self.metrics.as_ref().expect("metrics are on")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Whether it stands on the adapters that it has alone.
    pub fn is_alone(&self) -> bool {
        self.backing.is_none()
    }

    /// The URL of its record in a database server; `None`: it is a file in its data.
    pub fn record(&self) -> Option<&str> {
        self.backing.as_ref().map(Backing::record)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default()
    }

    /// SIGKILL: no word of farewell.
    pub async fn kill9(&mut self) {
        self.child.kill().expect("the server runs");
        self.wait().await;
    }

    /// SIGTERM, and the exit code at the end of the drain.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait().await
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(done.expect("kill is there").success(), "kill -{name}");
    }

    /// Starts again: the same data, the same address.
    pub async fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|log| panic!("{log}"));
    }

    /// The same, as often as it takes: what stands behind it may be coming back, too.
    pub async fn restart_at_last(&mut self) {
        within("a start", async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
            loop {
                tick.tick().await;
                if self.try_restart().is_ok() {
                    return;
                }
            }
        })
        .await;
    }

    fn try_restart(&mut self) -> Result<(), String> {
        let wrapper: Vec<_> = self.wrapper.iter().map(String::as_str).collect();
        let again = spawn(
            self.data.path(),
            &self.address,
            &self.settings,
            &self.environment,
            &wrapper,
        )?;
        (self.child, self.address, self.metrics) = (again.child, again.address, again.metrics);
        Ok(())
    }

    pub async fn wait(&mut self) -> Option<i32> {
        within("the end of the server", async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
            loop {
                tick.tick().await;
                if let Some(status) = self.child.try_wait().expect("it is our child") {
                    return status.code();
                }
            }
        })
        .await
    }

    /// Publishes and expects a receipt.
    pub async fn publish(&self, draft: Value) -> Value {
        let answer = self.post("/api/notify", &[], draft.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()
    }

    /// A text for one user; answers with its id.
    pub async fn notify(&self, receiver: &str, text: &str) -> String {
        let receipt = self.publish(json!({"receiver": receiver, "data": text})).await;
        receipt["id"].as_str().expect("a receipt has an id").to_owned()
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.request(Method::POST, path, headers, body).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request(Method::GET, path, headers, "").await
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url())).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        within("an answer", answer(request))
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()))
    }

    /// The value of a metric, all its labels added up; 0 when it isn't there.
    pub async fn metric(&self, name: &str) -> f64 {
        let address = self.metrics.as_ref().expect("metrics are on");
        let text = within("metrics", answer(self.http.get(format!("http://{address}/metrics")))).await;
        let text = text.expect("metrics are served").text;
        metric_of(&text, name)
    }

    /// The same where the server may be away.
    pub async fn metric_if_up(&self, name: &str) -> Option<f64> {
        let request = self.http.get(format!("http://{}/metrics", self.metrics.as_ref()?));
        let answered = tokio::time::timeout(std::time::Duration::from_millis(500), answer(request)).await;
        Some(metric_of(&answered.ok()?.ok()?.text, name))
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let address = self.metrics.as_ref().expect("metrics are on");
        answer(self.http.get(format!("http://{address}/metrics")))
            .await
            .expect("metrics are served")
            .text
    }

    /// The program with arguments, to its end.
    pub fn program(arguments: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_quick-notify"))
            .args(arguments)
            .output()
            .expect("the program starts")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

fn owned_pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
        .collect()
}

fn metric_of(text: &str, name: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.split_once([' ', '{']).filter(|(found, _)| *found == name))
        .filter_map(|(_, rest)| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await?,
    })
}

/// A directory on the disk that the project is on: a memory file system would sync in no time.
pub fn tempdir() -> TempDir {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    TempDir::new_in(target).expect("a temporary directory")
}

/// A process that greeted.
pub struct Started {
    child: Child,
    address: String,
    metrics: Option<String>,
}

/// Starts the process and reads from its greeting where it listens. `wrapper` is put before the program's name. An
/// error is its log.
pub fn spawn(
    data: &Path,
    listen: &str,
    settings: &[(String, String)],
    environment: &[(String, String)],
    wrapper: &[&str],
) -> Result<Started, String> {
    // Another build of it, where one that is meant to be fast is to be measured.
    let program = std::env::var("TEST_SERVER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_quick-notify").to_owned());
    let mut command = match wrapper {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.join("server.log"))
        .expect("the log can be written");
    command.args(["--set", "telemetry.listen=127.0.0.1:0"]);
    command.arg("--set").arg(format!("app.listen={listen}"));
    command.arg("--set").arg(format!("app.data={}", data.display()));
    for (path, value) in settings {
        command.arg("--set").arg(format!("{path}={value}"));
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (mut address, mut metrics) = (None, None);
    let mut line = String::new();
    // The greeting ends with the command to paste.
    while !line.starts_with("  curl") {
        line.clear();
        if lines.read_line(&mut line).expect("stdout is text") == 0 {
            let log = std::fs::read_to_string(data.join("server.log")).unwrap_or_default();
            let _ = child.wait();
            return Err(format!("the server ended at its start:\n{log}"));
        }
        let word = |prefix: &str| {
            line.trim()
                .strip_prefix(prefix)
                .map(|rest| rest.trim().trim_start_matches("http://").to_owned())
        };
        address = address.or_else(|| word("page").map(|page| page.trim_end_matches('/').to_owned()));
        metrics = metrics.or_else(|| word("metrics").map(|page| page.trim_end_matches("/metrics").to_owned()));
    }
    // Whatever else it prints must not block it.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    Ok(Started {
        child,
        address: address.expect("the greeting names the page"),
        metrics: metrics.filter(|metrics| metrics != "off"),
    })
}
