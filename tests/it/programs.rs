//! Runs a program of `tests/browser` against a server, and does what it asks for: kill the server, start it again, mint a token.
//! The lines that they speak are told in `tests/browser/story.mjs`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::harness::Server;

/// Longest life of a program; each of its waits has a deadline of its own, which is shorter.
const LIFETIME: Duration = Duration::from_secs(180);

const INSTALL: &str = "run tests/run, which installs what is missing";

/// The settings under which the stories are told: what is not confirmed comes again soon, so that nobody waits for it.
pub const SETTINGS: [(&str, &str); 2] = [("session.resend_first_ms", "1000"), ("session.resend_every_ms", "1000")];

/// How a program ended.
pub struct End {
    pub success: bool,
    /// What it said, line by line.
    pub lines: Vec<String>,
    pub errors: String,
}

impl End {
    /// It told its story to the end, and the server was killed in it.
    pub fn survived_a_kill(&self) {
        self.went_well();
        assert!(self.lines.iter().any(|line| line == "KILL"), "{self}");
    }

    pub fn went_well(&self) {
        assert!(
            self.success && self.lines.last().is_some_and(|line| line == "OK"),
            "{self}"
        );
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the program said:\n{}\n{}", self.lines.join("\n"), self.errors)
    }
}

/// A program for Node; `arguments` come behind the server's address.
pub async fn node(server: &mut Server, file: &str, arguments: &[&str]) -> End {
    let packages = browser().join("node_modules/.package-lock.json");
    assert!(packages.exists(), "tests/browser has no node_modules: {INSTALL}");
    assert!(found("node").await, "there is no node: {INSTALL}");
    let mut command = Command::new("node");
    command.arg(file);
    run(server, command, arguments).await
}

/// A program for Python, with the packages of `tests/browser/requirements.txt`.
pub async fn python(server: &mut Server, file: &str, arguments: &[&str]) -> End {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let check = Command::new(&python).args(["-c", "import stomp"]).output().await;
    assert!(
        check.is_ok_and(|check| check.status.success()),
        "target/venv has no stomp.py: {INSTALL}"
    );
    let mut command = Command::new(python);
    command.arg(file);
    run(server, command, arguments).await
}

/// Fails unless the browser is there.
pub async fn needs_chromium() {
    assert!(found("chromium").await, "there is no chromium: {INSTALL}");
}

fn browser() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Whether the machine has it.
pub async fn found(program: &str) -> bool {
    let looked = Command::new(program).arg("--version").output().await;
    looked.is_ok_and(|looked| looked.status.success())
}

/// Any program that speaks those lines; `arguments` come behind the server's address.
pub async fn run(server: &mut Server, mut command: Command, arguments: &[&str]) -> End {
    let mut child = command
        .arg(server.url())
        .args(arguments)
        .current_dir(browser())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let errors = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut lines = Vec::new();
    let ended = tokio::time::timeout(LIFETIME, converse(server, &mut child, &mut lines)).await;
    if ended.is_err() {
        let _ = child.kill().await;
    }
    let mut errors = errors.await.expect("stderr is read to its end");
    if ended.is_err() {
        errors.push_str(&format!("\nit did not end within {LIFETIME:?}"));
    }
    End {
        success: ended.unwrap_or(false),
        lines,
        errors,
    }
}

/// Answers what the program asks, to its end; says whether that was a good one.
async fn converse(server: &mut Server, child: &mut Child, said: &mut Vec<String>) -> bool {
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("stdout is text") {
        said.push(line.clone());
        match *line.split(' ').collect::<Vec<_>>() {
            ["KILL"] => {
                server.kill9().await;
                answer(&mut stdin, "KILLED").await;
            }
            ["DRAIN"] => {
                server.terminate().await;
                answer(&mut stdin, "DRAINED").await;
            }
            ["STOP"] => {
                server.signal("STOP");
                answer(&mut stdin, "STOPPED").await;
            }
            ["CONTINUE"] => {
                server.signal("CONT");
                answer(&mut stdin, "CONTINUED").await;
            }
            ["RESTART"] => {
                server.restart().await;
                answer(&mut stdin, "RESTARTED").await;
            }
            ["TOKEN", user, ttl] => answer(&mut stdin, &format!("TOKEN {}", token(server, user, ttl))).await,
            _ => {}
        }
    }
    child.wait().await.expect("it is our child").success()
}

async fn answer(stdin: &mut ChildStdin, line: &str) {
    // A program that has failed meanwhile says so itself.
    let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
}

/// A JWT that a server in dev mode takes: it is signed with the key in its data directory.
fn token(server: &Server, user: &str, ttl: &str) -> String {
    let data = format!("app.data={}", server.data().display());
    let output = Server::program(&["token", "--sub", user, "--ttl", ttl, "--set", &data]);
    assert!(
        output.status.success(),
        "token: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("a token is text")
        .trim()
        .to_owned()
}
