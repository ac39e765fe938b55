//! One foreign server process: started, signalled, started again, and never left behind.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::within;

/// What is run, and how one sees that it is ready.
pub struct Recipe {
    pub name: &'static str,
    pub program: PathBuf,
    /// From its data directory and its port.
    pub arguments: Arguments,
    /// The account that it runs under where the test is root's, for a program that refuses root.
    pub account: Option<&'static str>,
    /// What is written to its port, and how the answer begins once it is ready.
    pub greeting: (&'static [u8], Answer),
}

pub type Arguments = Box<dyn Fn(&Path, u16) -> Vec<String> + Send + Sync>;

/// Whether these first octets are those of a server that is ready.
pub type Answer = fn(&[u8]) -> bool;

pub struct Process {
    recipe: Recipe,
    child: Child,
    port: u16,
    data: Data,
}

/// Where a server keeps what it keeps, and its log beside that.
pub struct Data {
    pub path: PathBuf,
    /// Removes it. What the whole run shares has none, and is removed by the next run.
    pub _owned: Option<TempDir>,
}

impl Data {
    pub fn fresh() -> Self {
        let owned = TempDir::new_in(base()).expect("a temporary directory");
        // For the account that the server runs under.
        std::fs::set_permissions(owned.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        Self {
            path: owned.path().to_owned(),
            _owned: Some(owned),
        }
    }

    /// For a server that no value ends: its directory carries the process's number, by which later ones clear it away.
    pub fn of_the_run(name: &str) -> Self {
        let prefix = format!("shared-{name}-");
        for entry in std::fs::read_dir(base()).expect("the directory of tests").flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let owner = file.strip_prefix(&prefix).and_then(|pid| pid.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let path = base().join(format!("{prefix}{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self { path, _owned: None }
    }

    /// What the server itself writes to.
    pub fn store(&self) -> PathBuf {
        self.path.join("data")
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Process {
    /// Starts on a free port, and waits until it answers there.
    pub async fn start(recipe: Recipe, data: Data) -> Self {
        // Another process may take the port between the look and the start: then on with the next.
        for _ in 0..5 {
            let port = free_port();
            if let Some(started) = Self::try_start(&recipe, &data, port).await {
                return Self {
                    child: started,
                    recipe,
                    port,
                    data,
                };
            }
        }
        let log = std::fs::read_to_string(data.log()).unwrap_or_default();
        panic!("{} does not start:\n{log}", recipe.name);
    }

    /// Starts without waiting, for servers that wait for each other: ask `ready` then.
    pub fn launch(recipe: Recipe, data: Data, port: u16) -> Self {
        let child = spawn(&recipe, &data, port);
        Self {
            recipe,
            child,
            port,
            data,
        }
    }

    async fn try_start(recipe: &Recipe, data: &Data, port: u16) -> Option<Child> {
        let mut child = spawn(recipe, data, port);
        answers(recipe, &mut child, port).await.then_some(child)
    }

    pub async fn ready(&mut self) {
        let alive = answers(&self.recipe, &mut self.child, self.port).await;
        assert!(alive, "{} ended at its start:\n{}", self.recipe.name, self.log());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`, for a proxy before it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data(&self) -> PathBuf {
        self.data.store()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.log()).unwrap_or_default()
    }

    /// SIGKILL for it and its children: what was not on the disk is gone.
    pub async fn kill9(&mut self) {
        // Stopped first, so that no child is born behind the list.
        self.signal("STOP");
        self.signal("KILL");
        self.wait().await;
    }

    /// Freezes it with its children: connections stay open, and nothing answers.
    pub fn stop(&self) {
        self.signal("STOP");
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal("CONT");
    }

    /// Asks it to end, and waits for that.
    pub async fn terminate(&mut self) {
        kill("TERM", &[self.pid()]);
        self.wait().await;
    }

    /// Starts it again on the same port and data, and waits until it answers.
    pub async fn restart(&mut self) {
        self.relaunch();
        self.ready().await;
    }

    /// The same without waiting.
    pub fn relaunch(&mut self) {
        if self.child.try_wait().expect("it is our child").is_none() {
            panic!("{} still runs", self.recipe.name);
        }
        self.child = spawn(&self.recipe, &self.data, self.port);
    }

    async fn wait(&mut self) {
        within(self.recipe.name, async {
            let mut tick = tokio::time::interval(Duration::from_millis(2));
            while self.child.try_wait().expect("it is our child").is_none() {
                tick.tick().await;
            }
        })
        .await;
    }

    fn signal(&self, name: &str) {
        kill(name, &family(self.pid()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("KILL");
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- the log of {} at {} ---\n{}",
                self.recipe.name,
                self.port,
                self.log()
            );
        }
    }
}

/// A port that nobody has. Not one of those that outgoing connections are given: while a server is down, a client that
/// tries to reach it would be given its port some day, and connect to itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = u16::try_from(std::process::id() % 20_000).expect("small");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        // Steps of a prime: processes that run side by side don't walk the same ports.
        let port = 12_000 + u16::try_from((u32::from(seed) + u32::from(step) * 7_919) % 20_000).expect("small");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Tests that run as root start what refuses root under an account of its own.
pub fn is_root() -> bool {
    static UID: LazyLock<bool> = LazyLock::new(|| id_of("-u", None) == 0);
    *UID
}

/// `id -u ACCOUNT`, `id -g ACCOUNT`.
fn id_of(what: &str, account: Option<&str>) -> u32 {
    let output = Command::new("id")
        .arg(what)
        .args(account)
        .output()
        .expect("id is there");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("there is no account {account:?}"))
}

/// A command that runs under `account` where this process is root.
pub fn as_account(program: &Path, account: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    // A test that is killed leaves no server behind.
    command.args(["--pdeathsig", "KILL"]);
    if let Some(account) = account.filter(|_| is_root()) {
        command.args([
            "--reuid",
            account,
            "--regid",
            &id_of("-g", Some(account)).to_string(),
            "--clear-groups",
        ]);
    }
    command.arg(program);
    command
}

/// Gives `path` to the account that a server runs under.
pub fn give(path: &Path, account: Option<&str>) {
    if let Some(account) = account.filter(|_| is_root()) {
        let (user, group) = (id_of("-u", Some(account)), id_of("-g", Some(account)));
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("chown");
    }
}

/// Where tests keep what is on disk: the build's directory, or `/var/tmp` where another account cannot get there.
pub fn base() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let open = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if !is_root() || target.ancestors().all(open) {
        target
    } else {
        PathBuf::from("/var/tmp")
    }
}

/// The program of this name: from the environment variable, the places, or the path.
pub fn program(name: &str, variable: &str, places: &[PathBuf]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = places.iter().cloned().chain(std::env::split_paths(&path));
    candidates
        .map(|place| place.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("there is no {name}: tests/run installs it, and {variable} names another"))
}

fn spawn(recipe: &Recipe, data: &Data, port: u16) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.log())
        .expect("the log can be written");
    let mut command = as_account(&recipe.program, recipe.account);
    command
        .args((recipe.arguments)(&data.store(), port))
        .current_dir(data.store())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    from_a_thread_that_stays(command)
}

/// The kernel ends a child with the *thread* that started it, and a test's thread ends with the test.
fn from_a_thread_that_stays(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let program = format!("{command:?}");
    let (answer, child) = mpsc::channel();
    ORDERS
        .lock()
        .expect("a lock")
        .send((command, answer))
        .expect("the thread stays");
    let child = child.recv().expect("the thread answers");
    child.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Asks until it answers; false when it ended instead.
async fn answers(recipe: &Recipe, child: &mut Child, port: u16) -> bool {
    within(recipe.name, async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            let patience = Duration::from_secs(2);
            if let Ok(Ok(true)) = tokio::time::timeout(patience, greet(recipe, port)).await {
                return true;
            }
        }
    })
    .await
}

async fn greet(recipe: &Recipe, port: u16) -> std::io::Result<bool> {
    let (question, is_ready) = recipe.greeting;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(question).await?;
    let mut answer = vec![0; 512];
    let length = stream.read(&mut answer).await?;
    Ok(is_ready(&answer[..length]))
}

/// The process and all that descend from it.
fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = fields(&stat).nth(1).and_then(|parent| parent.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// The fields behind the name, which may hold anything: the first is the state, the second the parent.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

/// Some may have ended meanwhile: no matter.
fn kill(name: &str, pids: &[u32]) {
    let done = Command::new("kill")
        .arg(format!("-{name}"))
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
    done.expect("kill is there");
}
