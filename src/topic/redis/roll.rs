//! The roll in Redis: a sorted set a user (`node:number` by the time of entering), and one sorted set of the nodes' leases.
//!
//! # Why so
//! A script must find all its keys in one slot of a Redis Cluster, so it can't read the leases beside a user's set. Renewing an entry a
//! session would cost thousands of commands a second and node. So a node renews one lease, learns at the same time who else has one, and
//! hands the names of the living to the script. What the script finds of a node that is not among them it tells, and changes nothing: the
//! caller asks for the leases anew, and names who is really dead. A name is never used again once its lease ended, so a dead one stays dead,
//! and a node that has just come can't be taken for one. All times are Redis's own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ::redis::{ErrorKind, RedisError, RedisResult, Script};
use futures_util::future::{try_join, try_join_all};

use crate::domain::time::EpochMs;
use crate::redis::Keys;
use crate::subjects;
use crate::topic::here::{self, Left, Put, place};

/// Who is alive, and until when without further notice.
#[derive(Debug, Clone, Default)]
pub struct Nodes(HashMap<String, Instant>);

/// What became of a wish to enter.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// On the roll since then; these places of the user are over the cap.
    In(EpochMs, Vec<String>),
    /// There are as many as the cap allows.
    Full(u32),
}

/// Renews this node's lease. ARGV: node, lease in ms, "new" for a first one, and the node's names before it.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if ARGV[1] ~= '' then
  if ARGV[3] ~= 'new' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {} end
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local nodes = {}
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  nodes[i] = all[i]
  nodes[i + 1] = string.format('%.0f', all[i + 1] - now)
end
return nodes
",
    )
});

/// Puts a place on a user's roll. ARGV: "enter" (not beyond the cap) or the time at which it entered, cap, time to live in ms, the place, the
/// number of living nodes, the living, the number of the node's names before this one, the place under them, the dead.
static ENTER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local live, dead, unknown, here = {}, {}, {'unknown'}, 0
local nodes = tonumber(ARGV[5])
for i = 6, 5 + nodes do live[ARGV[i]] = true end
local former = 6 + nodes
for i = 1, ARGV[former] do redis.call('ZREM', KEYS[1], ARGV[former + i]) end
for i = former + ARGV[former] + 1, #ARGV do dead[ARGV[i]] = true end
for _, place in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local node = string.match(place, '^[^:]*')
  if live[node] then
    here = here + 1
  elseif dead[node] then
    redis.call('ZREM', KEYS[1], place)
  else
    unknown[#unknown + 1] = node
  end
end
if #unknown > 1 then return unknown end
local cap, entered = tonumber(ARGV[2]), ARGV[1]
if entered == 'enter' then
  if here >= cap then return {'full', tostring(here)} end
  local t = redis.call('TIME')
  entered = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
end
redis.call('ZADD', KEYS[1], entered, ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local answer = {'in', entered}
for _, place in ipairs(redis.call('ZRANGE', KEYS[1], cap, -1)) do answer[#answer + 1] = place end
return answer
",
    )
});

impl Nodes {
    fn living(&self) -> Vec<&str> {
        let now = Instant::now();
        let living = self.0.iter().filter(|(_, until)| **until > now);
        living.map(|(node, _)| &**node).collect()
    }

    fn has(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(|until| *until > Instant::now())
    }
}

/// Begins `node`'s lease, in place of those that it may have under its former names.
pub async fn begin(keys: &Keys, node: &str, former: &[Arc<str>], lease: Duration) -> RedisResult<Nodes> {
    leases(keys, node, "new", former, lease).await
}

/// Renews `node`'s lease; `None` when there is none any more.
pub async fn renew(keys: &Keys, node: &str, lease: Duration) -> RedisResult<Option<Nodes>> {
    let nodes = leases(keys, node, "again", &[], lease).await?;
    Ok(Some(nodes).filter(|nodes| nodes.0.contains_key(node)))
}

/// Ends `node`'s lease.
pub async fn end(keys: &Keys, node: &str) -> RedisResult<()> {
    let mut keys = keys.clone();
    ::redis::cmd("ZREM")
        .arg(subjects::NODES)
        .arg(node)
        .exec_async(&mut keys)
        .await
}

async fn leases(keys: &Keys, node: &str, how: &str, former: &[Arc<str>], lease: Duration) -> RedisResult<Nodes> {
    // Counted from before the question, so never for longer than Redis does.
    let asked = Instant::now();
    let mut script = RENEW.key(subjects::NODES);
    script
        .arg(node)
        .arg(lease.as_millis() as u64)
        .arg(how)
        .arg(former.iter().map(|name| &**name).collect::<Vec<_>>());
    let found: Vec<(String, u64)> = script.invoke_async(&mut keys.clone()).await?;
    let until = |left| asked + Duration::from_millis(left);
    Ok(Nodes(
        found.into_iter().map(|(node, left)| (node, until(left))).collect(),
    ))
}

/// A node's dealings with the roll under one name.
pub struct Roll<'a> {
    pub keys: &'a Keys,
    pub nodes: &'a Nodes,
    pub node: &'a str,
    pub lease: Duration,
    /// How long a user's roll is kept when nobody confirms it.
    pub ttl: Duration,
}

/// Leases that come and go while one user is looked at: more than these in a row, and something is wrong.
const MOST_LOOKS: usize = 5;

impl Roll<'_> {
    pub async fn enter(&self, user: &str, number: u64, cap: u32) -> RedisResult<Answer> {
        self.ask(user, "enter", number, cap, &[]).await
    }

    /// Puts places on, whatever the caps, in place of what may stand there under former names; the answer says for each who is over.
    pub async fn put(&self, puts: &[Put], former: &[Arc<str>]) -> RedisResult<Vec<Vec<String>>> {
        // One after the other into the same connection, without waiting in between.
        let asked = puts.iter().map(async |put| {
            let entered = put.entered.to_string();
            match self.ask(&put.user, &entered, put.number, put.cap, former).await? {
                Answer::In(_, over) => Ok(over),
                Answer::Full(_) => Ok(Vec::new()),
            }
        });
        try_join_all(asked).await
    }

    /// Takes places off.
    pub async fn remove(&self, left: &[Left]) -> RedisResult<()> {
        try_join_all(left.iter().map(async |left| {
            ::redis::cmd("ZREM")
                .arg(subjects::roll(&left.user))
                .arg(place(self.node, left.number))
                .exec_async(&mut self.keys.clone())
                .await
        }))
        .await?;
        Ok(())
    }

    /// How many places each of these has.
    pub async fn count(&self, users: &[&str]) -> RedisResult<Vec<u32>> {
        let rolls = try_join_all(users.iter().map(async |user| {
            let mut keys = self.keys.clone();
            let mut roll = ::redis::cmd("ZRANGE");
            roll.arg(subjects::roll(user)).arg(0).arg(-1);
            roll.query_async::<Vec<String>>(&mut keys).await
        }))
        .await?;
        let node = |place: &str| place.split(':').next().unwrap_or_default().to_owned();
        let known = rolls.iter().flatten().all(|place| self.nodes.has(&node(place)));
        let asked;
        let nodes = match known {
            true => self.nodes,
            false => {
                asked = self.look().await?;
                &asked
            }
        };
        let counts = rolls.iter().map(|roll| {
            let living = roll.iter().filter(|place| nodes.has(&node(place)));
            living.count() as u32
        });
        Ok(counts.collect())
    }

    /// Who has a lease, without renewing any.
    async fn look(&self) -> RedisResult<Nodes> {
        leases(self.keys, "", "again", &[], self.lease).await
    }

    async fn ask(&self, user: &str, how: &str, number: u64, cap: u32, former: &[Arc<str>]) -> RedisResult<Answer> {
        let key = subjects::roll(user);
        let place = place(self.node, number);
        let former: Vec<_> = former.iter().map(|name| here::place(name, number)).collect();
        let mut looked = None;
        let mut dead: Vec<String> = Vec::new();
        for _ in 0..MOST_LOOKS {
            let mut living = looked.as_ref().unwrap_or(self.nodes).living();
            if !living.contains(&self.node) {
                living.push(self.node);
            }
            let mut script = ENTER.key(&*key);
            script.arg(how).arg(cap).arg(self.ttl.as_millis() as u64).arg(&*place);
            script.arg(living.len()).arg(&living);
            script.arg(former.len()).arg(&former).arg(&dead);
            let answer: Vec<String> = script.invoke_async(&mut self.keys.clone()).await?;
            let mut words = answer.into_iter();
            let number = |word: Option<String>| word.and_then(|word| word.parse::<i64>().ok()).unwrap_or_default();
            match words.next().as_deref() {
                Some("in") => return Ok(Answer::In(number(words.next()), words.collect())),
                Some("full") => return Ok(Answer::Full(number(words.next()) as u32)),
                _ => {
                    let nodes = self.look().await?;
                    // Not `has`, which may think a lease over a moment before Redis does.
                    dead.extend(words.filter(|node| !nodes.0.contains_key(node)));
                    looked = Some(nodes);
                }
            }
        }
        Err(RedisError::from((
            ErrorKind::UnexpectedReturnType,
            "the roll names ever other nodes",
        )))
    }
}

/// Asks both connections whether they live.
pub async fn ping(
    ear: &mut ::redis::aio::MultiplexedConnection,
    mouth: &mut ::redis::aio::MultiplexedConnection,
) -> RedisResult<()> {
    let ping = ::redis::cmd("PING");
    try_join(ping.exec_async(ear), ping.exec_async(mouth)).await?;
    Ok(())
}
