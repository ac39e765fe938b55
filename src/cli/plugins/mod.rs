//! `quick-notify plugins`: attached plugins, for who runs a server and for who writes a plugin.

mod ask;
mod decide;
mod inspect;
mod list;
mod schema;
mod test;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::Configuration;

#[derive(Debug, Args)]
pub struct PluginsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List who may attach and who is attached, as the server that is asked sees it.
    List(list::ListArgs),
    /// Print everything about one plugin: its instances, its hooks, and what became of the questions to them.
    Inspect(inspect::InspectArgs),
    /// Ask a plugin nothing any more, on all nodes, until it is enabled again. Outlives restarts.
    Disable(decide::DecideArgs),
    /// Ask a plugin again that was disabled.
    Enable(decide::DecideArgs),
    /// Print the JSON Schema of a message between the server and a plugin.
    Schema(schema::SchemaArgs),
    /// Ask a plugin all kinds of questions, and say whether it keeps to the protocol.
    Test(test::TestArgs),
}

pub fn plugins(said: &Configuration, args: &PluginsArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Schema(args) => schema::schema(said, args),
        Verb::Test(args) => test::test(said, args),
        _ if !said.is_empty() => {
            bail!("list, inspect, disable and enable take no configuration: which server to ask is said with --url URL")
        }
        Verb::List(args) => list::list(args),
        Verb::Inspect(args) => inspect::inspect(args),
        Verb::Disable(args) => decide::disable(args),
        Verb::Enable(args) => decide::enable(args),
    }
}
