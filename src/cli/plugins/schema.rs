//! `quick-notify plugins schema`: the protocol, from the program itself. Asks nobody.

use std::io::Write;

use anyhow::bail;
use clap::Args;

use super::Configuration;
use crate::attach::schema;

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which; without it, the names of all.
    name: Option<String>,
}

pub fn schema(said: &Configuration, args: &SchemaArgs) -> anyhow::Result<()> {
    if !said.is_empty() {
        bail!("schema takes no configuration");
    }
    let mut out = std::io::stdout().lock();
    let Some(name) = &args.name else {
        for (name, _) in schema::ALL {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    };
    match schema::text(name) {
        Some(text) => Ok(out.write_all(text.as_bytes())?),
        None => bail!("there is no schema {name:?}: say one of what `quick-notify plugins schema` lists"),
    }
}
