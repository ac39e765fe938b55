//! What topics do when their server is away, frozen, or empty at its return, and when a node dies.

use super::*;

impl World {
    /// The worlds with a server that can be broken.
    async fn breakable() -> Vec<Self> {
        let mut worlds = Self::all().await;
        worlds.retain(|world| !matches!(world, Self::Alone));
        worlds
    }
}

/// A node on a runtime of its own, which can end as a process does: at once.
struct Mortal {
    node: Arc<Node>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Mortal {
    async fn of(world: &World) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (config, redis, nats) = (world.config(), world.redis(), world.nats());
        let heard = Arc::new(Heard::default());
        let listener = Arc::clone(&heard);
        let topic = runtime
            .spawn(async move { build(config, redis, nats, listener as _).await })
            .await
            .expect("it runs");
        Self {
            node: Arc::new(Node { topic, heard }),
            runtime: Some(runtime),
        }
    }

    fn die(&mut self) {
        self.runtime.take().expect("it lives").shutdown_background();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test]
async fn the_places_of_a_dead_node_are_free_once_its_lease_is_over() {
    for world in World::breakable().await {
        let node = world.node().await;
        let mut mortal = Mortal::of(&world).await;
        let mut inside = Vec::new();
        for _ in 0..10 {
            inside.push(mortal.node.enter("alice").await.expect("a place"));
        }
        assert_eq!(node.present("alice").await, 10);
        assert!(matches!(node.enter("alice").await, Err(TopicError::Full(10))));
        mortal.die();
        let died = std::time::Instant::now();
        eventually("its places count no more", async || node.present("alice").await == 0).await;
        eventually("its places are free", async || node.enter("alice").await.is_ok()).await;
        assert!(
            died.elapsed() >= Duration::from_millis(500),
            "the lease was not waited for"
        );
        eventually("nobody is there", async || node.present("alice").await == 0).await;
    }
}

#[tokio::test]
async fn the_line_says_when_the_server_is_gone_and_when_it_is_back() {
    for mut world in World::breakable().await {
        let node = world.node().await;
        let _alice = node.enter("alice").await.expect("a place");
        let up = node.up().await;

        world.kill9().await;
        node.down().await;
        let error = node.topic.publish(vec![for_user("alice", "lost")]).await;
        assert!(matches!(error, Err(TopicError::Unavailable(_))), "{error:?}");
        assert!(matches!(
            node.topic.present(&["alice"]).await,
            Err(TopicError::Unavailable(_))
        ));
        world.restart().await;
        let again = node.up().await;
        assert!(again.breaks > up.breaks);
        // Both the channel and the roll are there again, though the server forgot them.
        node.publish(for_user("alice", "after the kill")).await;
        node.heard_to("after the kill").await;
        eventually("alice is on the roll", async || node.present("alice").await == 1).await;

        let frozen = std::time::Instant::now();
        world.stop();
        node.down().await;
        let noticed = frozen.elapsed();
        assert!(noticed < Duration::from_secs(4), "noticed after {noticed:?}");
        let asked = std::time::Instant::now();
        assert!(node.topic.publish(vec![for_user("alice", "lost")]).await.is_err());
        assert!(asked.elapsed() < Duration::from_millis(500), "it fails at once");
        world.cont();
        let last = node.line("it is back", |line| line.up).await;
        assert!(last.breaks > again.breaks);
        node.publish(for_user("alice", "after the freeze")).await;
        node.heard_to("after the freeze").await;
        println!("a frozen {} is noticed after {noticed:?}", node.topic.name());
    }
}

/// With the server away each node counts alone; when it is back the newest above the cap go, wherever they are.
#[tokio::test]
async fn at_the_return_of_the_roll_the_newest_above_the_cap_give_up() {
    for mut world in World::breakable().await {
        let nodes = [world.node().await, world.node().await];
        world.kill9().await;
        for node in &nodes {
            node.down().await;
        }
        let mut chairs = Vec::new();
        let mut inside = Vec::new();
        for index in 0..6 {
            let chair = Arc::new(Chair::default());
            inside.push(nodes[index % 2].seat("alice", &chair, 3).await.expect("a place"));
            chairs.push(chair);
            // The next one is newer, by the clock that counts.
            let came = quick_notify::lifecycle::wall_clock();
            eventually("a millisecond has passed", async || {
                quick_notify::lifecycle::wall_clock() > came
            })
            .await;
        }
        for node in &nodes {
            let error = node.enter_capped("alice", 3).await.err();
            assert!(matches!(error, Some(TopicError::Full(3))), "{error:?}");
        }
        world.restart().await;
        let told = || chairs.iter().map(|chair| chair.told() > 0).collect::<Vec<_>>();
        eventually("three have given up", async || {
            told().iter().filter(|told| **told).count() >= 3
        })
        .await;
        assert_eq!(told(), [false, false, false, true, true, true]);
        inside.truncate(3);
        for node in &nodes {
            eventually("three are there", async || node.present("alice").await == 3).await;
        }
        assert_eq!(told(), [false, false, false, true, true, true]);
    }
}

impl Node {
    async fn enter_capped(&self, user: &str, cap: u32) -> Result<Entered, TopicError> {
        self.seat(user, &Arc::default(), cap).await
    }
}
