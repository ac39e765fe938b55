//! *groups*: one notification becomes one for each member.

use tokio::process::Command;

use super::super::conformance::check;
use super::{Program, file, is_gone};
use crate::harness::servers::Nats;

fn python(groups: &std::path::Path) -> Command {
    let mut command = Command::new(file("target/venv/bin/python"));
    command.arg(file("examples/plugins/groups/groups.py")).arg(groups);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_to_the_protocol_and_ends_cleanly() {
    let nats = Nats::start().await;
    let plugin = Program::start(python(&file("examples/plugins/groups/groups.toml")), &nats).await;
    check(&nats, &["groups"]).await.went_well();
    plugin.terminate().await;
    is_gone(&nats, "groups").await;
}
