//! What the nemesis does: each deed once, in an order that the seed gives, then again.

use std::time::Duration;

use quick_notify::lifecycle::wall_clock;

use crate::checker::Fault;
use crate::harness::random::Random;
use crate::harness::{Cluster, Line, lasts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Kill(Victim),
    Freeze(Victim),
    CutOff(Victim),
    /// Kill a dispatching node while the record is away: it dies with a batch in hand, which a node that acks before the commit would lose.
    KillWithABatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The node that stores the least; it holds sessions like the others.
    Edge,
    /// The node that stores the most.
    Dispatching,
    Nats,
    Redis,
    Postgres,
}

const VICTIMS: [(Victim, &str); 5] = [
    (Victim::Edge, "an edge node"),
    (Victim::Dispatching, "a dispatching node"),
    (Victim::Nats, "a NATS server"),
    (Victim::Redis, "Redis"),
    (Victim::Postgres, "PostgreSQL"),
];

/// Enough for a batch to come that can't be stored.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// Every deed once.
pub fn shuffled(random: &mut Random) -> Vec<Deed> {
    let all = |victim| [Deed::Kill(victim), Deed::Freeze(victim), Deed::CutOff(victim)];
    let mut deeds: Vec<Deed> = VICTIMS.iter().flat_map(|(victim, _)| all(*victim)).collect();
    deeds.push(Deed::KillWithABatch);
    for last in (1..deeds.len()).rev() {
        deeds.swap(last, random.index(last + 1));
    }
    deeds
}

/// Whether after this deed another node has to take over.
pub fn is_takeover(what: &str) -> bool {
    what == "kill a dispatching node" || what == "freeze a dispatching node"
}

impl Deed {
    /// Does it, lets it last, and undoes it.
    pub async fn perform(self, cluster: &mut Cluster, random: &mut Random) -> Fault {
        let victim = match self {
            Self::Kill(victim) | Self::Freeze(victim) | Self::CutOff(victim) => victim,
            Self::KillWithABatch => Victim::Dispatching,
        };
        let node = cluster.busiest(victim == Victim::Edge).await;
        let nats = random.index(cluster.nats.servers().len());
        // Long enough for others to take over, and for the frozen to wake up late.
        let most = match victim {
            Victim::Edge | Victim::Dispatching => 6_000,
            _ => 3_000,
        };
        let lasting = Duration::from_millis(1_000 + random.below(most));
        let line = [Line::Cut, Line::Silent][random.index(2)];
        let from = wall_clock();
        match self {
            Self::Kill(victim) => kill(cluster, victim, node, nats, lasting).await,
            Self::Freeze(victim) => freeze(cluster, victim, node, nats, lasting).await,
            Self::CutOff(victim) => {
                set_lines(cluster, victim, node, nats, line);
                lasts(lasting).await;
                set_lines(cluster, victim, node, nats, Line::Open);
            }
            Self::KillWithABatch => {
                set_lines(cluster, Victim::Postgres, node, nats, Line::Cut);
                lasts(HALF_A_SECOND).await;
                cluster.nodes[node].server.kill9().await;
                set_lines(cluster, Victim::Postgres, node, nats, Line::Open);
                cluster.nodes[node].server.restart_at_last().await;
            }
        }
        Fault {
            what: self.told(line),
            from,
            to: wall_clock(),
        }
    }

    fn told(self, line: Line) -> String {
        let name = |victim| {
            VICTIMS
                .iter()
                .find(|(known, _)| *known == victim)
                .map_or("", |(_, name)| *name)
        };
        match self {
            Self::Kill(victim) => format!("kill {}", name(victim)),
            Self::Freeze(victim) => format!("freeze {}", name(victim)),
            Self::CutOff(victim) if line == Line::Cut => format!("cut off {}", name(victim)),
            Self::CutOff(victim) => format!("cut off {}, silently", name(victim)),
            Self::KillWithABatch => "kill a dispatching node while PostgreSQL is away".to_owned(),
        }
    }
}

async fn kill(cluster: &mut Cluster, victim: Victim, node: usize, nats: usize, lasting: Duration) {
    match victim {
        Victim::Edge | Victim::Dispatching => {
            cluster.nodes[node].server.kill9().await;
            lasts(lasting).await;
            cluster.nodes[node].server.restart_at_last().await;
        }
        Victim::Nats => {
            cluster.nats.servers_mut()[nats].kill9().await;
            lasts(lasting).await;
            cluster.nats.servers_mut()[nats].restart().await;
        }
        Victim::Redis => {
            cluster.redis.kill9().await;
            lasts(lasting).await;
            cluster.redis.restart().await;
        }
        Victim::Postgres => {
            cluster.postgres.kill9().await;
            lasts(lasting).await;
            cluster.postgres.restart().await;
        }
    }
}

async fn freeze(cluster: &Cluster, victim: Victim, node: usize, nats: usize, lasting: Duration) {
    match victim {
        Victim::Edge | Victim::Dispatching => {
            cluster.nodes[node].server.signal("STOP");
            lasts(lasting).await;
            cluster.nodes[node].server.signal("CONT");
        }
        Victim::Nats | Victim::Redis | Victim::Postgres => {
            let process = match victim {
                Victim::Nats => &*cluster.nats.servers()[nats],
                Victim::Redis => &*cluster.redis,
                _ => &*cluster.postgres,
            };
            process.stop();
            lasts(lasting).await;
            process.cont();
        }
    }
}

/// A node is cut off from all that stands behind it; a server from all nodes.
fn set_lines(cluster: &Cluster, victim: Victim, node: usize, nats: usize, line: Line) {
    match victim {
        Victim::Edge | Victim::Dispatching => cluster.nodes[node].set_all(line),
        Victim::Nats => cluster.nodes.iter().for_each(|node| node.nats[nats].set(line)),
        Victim::Redis => cluster.nodes.iter().for_each(|node| node.redis.set(line)),
        Victim::Postgres => cluster.nodes.iter().for_each(|node| node.postgres.set(line)),
    }
}
