//! What every topic promises, with as many nodes as the adapter can have. What only one of them does is in a file of its own below.

mod broken;
mod redis;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quick_notify::domain::envelope::{Content, Envelope};
use quick_notify::domain::notification::{Audience, Draft};
use quick_notify::domain::revocation::{Revocation, Target};
use quick_notify::topic::{self, Adapter, Config, Entered, Line, Listener, Seat, Topic, TopicError};

use super::notification;
use crate::harness::{eventually, servers, within};

/// A server, and what nodes on it are configured with.
enum World {
    Alone,
    Redis(servers::Redis),
    Nats(servers::Nats),
}

/// A node of the cluster, as its topic sees it.
struct Node {
    topic: Arc<dyn Topic>,
    heard: Arc<Heard>,
}

/// What a node heard, in order: ids and revoked users.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Listener for Heard {
    fn hear(&self, envelope: Envelope) {
        self.note(envelope.content.id());
    }

    fn revoked(&self, revocation: &Revocation) {
        match &revocation.target {
            Target::Token(id) => self.note(id),
            Target::User { user, .. } => self.note(user),
        }
    }
}

impl Heard {
    fn note(&self, what: &str) {
        self.0.lock().expect("not poisoned").push(what.to_owned());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// A session, which counts how often it was told to give up.
#[derive(Default)]
struct Chair(AtomicU32);

impl Seat for Chair {
    fn give_up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Chair {
    fn told(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl World {
    async fn all() -> Vec<Self> {
        vec![
            Self::Alone,
            Self::Redis(servers::Redis::start().await),
            Self::Nats(servers::Nats::start().await),
        ]
    }

    fn config(&self) -> Config {
        Config {
            adapter: match self {
                Self::Alone => Adapter::Local,
                Self::Redis(_) => Adapter::Redis,
                Self::Nats(_) => Adapter::Nats,
            },
            // Builds run beside the tests.
            publish_timeout_ms: 5_000,
            subscribe_timeout_ms: 5_000,
            roll_timeout_ms: 5_000,
            lease_ms: 1_000,
            renew_ms: 200,
            linger_ms: 0,
            ..Config::default()
        }
    }

    fn redis(&self) -> quick_notify::redis::Config {
        match self {
            Self::Redis(server) => redis_config(server),
            _ => Default::default(),
        }
    }

    async fn kill9(&mut self) {
        match self {
            Self::Alone => {}
            Self::Redis(server) => server.kill9().await,
            Self::Nats(server) => server.kill9().await,
        }
    }

    async fn restart(&mut self) {
        match self {
            Self::Alone => {}
            Self::Redis(server) => server.restart().await,
            Self::Nats(server) => server.restart().await,
        }
    }

    fn stop(&self) {
        match self {
            Self::Alone => {}
            Self::Redis(server) => server.stop(),
            Self::Nats(server) => server.stop(),
        }
    }

    fn cont(&self) {
        match self {
            Self::Alone => {}
            Self::Redis(server) => server.cont(),
            Self::Nats(server) => server.cont(),
        }
    }

    fn nats(&self) -> Option<quick_notify::nats::Config> {
        match self {
            Self::Nats(server) => Some(quick_notify::nats::Config {
                servers: vec![server.url()],
                ..Default::default()
            }),
            _ => None,
        }
    }

    async fn node(&self) -> Node {
        self.node_with(self.config()).await
    }

    async fn node_with(&self, config: Config) -> Node {
        let heard = Arc::new(Heard::default());
        let topic = build(config, self.redis(), self.nats(), Arc::clone(&heard) as _).await;
        Node { topic, heard }
    }

    /// As many nodes as there can be, three at most; each hears.
    async fn nodes(&self) -> Vec<Node> {
        let count = if let Self::Alone = self { 1 } else { 3 };
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = self.node().await;
            node.up().await;
            nodes.push(node);
        }
        nodes
    }
}

/// A topic with connections of its own, as in a process of its own.
async fn build(
    config: Config,
    redis: quick_notify::redis::Config,
    nats: Option<quick_notify::nats::Config>,
    listener: Arc<dyn Listener>,
) -> Arc<dyn Topic> {
    let nats = match nats {
        Some(config) => Some(quick_notify::nats::connect(&config).await.expect("a connection")),
        None => None,
    };
    topic::build(&config, &redis, nats.as_ref(), listener)
        .await
        .expect("the topic")
}

fn redis_config(server: &servers::Redis) -> quick_notify::redis::Config {
    quick_notify::redis::Config {
        servers: vec![server.url()],
        ..Default::default()
    }
}

impl Node {
    async fn enter(&self, user: &str) -> Result<Entered, TopicError> {
        self.seat(user, &Arc::default(), 10).await
    }

    async fn seat(&self, user: &str, chair: &Arc<Chair>, cap: u32) -> Result<Entered, TopicError> {
        self.topic.enter(&user.into(), Arc::clone(chair) as _, cap).await
    }

    async fn present(&self, user: &str) -> u32 {
        self.topic.present(&[user]).await.expect("numbers")[0]
    }

    async fn publish(&self, envelope: Envelope) {
        self.topic.publish(vec![envelope]).await.expect("published");
    }

    async fn line(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let mut line = self.topic.line();
        *within(what, line.wait_for(|line| wanted(line)))
            .await
            .expect("the topic lives")
    }

    async fn up(&self) -> Line {
        self.line("the line is up", |line| line.up).await
    }

    async fn down(&self) -> Line {
        self.line("the line is down", |line| !line.up).await
    }

    /// Waits for `id`, and gives what was heard up to it.
    async fn heard_to(&self, id: &str) -> Vec<String> {
        eventually(&format!("{id} is heard"), async || {
            self.heard.all().iter().any(|heard| heard == id)
        })
        .await;
        self.heard.all()
    }
}

fn for_user(user: &str, id: &str) -> Envelope {
    Envelope::of(notification(user, id, "x"), Some(1))
}

fn for_everyone(id: &str) -> Envelope {
    let draft = Draft {
        id: Some(id.to_owned()),
        ..Draft::text(Audience::Everyone, "x")
    };
    let accepted = draft.accept(String::new, 1_000, &Default::default());
    Envelope::of(accepted.expect("a right draft"), None)
}

fn of_user(user: &str) -> Revocation {
    Revocation {
        target: Target::User {
            user: user.into(),
            issued_before: 5,
        },
        created: 5,
        until: 10,
    }
}

#[tokio::test]
async fn envelopes_are_heard_in_order_by_every_node_that_holds_the_user() {
    for world in World::all().await {
        let nodes = world.nodes().await;
        let mut inside = Vec::new();
        for node in &nodes {
            inside.push(node.enter("alice").await.expect("a place"));
        }
        let publisher = nodes.last().expect("a node");
        let ids: Vec<_> = (0..500).map(|number| format!("n{number}")).collect();
        for ids in ids.chunks(7) {
            let envelopes = ids.iter().map(|id| for_user("alice", id)).collect();
            publisher.topic.publish(envelopes).await.expect("published");
        }
        for node in &nodes {
            assert_eq!(node.heard_to("n499").await, ids, "{}", node.topic.name());
        }
    }
}

#[tokio::test]
async fn a_node_hears_its_own_users_and_what_is_for_everybody() {
    for world in World::all().await {
        let nodes = world.nodes().await;
        let _alice = nodes[0].enter("alice").await.expect("a place");
        let publisher = nodes.last().expect("a node");
        let body = vec![0, 159, 146, 150];
        let relay = Envelope::relay("/topic/orders".into(), Some("image/png".into()), body.into());
        let relayed = relay.content.id().to_owned();
        let names = "päul: *>{x} \u{1f600}";
        let _odd = nodes[0].enter(names).await.expect("a place");
        publisher.publish(for_user("alice", "to-alice")).await;
        publisher.publish(for_user(names, "to-an-odd-name")).await;
        publisher.publish(for_user("bob", "to-bob")).await;
        publisher.publish(for_everyone("to-all")).await;
        publisher.publish(relay).await;
        publisher.topic.revoke(&of_user("carol")).await.expect("told");
        publisher.publish(for_everyone("last")).await;
        for (index, node) in nodes.iter().enumerate() {
            let mut heard = node.heard_to("last").await;
            let name = node.topic.name();
            eventually("what is for the node's own users is heard", async || {
                index > 0 || node.heard.all().iter().any(|id| id == "to-an-odd-name")
            })
            .await;
            if index == 0 {
                heard = node.heard.all();
                assert!(heard.iter().any(|id| id == "to-alice"), "{name}: {heard:?}");
                heard.retain(|id| id != "to-alice" && id != "to-an-odd-name");
            }
            // A node that is alone hears everything: nobody is bothered.
            if nodes.len() == 1 {
                heard.retain(|id| id != "to-bob");
            }
            assert_eq!(heard, ["to-all", &*relayed, "carol", "last"], "{name}");
        }
    }
}

/// Bytes that are no text, and a body's exact JSON, come as they went.
#[tokio::test]
async fn an_envelope_comes_as_it_went() {
    #[derive(Default)]
    struct Whole(Mutex<Vec<Envelope>>);
    impl Listener for Whole {
        fn hear(&self, envelope: Envelope) {
            self.0.lock().expect("not poisoned").push(envelope);
        }
        fn revoked(&self, _revocation: &Revocation) {}
    }
    for world in World::all().await {
        let whole = Arc::new(Whole::default());
        let topic = build(world.config(), world.redis(), world.nats(), Arc::clone(&whole) as _).await;
        let _alice = topic
            .enter(&"alice".into(), Arc::new(Chair::default()), 10)
            .await
            .expect("a place");
        let text = "a \"quoted\" line\n\u{0}\u{1f600}";
        let sent = [
            Envelope::of(notification("alice", "n", text), Some(7)),
            Envelope::relay("/topic/a".into(), None, vec![0, 255, 1].into()),
            Envelope::relay("/topic/a".into(), Some("text/plain".into()), "text".into()),
            Envelope::confirmed("alice", vec!["ntf_1".into(), "ntf_2".into()]),
        ];
        for envelope in &sent {
            topic.publish(vec![envelope.clone()]).await.expect("published");
        }
        let got = || whole.0.lock().expect("not poisoned").clone();
        eventually("all are heard", async || got().len() == sent.len()).await;
        let name = topic.name();
        let mut got = got();
        // Between channels there is no order.
        got.sort_by_key(|got| sent.iter().position(|sent| sent.content.id() == got.content.id()));
        for (sent, got) in sent.iter().zip(&got) {
            assert_eq!(got.to, sent.to, "{name}");
            match (&sent.content, &got.content) {
                (Content::Message(sent), Content::Message(got)) => {
                    assert_eq!((sent.seq, sent.body(1, 2)), (got.seq, got.body(1, 2)), "{name}");
                }
                (Content::Relay(sent), Content::Relay(got)) => {
                    assert_eq!(
                        (&sent.id, &sent.content_type, &sent.body),
                        (&got.id, &got.content_type, &got.body),
                        "{name}"
                    );
                }
                (Content::Confirmed(sent), Content::Confirmed(got)) => assert_eq!(sent, got, "{name}"),
                _ => panic!("{name}: {got:?} for {sent:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_holds_when_everybody_comes_at_once() {
    for world in World::all().await {
        let nodes: Vec<_> = world.nodes().await.into_iter().map(Arc::new).collect();
        let attempts = (0..100).map(|index| {
            let node = Arc::clone(&nodes[index % nodes.len()]);
            tokio::spawn(async move { node.enter("alice").await })
        });
        let mut inside = Vec::new();
        let mut refused = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.expect("it ran") {
                Ok(entered) => inside.push(entered),
                Err(TopicError::Full(10)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let name = nodes[0].topic.name();
        assert_eq!((inside.len(), refused), (10, 90), "{name}");
        for node in &nodes {
            eventually("the refused are gone", async || node.present("alice").await == 10).await;
            assert_eq!(node.topic.present(&["bob", "alice"]).await.expect("numbers"), [0, 10]);
        }
        inside.pop();
        for node in &nodes {
            eventually("a place is free again", async || node.present("alice").await == 9).await;
        }
        inside.push(nodes[0].enter("alice").await.expect("the free place"));
        let error = nodes[0].enter("alice").await.err();
        assert!(matches!(error, Some(TopicError::Full(10))), "{name}: {error:?}");
        // Whoever closes leaves with all.
        nodes[0].topic.close().await;
        if let Some(other) = nodes.get(1) {
            let left = other.present("alice").await;
            assert!(left < 10, "{left} of {name}");
        }
    }
}
