//! NATS, Redis and PostgreSQL: each takes what `compose.yaml` gives it.

use std::collections::BTreeMap;
use std::process::Command;

use async_nats::jetstream::{self, stream};
use async_nats::{ConnectOptions, Event};
use futures_util::StreamExt;

use super::file::{Compose, seconds, text, venv, words};
use crate::harness::servers::{NatsCluster, Redis};
use crate::harness::{eventually, within};

fn nats(compose: &Compose) -> Vec<(&String, BTreeMap<String, String>)> {
    let names = compose
        .services()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("nats-"));
    names.map(|name| (name, compose.environment(name))).collect()
}

/// As the container runs it: the same file, the same variables. A password that could be a number is a password all the same.
#[test]
fn each_nats_server_takes_its_configuration() {
    let compose = Compose::read();
    let servers = nats(&compose);
    assert_eq!(servers.len(), 3);
    for (name, environment) in &servers {
        let service = compose.service(name);
        let [program, flag, target] = words(&service["command"]).try_into().expect("three words");
        assert_eq!((&*program, &*flag), ("nats-server", "--config"));
        let run = |environment: &BTreeMap<String, String>| {
            let mut command = Command::new(venv(&program));
            command
                .args(["-t", &flag])
                .arg(compose.mounted(name, &target))
                .env_clear()
                .envs(environment);
            let checked = command.output().expect("nats-server runs");
            (
                checked.status.success(),
                String::from_utf8_lossy(&checked.stderr).into_owned(),
            )
        };
        let (taken, said) = run(environment);
        assert!(taken, "{name}: {said}");
        assert_eq!(environment["NATS_NAME"], **name);
        for variable in environment.keys() {
            let mut without = environment.clone();
            without.remove(variable);
            assert!(!run(&without).0, "{variable} is not needed");
        }
        assert_eq!(
            super::file::mounts(service)[0],
            ((*name).clone(), "/data".into()),
            "store_dir is a volume of its own"
        );
    }
    let file = text("config/nats.conf");
    let routes: Vec<_> = servers.iter().map(|(name, _)| format!("nats://{name}:6222")).collect();
    assert!(
        file.contains(&format!("routes: [{}]", routes.join(", "))),
        "each server knows all"
    );
    assert!(
        file.contains("\n    sync_interval: always "),
        "a receipt says replicated, and the disks have it"
    );
    // A server that is stopped goes as a lame duck, and is not killed before it is gone.
    let service = compose.service("nats-1");
    assert_eq!(service["stop_signal"], "SIGUSR2");
    assert!(file.contains("\nlame_duck_duration: 30s ") && seconds(&service["stop_grace_period"]) > 30 + 10);
}

/// The file with the variables put in, run by three real servers on ports of the test.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_do_everything_and_producers_only_publish() {
    let compose = Compose::read();
    let servers = nats(&compose);
    let cluster = NatsCluster::with(&filled(&servers[0].1)).await;
    let password = |name: &str| servers[0].1[name].trim_matches('"').to_owned();
    let (events, mut refused) = tokio::sync::mpsc::unbounded_channel();
    let as_user = |user: &str, password: String| {
        let events = events.clone();
        ConnectOptions::new()
            .user_and_password(user.into(), password)
            .event_callback(move |event| {
                let events = events.clone();
                async move {
                    if let Event::ServerError(error) = event {
                        let _ = events.send(error.to_string());
                    }
                }
            })
    };
    let node = as_user("quick-notify", password("NATS_PASSWORD"))
        .connect(cluster.urls())
        .await
        .expect("a node connects");
    let config = stream::Config {
        name: "IN".into(),
        subjects: vec!["notify.in.>".into(), "notify.door.>".into()],
        num_replicas: 3,
        ..Default::default()
    };
    let jetstream = jetstream::new(node.clone());
    // The three have found each other a moment ago, and may be busy with that for longer than the client waits.
    eventually("a stream that three servers keep", async || {
        jetstream.get_or_create_stream(config.clone()).await.is_ok()
    })
    .await;
    jetstream
        .publish("notify.door.user.alice", "x".into())
        .await
        .expect("sent")
        .await
        .expect("kept");

    let producer = as_user("producer", password("NATS_PRODUCER_PASSWORD"))
        .connect(cluster.urls())
        .await
        .expect("a producer connects");
    let direct = jetstream::new(producer.clone());
    direct
        .publish("notify.in.user.alice", "x".into())
        .await
        .expect("sent")
        .await
        .expect("kept");
    for subject in [
        "notify.door.user.alice",
        "$JS.API.STREAM.DELETE.IN",
        "notify.dead.x",
        "$SRV.INFO",
    ] {
        producer.publish(subject, "x".into()).await.expect("sent");
        let said = within("a refusal", refused.recv()).await.expect("told");
        assert!(
            said.to_lowercase().contains("permissions violation for publish"),
            "{subject}: {said}"
        );
    }
    // The second is where the nodes get their answers, and with them the entries.
    for subject in ["notify.>", "_INBOX_notify.>"] {
        let _ear = producer.subscribe(subject).await.expect("asked");
        let said = within("a refusal", refused.recv()).await.expect("told");
        assert!(
            said.to_lowercase().contains("permissions violation for subscription"),
            "{subject}: {said}"
        );
    }
    assert!(
        ConnectOptions::new().connect(cluster.urls()).await.is_err(),
        "nobody gets in without a password"
    );
}

/// The file as the harness runs it, which gives each server a directory, ports and routes of its own.
fn filled(environment: &BTreeMap<String, String>) -> String {
    let mut file = text("config/nats.conf");
    for (name, value) in environment {
        file = file.replace(&format!("${name}"), value);
    }
    let lines = file.lines().filter(|line| !line.trim().starts_with("store_dir: "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_answer_what_they_are_asked_and_do_nothing_else() {
    let compose = Compose::read();
    let servers = nats(&compose);
    let cluster = NatsCluster::with(&filled(&servers[0].1)).await;
    let (told, mut refused) = tokio::sync::mpsc::unbounded_channel();
    let connect = async |user: &str, password: &str| {
        let password = servers[0].1[password].trim_matches('"').to_owned();
        let told = told.clone();
        let options = ConnectOptions::new()
            .user_and_password(user.into(), password)
            .custom_inbox_prefix(format!(
                "_INBOX_{}",
                if user == "quick-notify" { "notify" } else { user }
            ))
            .event_callback(move |event| {
                let told = told.clone();
                async move {
                    if let Event::ServerError(error) = event {
                        let _ = told.send(error.to_string().to_lowercase());
                    }
                }
            });
        options.connect(cluster.urls()[0].clone()).await.expect("it connects")
    };
    let node = connect("quick-notify", "NATS_PASSWORD").await;
    let plugin = connect("groups", "NATS_GROUPS_PASSWORD").await;

    let mut questions = plugin
        .queue_subscribe("notify.hook.groups.review", "q".into())
        .await
        .expect("asked");
    for subject in ["$SRV.INFO", "$SRV.INFO.groups", "$SRV.INFO.groups.an-id"] {
        let _ear = plugin.subscribe(subject).await.expect("asked");
    }
    plugin.flush().await.expect("heard");
    let asking = tokio::spawn({
        let node = node.clone();
        async move { node.request("notify.hook.groups.review", "?".into()).await }
    });
    let question = within("a question", questions.next()).await.expect("one");
    let reply = question.reply.expect("where to");
    plugin.publish(reply.clone(), "!".into()).await.expect("sent");
    let answer = within("the answer", asking)
        .await
        .expect("no panic")
        .expect("an answer");
    assert_eq!(&answer.payload[..], b"!");

    // The same place once more, and the inbox of somebody who didn't ask.
    let others_inbox = node.new_inbox();
    let subjects = [
        &*reply,
        &*others_inbox,
        "notify.door.user.alice",
        "notify.in.user.alice",
        "notify.publish",
        "notify.event.stored.alice",
        "notify.hook.censor.review",
        "notify.topic.all",
        "notify.dead.x",
        "$SRV.INFO",
        "$JS.API.STREAM.DELETE.notify-events",
    ];
    for subject in subjects {
        plugin.publish(subject.to_owned(), "x".into()).await.expect("sent");
        let said = within("a refusal", refused.recv()).await.expect("told");
        assert!(said.contains("permissions violation for publish"), "{subject}: {said}");
    }
    let ears = [
        "notify.hook.censor.review",
        "notify.hook.>",
        "notify.>",
        "_INBOX_notify.>",
        "_INBOX.>",
        "$SRV.INFO.censor",
        "notify.event.stored.>",
        ">",
    ];
    for subject in ears {
        let _ear = plugin.subscribe(subject).await.expect("asked");
        let said = within("a refusal", refused.recv()).await.expect("told");
        assert!(
            said.contains("permissions violation for subscription"),
            "{subject}: {said}"
        );
    }

    let webpush = connect("webpush", "NATS_WEBPUSH_PASSWORD").await;
    let mut events = webpush.subscribe("notify.event.unreached.>").await.expect("asked");
    webpush.flush().await.expect("heard");
    node.publish("notify.event.unreached.alice", "!".into())
        .await
        .expect("sent");
    assert!(within("an event", events.next()).await.is_some());
    let _ear = webpush.subscribe("notify.event.stored.>").await.expect("asked");
    let said = within("a refusal", refused.recv()).await.expect("told");
    assert!(said.contains("permissions violation for subscription"), "{said}");

    // From the stream, by a durable that was made for it.
    let config = stream::Config {
        name: "notify-events".into(),
        subjects: vec!["notify.event.stored.>".into()],
        ..Default::default()
    };
    let jetstream = jetstream::new(node.clone());
    eventually("a stream", async || {
        jetstream.get_or_create_stream(config.clone()).await.is_ok()
    })
    .await;
    let stream = jetstream
        .get_stream_no_info("notify-events")
        .await
        .expect("it is there");
    let durable = jetstream::consumer::pull::Config {
        durable_name: Some("webhook".into()),
        ..Default::default()
    };
    stream.create_consumer(durable.clone()).await.expect("a durable");
    jetstream
        .publish("notify.event.stored.alice", "!".into())
        .await
        .expect("sent")
        .await
        .expect("kept");
    let webhook = connect("webhook", "NATS_WEBHOOK_PASSWORD").await;
    let own = jetstream::new(webhook.clone())
        .get_stream_no_info("notify-events")
        .await
        .expect("it is there");
    let consumer: jetstream::consumer::PullConsumer = own.get_consumer("webhook").await.expect("it is there");
    let mut messages = consumer.messages().await.expect("messages");
    let message = within("an event", messages.next()).await.expect("one").expect("well");
    within("an ack", message.double_ack()).await.expect("taken");
    drop(messages);
    let other = jetstream::consumer::pull::Config {
        durable_name: Some("other".into()),
        ..durable
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), own.create_consumer(other)).await;
    let said = within("a refusal", refused.recv()).await.expect("told");
    assert!(
        said.contains("permissions violation for publish") && said.contains("consumer"),
        "{said}"
    );
}

#[tokio::test]
async fn redis_takes_its_arguments_and_keeps_nothing() {
    let compose = Compose::read();
    let words = words(&compose.service("redis")["command"]);
    assert_eq!(words[0], "redis-server");
    let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
    let redis = Redis::with(&arguments).await;
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
    for (name, value) in [
        ("save", ""),
        ("appendonly", "no"),
        ("maxmemory", "268435456"),
        ("maxmemory-policy", "noeviction"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
    ] {
        let (_, got): (String, String) = redis::cmd("CONFIG")
            .arg("GET")
            .arg(name)
            .query_async(&mut connection)
            .await
            .expect("it tells");
        assert_eq!(got, value, "{name}");
    }
}
