//! The shipped plugins, run for real as their READMEs say, beside a real server.

mod groups;
mod webhook;
mod webpush;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::servers::Nats;
use crate::harness::{eventually, within};

/// A plugin's process. Killed when dropped.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it beside `nats`, and waits until it says that it is attached.
    async fn start(mut command: Command, nats: &Nats) -> Self {
        let mut child = command
            .env("NATS_URL", nats.url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs what is missing"));
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut program = Self { child, lines };
        program.says("attached").await;
        program
    }

    /// Reads what it says up to a line that begins so; gives the line.
    async fn says(&mut self, beginning: &str) -> String {
        within(beginning, async {
            while let Some(line) = self.lines.next_line().await.expect("stdout is text") {
                if line.starts_with(beginning) {
                    return line;
                }
            }
            panic!("it ended before it said {beginning:?}");
        })
        .await
    }

    /// SIGTERM; it has to end well.
    async fn terminate(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill is there").success());
        let status = within("its end", self.child.wait()).await.expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Until nobody serves this plugin any more.
async fn is_gone(nats: &Nats, plugin: &str) {
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let subject = format!("$SRV.INFO.{plugin}");
    eventually("its end on NATS", async || {
        client.request(subject.clone(), "".into()).await.is_err()
    })
    .await;
}
