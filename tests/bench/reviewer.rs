//! A plugin that lets everything pass, as a process of its own: this program again, told to be one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use async_nats::service::ServiceExt;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

/// What the nodes are told.
pub const SETTINGS: [&str; 2] = [
    "attach.enabled=true",
    r#"attach.plugins.reviewer={hooks=["review"],required=true,on_failure="retry"}"#,
];

const READY: &str = "READY";

pub struct Reviewer(Child);

impl Reviewer {
    /// Returns when it listens.
    pub fn start(nats: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--reviewer", nats])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("it was piped")?;
        let reviewer = Self(child);
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == READY, "the plugin did not start");
        Ok(reviewer)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Reviewer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Deserialize)]
struct Question<'a> {
    request: &'a str,
}

/// Is the plugin, until it is killed.
pub fn be(nats: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = async_nats::connect(nats).await?;
        let failed = |error: async_nats::Error| anyhow::anyhow!(error);
        let service = client
            .service_builder()
            .metadata([("quick-notify".to_owned(), "1".to_owned())].into())
            .start("reviewer", "1.0.0")
            .await
            .map_err(failed)?;
        let endpoint = service.endpoint_builder().name("review");
        let mut endpoint = endpoint.add("notify.hook.reviewer.review").await.map_err(failed)?;
        client.flush().await?;
        println!("{READY}");
        while let Some(request) = endpoint.next().await {
            let question: Question = serde_json::from_slice(&request.message.payload)?;
            let answer = json!({"v": 1, "request": question.request, "verdicts": [], "others": "pass"});
            request.respond(Ok(serde_json::to_vec(&answer)?.into())).await?;
        }
        Ok(())
    })
}
