//! Builds everything, and owns the order of start and drain.
//!
//! Start: ports, then rooms, then the doors; ready last. Drain: readiness off, doors, dispatch, edge (at a pace), outcomes, events, ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio_util::task::TaskTracker;

use crate::api::{self, About, Api};
use crate::attach::{Attach, Events};
use crate::auth::{self, Auth, Given, Guarded, Revocations, Tickets};
use crate::config::Config;
use crate::dispatch::Dispatcher;
use crate::domain::kind::Kinds;
use crate::edge::admission::Admission;
use crate::edge::{self, Comings, Edge, Hub, Outcomes, Places, Rounds, Watch};
use crate::http;
use crate::ingest::{self, Door, Ingest};
use crate::keys::Keys;
use crate::lifecycle::Lifecycle;
use crate::nats;
use crate::queue::{self, Queue};
use crate::receipts::Receipts;
use crate::session::Rules;
use crate::store::{self, Store};
use crate::subjects;
use crate::sweep;
use crate::telemetry::metrics;
use crate::topic::{self, Topic};
use crate::web;

/// A server that runs.
pub struct App {
    /// Where HTTP and WebSocket are served.
    pub address: SocketAddr,
    /// Where `/metrics` is served.
    pub metrics: Option<SocketAddr>,
    /// The NATS subject that requests to publish go to.
    pub publish: Option<String>,
    /// The adapters, for people: queue, record, topic, tokens.
    pub adapters: [(&'static str, &'static str); 4],
    ready: Arc<AtomicBool>,
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    topic: Arc<dyn Topic>,
    edge: Arc<Edge>,
    stages: Stages,
    drain_timeout: Duration,
}

/// How long a drain waits for the last frames of sessions over HTTP.
const FAREWELLS: Duration = Duration::from_secs(1);

/// What ends together, in the order in which it ends.
struct Stages {
    doors: Lifecycle,
    dispatch: Lifecycle,
    outcomes: Lifecycle,
    rest: Lifecycle,
    events: Lifecycle,
}

impl App {
    /// Builds and starts everything; `abort` stops it at once.
    pub async fn start(config: Config, lifecycle: &Lifecycle) -> anyhow::Result<Self> {
        let stages = Stages {
            doors: lifecycle.stage(),
            dispatch: lifecycle.stage(),
            outcomes: lifecycle.stage(),
            rest: lifecycle.stage(),
            events: lifecycle.stage(),
        };
        let listen: SocketAddr = config.app.listen.parse().context("app.listen")?;
        let listener =
            http::listen(listen, &config.http).with_context(|| format!("app.listen: {listen} can't be bound"))?;
        let address = listener.local_addr()?;
        let data = &config.app.data;
        std::fs::create_dir_all(data).with_context(|| format!("app.data: {} can't be made", data.display()))?;
        // First, so that what is counted from here on is counted.
        let metrics = match (config.telemetry.listen.parse::<SocketAddr>(), metrics::install()) {
            (Ok(listen), Some(handle)) => {
                let served = metrics::serve(listen, &config.http, handle, &stages.rest);
                Some(served.with_context(|| format!("telemetry.listen: {listen} can't be bound"))?)
            }
            _ => None,
        };

        let kinds =
            Arc::new(Kinds::compile(&config.domain).map_err(|problems| anyhow::anyhow!("domain: {problems:?}"))?);
        let keys =
            Arc::new(Keys::read(&config.ingest.keys).map_err(|problems| anyhow::anyhow!("ingest: {problems:?}"))?);
        let is_alone = config.topic.adapter == topic::Adapter::Local;
        let tickets = Arc::new(Tickets::open(&config.auth.tickets, is_alone)?);
        let nats = match config.needs_nats() {
            true => Some(nats::connect(&config.nats).await?),
            false => None,
        };
        let told = match &nats {
            Some(nats) if config.attach.enabled => {
                let node = crate::lifecycle::node(address.port());
                let patience = Duration::from_millis(config.nats.request_timeout_ms);
                Events::start(&config.attach.events, nats, &node, patience, &stages.events).await?
            }
            _ => Events::none(),
        };
        // Before anything is dispatched: nothing passes by a plugin that is there.
        let attach = Attach::start(&config.attach, nats.as_ref(), told.clone(), &stages.rest).await?;
        let given = Given {
            data,
            hooks: &attach.hooks,
        };
        let revocations = Arc::<Revocations>::default();
        let auth: Arc<dyn Auth> = Arc::new(Guarded {
            auth: auth::build(&config.auth, &given)?,
            revocations: Arc::clone(&revocations),
        });
        let queue = queue::build(&config.queue, data, nats.as_ref()).await?;
        let store = store::build(&config.store, data).await?;
        told_apart(&*queue, &*store).await?;
        let hub = Arc::new(Hub::new(Arc::clone(&revocations)));
        let topic = topic::build(&config.topic, &config.redis, nats.as_ref(), Arc::clone(&hub) as _).await?;
        let dev = config.auth.is_dev();
        // Before the first session: what these know from here on, no session can miss.
        let rounds = Rounds::begin(Arc::clone(&store), &*topic, Arc::clone(&hub), &config.edge).await?;
        let watch = Watch::begin(Arc::clone(&store), &*topic, Arc::clone(&hub), &config.edge).await?;
        stages.rest.spawn_vital("tail", rounds.run(stages.rest.clone()));
        stages.rest.spawn_vital("revocations", watch.run(stages.rest.clone()));

        let receipts = Receipts::open(
            config.ingest.max_waiting,
            // Alone, nobody else dispatches.
            nats.clone().filter(|_| queue.is_shared()),
            &stages.rest,
        )
        .await?;
        let outcomes = Outcomes::start(Arc::clone(&store), told.clone(), &config.edge, &stages.outcomes);
        for lane in 0..queue.lanes() {
            let dispatcher = Dispatcher {
                lane,
                config: config.dispatch.clone(),
                queue: Arc::clone(&queue),
                kinds: Arc::clone(&kinds),
                store: Arc::clone(&store),
                topic: Arc::clone(&topic),
                events: told.clone(),
                hooks: attach.hooks.clone(),
                receipts: receipts.clone(),
            };
            stages
                .dispatch
                .spawn_vital("dispatch", dispatcher.run(stages.dispatch.clone()));
        }
        stages.rest.spawn_vital(
            "sweep",
            sweep::run(
                config.sweep.clone(),
                Arc::clone(&store),
                told.clone(),
                stages.rest.clone(),
            ),
        );
        let unreached = sweep::Unreached {
            config: config.sweep.clone(),
            age: config.attach.events.unreached_after_ms as i64,
            too_old: config.attach.events.unreached_within_ms as i64,
            store: Arc::clone(&store),
            topic: Arc::clone(&topic),
            told: told.clone(),
        };
        if config.attach.enabled {
            stages.rest.spawn_vital("unreached", unreached.run(stages.rest.clone()));
        }
        stages.rest.spawn_vital(
            "sample",
            sweep::sample(
                Duration::from_millis(config.telemetry.sample_ms),
                Arc::clone(&queue),
                Arc::clone(&store),
                told.clone(),
                stages.rest.clone(),
            ),
        );

        let adapters = [
            ("queue", queue.name()),
            ("record", store.name()),
            ("topic", topic.name()),
            ("tokens", auth.name()),
        ];
        let comings = Comings::new(
            told.clone(),
            Arc::clone(&hub),
            Duration::from_millis(config.attach.events.offline_after_ms),
            config.attach.events.queue,
        );
        if config.attach.enabled {
            let run = comings.clone().run(Arc::clone(&topic), stages.rest.clone());
            stages.rest.spawn_vital("comings", run);
        }
        let edge = Arc::new(Edge {
            rules: Arc::new(Rules::from(&config.session)),
            max_per_user: config.session.max_per_user,
            places: Places::new(config.edge.max_connections),
            admission: Admission::new(&config.edge.admission),
            config: config.edge,
            any_origin: dev,
            auth: Arc::clone(&auth),
            tickets: Arc::clone(&tickets),
            store: Arc::clone(&store),
            topic: Arc::clone(&topic),
            hooks: attach.hooks.clone(),
            hub,
            outcomes,
            told: told.clone(),
            comings,
            tasks: TaskTracker::new(),
        });
        let ready = Arc::new(AtomicBool::new(false));
        let auth_name = auth.name();
        let plugins = attach.office.is_some();
        let api = Api {
            config: config.api,
            auth,
            keys: Arc::clone(&keys),
            open: dev,
            revocations,
            tickets,
            failed: lifecycle.failed.clone(),
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            topic: Arc::clone(&topic),
            attached: attach.office,
            events: told.clone(),
            ready: Arc::clone(&ready),
            probe: Default::default(),
            about: About {
                version: env!("CARGO_PKG_VERSION"),
                auth: auth_name,
                publish: if dev { "open" } else { "key" },
                plugins,
            },
        };
        let over_nats = nats.filter(|_| config.ingest.nats);
        let ingest = Arc::new(Ingest {
            door: Door {
                kinds,
                queue: Arc::clone(&queue),
                store: Arc::clone(&store),
                events: told,
                receipts,
            },
            config: config.ingest,
            keys,
            open: dev,
        });
        let no_tokens = axum::middleware::from_fn_with_state(edge.config.query_token, edge::no_tokens);
        let cors = edge::cross_origin(dev, &edge.config.origins);
        let routes = Router::new()
            .merge(ingest::routes(Arc::clone(&ingest)))
            .merge(api::routes(Arc::new(api)))
            .merge(edge::events(Arc::clone(&edge)))
            .layer(no_tokens.clone())
            .merge(web::routes());
        let doors = http::serve(
            config.http,
            listener,
            // The edge answers for other origins itself.
            http::complete(routes)
                .layer(cors)
                .merge(edge::routes(Arc::clone(&edge)).layer(no_tokens)),
            stages.doors.clone(),
        );
        stages.doors.spawn_vital("doors", doors);
        if let Some(nats) = &over_nats {
            ingest::service::start(ingest, nats, &stages.doors).await?;
        }
        ready.store(true, Ordering::Release);
        Ok(Self {
            address,
            metrics,
            publish: over_nats.map(|nats| subjects::publish(&nats.prefix)),
            adapters,
            ready,
            queue,
            store,
            topic,
            edge,
            stages,
            drain_timeout: Duration::from_millis(config.app.drain_timeout_ms),
        })
    }

    /// Ends everything in order, within the configured time. Says whether all of it was finished.
    pub async fn drain(self) -> bool {
        let limit = self.drain_timeout;
        // A queue or a record that is away must not take the time in which the sessions are sent off.
        let share = limit / 3;
        self.ready.store(false, Ordering::Release);
        let abort = self.stages.rest.abort.clone();
        let steps = async {
            let doors = self.stages.doors.drained(share).await;
            let dispatch = self.stages.dispatch.drained(share).await;
            // What is left of the time belongs to the outcomes.
            let edge = tokio::time::timeout(share, self.edge.drain()).await.is_ok();
            // What was lent to sessions belongs to the doors again, and its last frames are on their way.
            self.stages.doors.drained(FAREWELLS).await;
            let outcomes = self.stages.outcomes.drained(limit).await;
            let rest = self.stages.rest.drained(limit).await;
            // Last: what the others have done is told. Its own end comes soon, also where NATS is away.
            let events = self.stages.events.drained(limit).await;
            self.topic.close().await;
            self.queue.close().await;
            self.store.close().await;
            doors && dispatch && edge && outcomes && rest && events
        };
        tokio::select! {
            done = steps => done,
            () = tokio::time::sleep(limit) => false,
            () = abort.cancelled() => false,
        }
    }
}

/// Says so when the queue is older than the record, as after restoring one without the other: the record takes for settled what it hasn't seen.
async fn told_apart(queue: &dyn Queue, store: &dyn Store) -> anyhow::Result<()> {
    let last = queue.depth().await?.last_sequence;
    for lane in store.lanes().await?.iter().filter(|lane| lane.settled > last) {
        tracing::error!(
            settled = lane.settled,
            last,
            "the queue is older than the record: what is not persisted is dropped until it has caught up; restore both together"
        );
    }
    Ok(())
}
