//! HAProxy with a configuration of the caller's: what listens on `:2025` there listens on a port of its own here.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use super::process::{Data, Process, Recipe, program};

pub struct HaProxy(Process);

impl HaProxy {
    /// In front of servers of which one at least answers.
    pub async fn with(configuration: String) -> Self {
        let data = Data::fresh();
        std::fs::create_dir(data.store()).expect("a directory");
        let recipe = Recipe {
            name: "haproxy",
            program: haproxy(),
            arguments: Box::new(move |store, port| {
                let file = store.join("haproxy.cfg");
                let here = configuration.replace("bind :2025", &format!("bind 127.0.0.1:{port}"));
                std::fs::write(&file, here).expect("a file");
                vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()]
            }),
            account: None,
            greeting: (
                b"GET /health/live HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
                |answer| answer.starts_with(b"HTTP/1.1 200"),
            ),
        };
        Self(Process::start(recipe, data).await)
    }
}

/// The program, for those who only check a file.
pub fn haproxy() -> PathBuf {
    program("haproxy", "TEST_HAPROXY", &["/usr/sbin".into()])
}

impl Deref for HaProxy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for HaProxy {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
