//! What the kernel says: CPU time, memory of a process, memory of its own for sockets, and how fast the disk syncs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Where servers keep their data: beside the build, so on a disk and not in memory.
pub const DATA: &str = env!("CARGO_TARGET_TMPDIR");

/// `/proc` counts CPU time in these, whatever the kernel's own clock is.
const TICKS_PER_SECOND: u64 = 100;

const PAGE: u64 = 4096;

/// The caches that a TCP connection and its registration with epoll come from. Those of the file system would tell of other people's builds.
const SOCKET_CACHES: [&str; 6] = [
    "TCP",
    "TCPv6",
    "sock_inode_cache",
    "filp",
    "eventpoll_epi",
    "eventpoll_pwq",
];

/// A line about this machine, now.
pub fn description() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let sync = sync_time()?.as_secs_f64() * 1e3;
    Ok(format!(
        "{cores} cores; a 4 KiB write with its sync takes {sync:.2} ms (median) in {DATA}"
    ))
}

/// How many threads wanted to run in the last minute, this generator's and the server's among them: whether others disturb.
pub fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// CPU time of a process (`self` or a number), in user and kernel mode, over all threads that are and were.
pub fn cpu(process: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
    // The name, in parentheses, may hold anything; behind it the fields have fixed places.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let total = ticks().zip(ticks()).map(|(user, kernel)| user + kernel);
    let total = total.context("/proc/PID/stat without times")?;
    Ok(Duration::from_millis(total * 1000 / TICKS_PER_SECOND))
}

/// CPU time of a process and all that descend from it, those that have ended among them.
pub fn cpu_of_family(root: u32) -> anyhow::Result<Duration> {
    anyhow::ensure!(
        Path::new(&format!("/proc/{root}/stat")).exists(),
        "process {root} is gone"
    );
    let mut total = Duration::ZERO;
    let mut open = vec![root];
    while let Some(process) = open.pop() {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        // User and kernel mode, and the same of children that were waited for.
        let ticks: u64 = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(4)
            .flat_map(str::parse::<u64>)
            .sum();
        total += Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND);
        for task in fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(children.split_ascii_whitespace().flat_map(str::parse::<u32>));
        }
    }
    Ok(total)
}

/// CPU time of the calling thread.
pub fn cpu_of_this_thread() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = stat.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Bytes of memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    /// Resident, and nobody else's: without the program's text.
    pub private: u64,
}

pub fn memory(process: u32) -> anyhow::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let bytes = |name| field(&rollup, name).map(|kib| kib * 1024);
    Ok(Memory {
        resident: bytes("Rss:").context("no Rss")?,
        private: bytes("Private_Clean:").context("no Private_Clean")?
            + bytes("Private_Dirty:").context("no Private_Dirty")?,
    })
}

/// Bytes that the kernel holds for sockets, of all processes.
pub fn kernel_memory() -> anyhow::Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let queued = sockets
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.rsplit_once("mem "))
        .and_then(|(_, pages)| pages.parse::<u64>().ok());
    let held = match fs::read_to_string("/proc/slabinfo") {
        Ok(caches) => caches.lines().filter_map(socket_cache).sum(),
        // Only root may read the caches one by one.
        Err(_) => field(&fs::read_to_string("/proc/meminfo")?, "Slab:").context("no Slab")? * 1024,
    };
    Ok(held + queued.context("no TCP memory")? * PAGE)
}

/// Bytes of a line of `/proc/slabinfo`: name, active objects, all objects, the size of one.
fn socket_cache(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?;
    let active: u64 = fields.next()?.parse().ok()?;
    let size: u64 = fields.nth(1)?.parse().ok()?;
    SOCKET_CACHES.contains(&name).then_some(active * size)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn sync_time() -> anyhow::Result<Duration> {
    const TRIES: usize = 21;
    let path = Path::new(DATA).join(format!("sync-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let start = Instant::now();
        file.write_all(&[0; PAGE as usize])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[TRIES / 2])
}
