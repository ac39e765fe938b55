//! A Redis that keeps nothing: the product takes it for a hint, and so do its tests.

use std::ops::{Deref, DerefMut};

use super::process::{Data, Process, Recipe, program};

pub struct Redis(Process);

impl Redis {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With arguments of its own, such as `["--maxmemory", "10mb"]`.
    pub async fn with(extra: &[&str]) -> Self {
        let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
        let data = Data::fresh();
        std::fs::create_dir(data.store()).expect("a directory");
        let recipe = Recipe {
            name: "redis-server",
            program: program("redis-server", "TEST_REDIS_SERVER", &[]),
            arguments: Box::new(move |_, port| {
                let port = port.to_string();
                let fixed = [
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port,
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ];
                fixed
                    .iter()
                    .map(|word| (*word).to_owned())
                    .chain(extra.clone())
                    .collect()
            }),
            account: None,
            greeting: (b"PING\r\n", |answer| {
                answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH")
            }),
        };
        Self(Process::start(recipe, data).await)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }
}

impl Deref for Redis {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
