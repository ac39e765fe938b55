//! nginx with a configuration of the caller's: what listens on 2025 there listens on a port of its own here.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use super::process::{Data, Process, Recipe, program};

pub struct Nginx(Process);

impl Nginx {
    /// In front of servers of which one at least answers.
    pub async fn with(configuration: String) -> Self {
        let data = Data::fresh();
        std::fs::create_dir(data.store()).expect("a directory");
        let recipe = Recipe {
            name: "nginx",
            program: nginx(),
            arguments: Box::new(move |store, port| {
                // What it keeps elsewhere, it keeps in its directory.
                let here = configuration
                    .replace("listen 2025;", &format!("listen 127.0.0.1:{port};"))
                    .replace("http {", &format!("http {{\n{}", temporary()));
                std::fs::write(store.join("nginx.conf"), here).expect("a file");
                let own = "daemon off; pid nginx.pid; error_log stderr;";
                let store = format!("{}/", store.display());
                ["-p", &store, "-e", "stderr", "-c", "nginx.conf", "-g", own]
                    .map(str::to_owned)
                    .to_vec()
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
pub fn nginx() -> PathBuf {
    program("nginx", "TEST_NGINX", &["/usr/sbin".into()])
}

/// Directories of the program's own for what it can't hold in memory.
pub fn temporary() -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {of};\n"))
        .concat()
}

impl Deref for Nginx {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Nginx {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
