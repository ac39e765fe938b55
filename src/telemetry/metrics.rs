//! The one table of metric names. Labels are closed sets: never a user, a session or an id.

use std::net::SocketAddr;
use std::time::Duration;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::http;
use crate::lifecycle::Lifecycle;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Seconds,
}

/// One line of the table.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

macro_rules! table {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = concat!("quick_notify_", $name);)*
        /// Every metric of the process.
        pub const TABLE: &[Metric] = &[$(Metric { name: $constant, kind: Kind::$kind, help: $help }),*];
    };
}

table! {
    ACCEPTED = Counter "accepted_total" "Notifications that the queue took, by audience (user, topic, everyone).";
    REFUSED = Counter "refused_total" "Notifications refused at the door, by code.";
    STORED = Counter "stored_total" "Notifications that entered the record.";
    DUPLICATES = Counter "duplicates_total" "Notifications whose id was known with the same body.";
    DEAD_LETTERS = Counter "dead_letters_total" "Queue entries that can never pass, by reason.";
    DELIVERED = Counter "delivered_total" "First deliveries to a session.";
    RESENT = Counter "resent_total" "Further deliveries of the same notification to the same session.";
    BROADCAST = Counter "broadcast_total" "Deliveries that ask for no confirmation (topics and broadcasts).";
    GIVEN_UP = Counter "given_up_total" "Deliveries whose attempts or time ran out; the row stays in the inbox.";
    ACKED = Counter "acked_total" "Notifications confirmed for the first time.";
    ENDED = Counter "ended_total" "Outcomes written, by outcome.";
    SESSIONS = Gauge "sessions" "Sessions that are connected.";
    CONNECTIONS = Gauge "connections" "Transport connections that are open, authenticated or not.";
    ADMITTED = Counter "admitted_total" "CONNECTs whose turn came; what became of them then is another matter.";
    ADMISSION_WAITING = Gauge "admission_waiting" "Clients that said CONNECT and wait for their turn (edge.admission).";
    ADMISSION_WAIT = Seconds "admission_wait_seconds" "From CONNECT to the turn.";
    SENT_AWAY = Counter "sent_away_total" "CONNECTs that were asked to come back later, since the queue was full. For a while after a restart is health; always is too few nodes, or edge.admission.per_second too low.";
    SESSIONS_REFUSED = Counter "sessions_refused_total" "Requests for a session that were refused before it began, by reason (no-place: edge.max_connections; origin: edge.origins; draining).";
    OPENED = Counter "sessions_opened_total" "Sessions opened, by what their clients speak (a version of STOMP, or events).";
    CLOSED = Counter "connections_closed_total" "Connections closed, by reason.";
    DROPPED = Counter "dropped_total" "Deliveries without a record that a full window or mailbox lost.";
    BELLS_LOST = Counter "bells_lost_total" "Publications to the topic that failed; every node looks into the record instead.";
    TOPIC_UP = Gauge "topic_up" "1 while this node hears what is published on the topic; at 0 its sessions are rung from the record, up to 2 s late. Alert on 0 for a minute.";
    TOPIC_BREAKS = Counter "topic_breaks_total" "How often the line to the topic went down. Now and then is a restart of its server; often is a network or a node that can't keep up.";
    TOPIC_PUBLISHED = Counter "topic_published_total" "Envelopes published on the topic.";
    TOPIC_HEARD = Counter "topic_heard_total" "Envelopes heard from the topic.";
    TOPIC_UNREAD = Counter "topic_unread_total" "What came over the topic and was dropped, by reason (version, too-large, malformed).";
    TOPIC_CHANNELS = Gauge "topic_channels" "Users whose channel this node is subscribed to.";
    ROLL_ALONE = Counter "roll_alone_total" "Sessions admitted by this node's count alone, since the cluster's roll was away.";
    ROLL_LAPSED = Counter "roll_lapsed_total" "How often this node's lease on the roll had ended, and it entered anew.";
    ROLL_GIVEN_UP = Counter "roll_given_up_total" "Sessions closed because the cluster's roll, at its return, had more of the user than the cap.";
    TAIL_RUNG = Counter "tail_rung_total" "Bells that this node's tail rang from the record, because the topic may not have. 0 in health.";
    REVOCATIONS = Gauge "revocations" "Revocations that this node holds. Alert near api.max_revocations, at which further ones are refused.";
    LANES_GIVEN_BACK = Counter "lanes_given_back_total" "How often this node gave a lane to another one, since the record failed here. 0 in health; where all nodes do it, it is the record.";
    QUEUE_PENDING = Gauge "queue_pending" "Entries that wait in the queue.";
    QUEUE_SEQUENCE = Gauge "queue_last_sequence" "Highest sequence that the queue has given.";
    RECORD_OPEN = Gauge "record_open" "Notifications in the record without an outcome.";
    RECORD_TALLY = Gauge "record_tally" "Tallies of the record's lanes: stored, duplicates, transient, refused, and each outcome.";
    RECORD_ERRORS = Counter "record_errors_total" "Calls to the record that failed, by verb.";
    HOOK_SECONDS = Seconds "hook_seconds" "What a question to a plugin's hook takes, the wait for a place included, by plugin and hook; without those that were never asked.";
    HOOK_FAILED = Counter "hook_failed_total" "Questions to a plugin's hook that got no answer that counts, by plugin, hook and reason (timeout, absent, open, busy, too-large, bad-json, bad-version, bad-id, bad-reply, error, unavailable, disabled).";
    COMMANDS_REFUSED = Counter "commands_refused_total" "Commands of clients that no plugin was asked about, by reason (too-large, too-many, busy, unknown-command, unavailable).";
    HOOK_OPEN = Gauge "hook_open" "1 while a hook is left alone because it failed again and again, by plugin and hook.";
    PLUGIN_INSTANCES = Gauge "plugin_instances" "Instances of a plugin that are attached, by plugin.";
    PLUGIN_REFUSED = Counter "plugin_refused_total" "Instances of a plugin that may not attach as they are, by plugin; the log and `quick-notify plugins inspect` say why.";
    PLUGIN_ANSWERS_REFUSED = Counter "plugin_answers_refused_total" "Answers to the question about a plugin that were not looked at, by plugin and reason (flood: more than attach.max_instances, once for all that were cut off; misnamed; unreadable).";
    EVENTS_TOLD = Counter "events_told_total" "Events that were published for plugins, or that the stream has, by kind.";
    EVENTS_LOST = Counter "events_lost_total" "Events that nobody will be told of, by kind and reason (queue-full: attach.events.queue or queue_octets; too-large; refused; drain; backlog: too many users went at once).";
    EVENTS_WAITING = Gauge "events_waiting" "Events that wait to be published. Grows while NATS is away or slow; at attach.events.queue further ones are lost.";
    EVENT_STREAM_ERRORS = Counter "event_stream_errors_total" "Tries to put an event into the stream that failed, by kind; each is tried again.";
    REVIEWED = Counter "reviewed_total" "Notifications that a plugin reviewed, by plugin and verdict (pass, change, reject, route; passed-over and unreviewed: it failed, and they passed or became dead letters).";
    ROUTED = Counter "routed_total" "Copies of notifications that a plugin routed to others, by plugin.";
    ROUTES_WAITED = Counter "routes_waited_total" "How often copies of what a plugin routed had to wait since the queue was full or away, by plugin.";
    REVIEW_RETRIED = Counter "review_retried_total" "Notifications that a plugin was, or is to be, asked about again, by plugin.";
    REVIEW_HELD = Gauge "review_held" "Notifications that wait, and hold up their lanes, until a plugin answers (on_failure = retry), by plugin.";
    ACCEPT_TO_STORED = Seconds "accept_to_stored_seconds" "From acceptance to the commit in the record.";
    ACCEPT_TO_DELIVERED = Seconds "accept_to_delivered_seconds" "From acceptance to the first delivery to a live session.";
    ACCEPT_TO_ACKED = Seconds "accept_to_acked_seconds" "From acceptance to the first confirmation.";
    BUILD = Gauge "build_info" "1, with the version as a label.";
}

/// Bounds of the latency histograms, in seconds.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// Installs the recorder of this process; `None` when one is installed already.
pub fn install() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .ok()?
        .install_recorder()
        .ok()?;
    for metric in TABLE {
        match metric.kind {
            Kind::Counter => {
                describe_counter!(metric.name, metric.help);
                // A counter without labels exists from the start, so that a rate over it is 0 and not absent.
                if !metric.help.contains(", by ") {
                    ::metrics::counter!(metric.name).absolute(0);
                }
            }
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Seconds => describe_histogram!(metric.name, Unit::Seconds, metric.help),
        }
    }
    ::metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    ::metrics::gauge!(SESSIONS).set(0.0);
    ::metrics::gauge!(CONNECTIONS).set(0.0);
    ::metrics::gauge!(ADMISSION_WAITING).set(0.0);
    Some(handle)
}

/// Serves `/metrics` on `listen` until the drain; answers with the address that was bound. Within the same times as every other door.
pub fn serve(
    listen: SocketAddr,
    config: &http::Config,
    handle: PrometheusHandle,
    lifecycle: &Lifecycle,
) -> std::io::Result<SocketAddr> {
    const EVERY: Duration = Duration::from_secs(5);
    /// Collectors are few.
    const MOST_CONNECTIONS: usize = 64;
    let config = http::Config {
        max_connections: config.max_connections.min(MOST_CONNECTIONS),
        ..config.clone()
    };
    let listener = http::listen(listen, &config)?;
    let address = listener.local_addr()?;
    let upkeep = handle.clone();
    let drain = lifecycle.drain.clone();
    lifecycle.spawn(async move {
        // Without upkeep, samples of the histograms would pile up until the next scrape.
        while drain.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    let page = move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()) };
    let routes = http::complete(Router::new().route("/metrics", get(page)));
    lifecycle.spawn(http::serve(config, listener, routes, lifecycle.clone()));
    Ok(address)
}
