//! `quick-notify plugins`: attached plugins, for who runs a server and for who writes a plugin.

mod schema;
mod test;

use clap::{Args, Subcommand};

use super::Configuration;

#[derive(Debug, Args)]
pub struct PluginsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the JSON Schema of a message between the server and a plugin.
    Schema(schema::SchemaArgs),
    /// Ask a plugin all kinds of questions, and say whether it keeps to the protocol.
    Test(test::TestArgs),
}

pub fn plugins(said: &Configuration, args: &PluginsArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Schema(args) => schema::schema(said, args),
        Verb::Test(args) => test::test(said, args),
    }
}
