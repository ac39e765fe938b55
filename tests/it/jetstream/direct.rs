//! What producers publish past the doors.

use async_nats::HeaderMap;
use quick_notify::queue::{DeadLetter, Source};
use quick_notify::subjects;

use super::*;
use crate::harness::servers;

const ODD: [&str; 10] = [".", " ", "*", ">", "a.b", "a b ", "Ünal 🦀", "=2E", "..", "$JS"];

fn four_lanes() -> jetstream::Config {
    jetstream::Config {
        partitions: 4,
        ..one_lane()
    }
}

/// Everything of all lanes, with the lane.
async fn everything(queue: &Arc<dyn Queue>, count: usize) -> Vec<(u32, Entry)> {
    let (sender, mut entries) = tokio::sync::mpsc::unbounded_channel();
    for lane in 0..queue.lanes() {
        let (queue, sender) = (Arc::clone(queue), sender.clone());
        tokio::spawn(async move {
            queue.hold(lane).await.expect("held");
            let most = Most {
                entries: 100,
                bytes: 1_000_000,
            };
            while let Ok(entries) = queue.next(lane, most).await
                && !entries.is_empty()
            {
                for entry in entries {
                    let _ = sender.send((lane, entry));
                }
            }
        });
    }
    let mut got = Vec::new();
    while got.len() < count {
        got.push(within("an entry", entries.recv()).await.expect("open"));
    }
    got
}

#[tokio::test]
async fn any_receiver_is_legal_and_has_one_lane_whichever_way_it_comes() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let queue = node(&urls, four_lanes()).await;
    let client = connect(&urls).await.client;
    let context = async_nats::jetstream::new(client.clone());
    for name in ODD {
        let subject = subjects::direct("notify", "user", name);
        let ack = context.publish(subject, name.into()).await.expect("sent");
        ack.await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let door = NewEntry {
            id: format!("door {name}"),
            to: Audience::User(name.into()),
            payload: name.into(),
            ..entry(0)
        };
        queue.publish(vec![door]).await.remove(0).expect("published");
    }
    let got = everything(&queue, 2 * ODD.len()).await;
    for name in ODD {
        let of_name: Vec<_> = got.iter().filter(|(_, entry)| entry.payload == name).collect();
        let [(first, direct), (second, door)] = of_name[..] else {
            panic!("{name:?}: {of_name:?}");
        };
        assert_eq!(first, second, "{name:?}");
        assert!(direct.sequence < door.sequence);
        assert!(matches!(door.source, Source::Door));
        let Source::Direct(direct) = &direct.source else {
            panic!("{direct:?}");
        };
        assert_eq!(direct.to, Some(Audience::User(name.into())));
    }
    let lanes: std::collections::BTreeSet<_> = got.iter().map(|(lane, _)| lane).collect();
    assert!(lanes.len() > 1, "the receivers are spread");
    // An empty token is no subject at all.
    let refused = context.publish("notify.in.user.", "x".into()).await;
    let refused = match refused {
        Ok(ack) => ack.await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test]
async fn for_whom_a_draft_is_says_its_subject() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let queue = node(&urls, one_lane()).await;
    let context = async_nats::jetstream::new(connect(&urls).await.client);
    let expected = [
        (
            subjects::direct("notify", "topic", "orders.new"),
            Some(Audience::Topic("/topic/orders.new".into())),
        ),
        (subjects::direct("notify", "everyone", "x1"), Some(Audience::Everyone)),
        ("notify.in.group.x".into(), None),
        ("notify.in.user.=2".into(), None),
    ];
    for (subject, _) in &expected {
        let ack = context.publish(subject.clone(), "{}".into()).await.expect("sent");
        ack.await.expect("taken");
    }
    hold(&*queue).await;
    for ((subject, to), entry) in expected.iter().zip(gather(&*queue, 4).await) {
        let Source::Direct(direct) = &entry.source else {
            panic!("{entry:?}");
        };
        assert_eq!(direct.to, *to, "{subject}");
    }
}

#[tokio::test]
async fn a_draft_without_an_id_gets_the_same_one_at_every_delivery() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let queue = node(&urls, one_lane()).await;
    let context = async_nats::jetstream::new(connect(&urls).await.client);
    for id in [None, None, Some("order-1"), Some("tab\tin it")] {
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert("Nats-Msg-Id", id);
        }
        let subject = subjects::direct("notify", "user", "alice");
        let ack = context.publish_with_headers(subject, headers, "{}".into()).await;
        ack.expect("sent").await.expect("taken");
    }
    let ids = async || -> Vec<String> {
        hold(&*queue).await;
        let entries = gather(&*queue, 4).await;
        let id = |entry: Entry| match entry.source {
            Source::Direct(direct) => direct.fallback_id,
            Source::Door => panic!("from a door"),
        };
        entries.into_iter().map(id).collect()
    };
    let first = ids().await;
    assert!(first[0].starts_with("ntf_j") && first[0].len() < 64, "{first:?}");
    assert_ne!(first[0], first[1]);
    assert_eq!(first[2], "order-1");
    assert!(first[3].starts_with("ntf_j"), "{first:?}");
    assert_eq!(ids().await, first, "the same at the second delivery");
}

#[tokio::test]
async fn a_dead_letter_tells_where_it_came_from_and_comes_again_under_its_id() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let queue = node(&urls, one_lane()).await;
    let context = async_nats::jetstream::new(connect(&urls).await.client);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order-1");
    headers.insert("Trace", "abc");
    let subject = subjects::direct("notify", "user", "a.b");
    let ack = context
        .publish_with_headers(subject.clone(), headers, "no JSON\u{7}".into())
        .await;
    ack.expect("sent").await.expect("taken");
    hold(&*queue).await;
    let entry = gather(&*queue, 1).await.remove(0);
    let letter = DeadLetter {
        sequence: entry.sequence,
        id: "order-1".into(),
        reason: "invalid",
        detail: "line 1\nline 2 🦀".into(),
        payload: entry.payload,
    };
    queue.settle(0, 1, vec![letter]).await.expect("settled");
    let kept = queue.dead(0, 10).await.expect("letters").remove(0);
    assert_eq!(kept.subject.as_deref(), Some(&*subject));
    assert_eq!(
        kept.headers,
        [
            ("Nats-Msg-Id".to_owned(), "order-1".to_owned()),
            ("Trace".to_owned(), "abc".to_owned()),
        ]
    );
    assert_eq!((&*kept.detail, &*kept.id), ("line 1 line 2 🦀", "order-1"));
    assert_eq!(kept.payload, "no JSON\u{7}");
    assert!(
        queue.replay(kept.number).await.expect("replayed"),
        "within the duplicate window, too"
    );
    let again = gather(&*queue, 1).await.remove(0);
    let Source::Direct(direct) = again.source else {
        panic!("from a door");
    };
    assert_eq!(
        (direct.to, &*direct.fallback_id),
        (Some(Audience::User("a.b".into())), "order-1")
    );
    assert_eq!(again.payload, "no JSON\u{7}");
    assert!(queue.dead(0, 10).await.expect("letters").is_empty());
}

/// NATS would refuse what came with as much as it takes and has the letter's own headers besides, and the lane would stand still.
#[tokio::test]
async fn a_dead_letter_that_is_too_large_is_cut_and_holds_up_nobody() {
    // A server's max_payload, so many headers, a body so long: what is left of the body, and whether the headers are.
    let table = [
        ("max_payload: 64KB", 0, 65_480, true, false),
        ("max_payload: 64KB", 3_000, 20_000, false, false),
        ("max_payload: 64KB", 3_000, 28_000, false, false),
        ("max_payload: 64KB", 10, 20_000, false, true),
        // A stream takes 64 KiB of headers, whatever the server takes.
        ("", 5_000, 20_000, false, false),
    ];
    for (lines, count, length, is_cut, has_all) in table {
        let server = servers::Nats::with(lines).await;
        let urls = [server.url()];
        let queue = node(&urls, one_lane()).await;
        let context = async_nats::jetstream::new(connect(&urls).await.client);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "order-1");
        for number in 0..count {
            headers.insert(format!("A{number}"), "x");
        }
        let body = "x".repeat(length);
        for (headers, body) in [(headers, &*body), (HeaderMap::new(), "good")] {
            let subject = subjects::direct("notify", "user", "alice");
            let ack = context.publish_with_headers(subject, headers, body.to_owned().into());
            ack.await.expect("sent").await.expect("taken");
        }
        hold(&*queue).await;
        let entry = gather(&*queue, 1).await.remove(0);
        let letter = DeadLetter {
            sequence: entry.sequence,
            id: "order-1".into(),
            reason: "unreadable",
            detail: "\u{e9}".repeat(100_000),
            payload: entry.payload,
        };
        queue.settle(0, 1, vec![letter]).await.expect("settled");
        let good = gather(&*queue, 1).await.remove(0);
        assert_eq!((good.sequence, &*good.payload), (2, &b"good"[..]));
        queue.settle(0, 2, Vec::new()).await.expect("settled");
        settled(&*queue).await;

        let kept = queue.dead(0, 10).await.expect("letters").remove(0);
        assert_eq!((&*kept.id, &*kept.reason), ("order-1", "unreadable"));
        let id = ("Nats-Msg-Id".to_owned(), "order-1".to_owned());
        assert!(kept.headers.contains(&id), "{:?}", kept.headers);
        assert_eq!(kept.headers.len() == count + 1, has_all || count == 0);
        let replayed = queue.replay(kept.number).await;
        if is_cut {
            assert_eq!(kept.truncated, Some(length as u64));
            assert!((40_000..length).contains(&kept.payload.len()));
            let error = replayed.expect_err("it is not whole").to_string();
            assert!(error.contains("only the first"), "{error}");
        } else {
            assert_eq!((kept.truncated, kept.payload.len()), (None, length));
            assert!(replayed.expect("replayed"));
            let Source::Direct(direct) = gather(&*queue, 1).await.remove(0).source else {
                panic!("from a door");
            };
            assert_eq!(direct.fallback_id, "order-1");
        }
    }
}

/// Producers have to hear their own answers, and with `_INBOX.>` they would hear the nodes' entries.
#[tokio::test]
async fn what_a_node_is_given_is_not_heard_at_the_inboxes_of_producers() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let producer = async_nats::connect(&urls[..]).await.expect("a connection");
    let mut ear = producer.subscribe("_INBOX.>").await.expect("an ear");
    producer.flush().await.expect("subscribed");
    let queue = node(&urls, one_lane()).await;
    publish(&*queue, 1..=3).await;
    hold(&*queue).await;
    gather(&*queue, 3).await;
    queue.settle(0, 3, Vec::new()).await.expect("settled");
    settled(&*queue).await;
    producer.publish("_INBOX.end", "".into()).await.expect("sent");
    let heard = within("the end", futures_util::StreamExt::next(&mut ear)).await;
    assert_eq!(&*heard.expect("open").subject, "_INBOX.end");
}
