//! What a plugin routes: to each receiver once, whatever happens in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::checker::Record;

const GROUPS: (&str, &str) = ("attach.plugins.groups", r#"{hooks=["review"],receivers=["test:*"]}"#);

fn route(receivers: &[&str]) -> Value {
    json!({"verdict": "route", "receivers": receivers})
}

#[tokio::test]
async fn the_members_of_a_group_get_it_and_the_group_does_not() {
    let nats = Nats::start().await;
    let mut server = beside(&nats, &[GROUPS]).await;
    let groups = Plugin::named("groups").hook("review", |question| {
        verdicts(question, |text| match text {
            "nobody" => route(&[]),
            _ => route(&["test1", "test:ops", "test2", "test1"]),
        })
    });
    let groups = groups.start(&nats).await;
    server.sees("groups", "attached").await;
    let mut tabs = Vec::new();
    for user in ["test1", "test2", "test:ops"] {
        tabs.push(Tab::listen(&server, user, None).await);
    }
    let answer = stored(&server, json!({"receiver": "test:ops", "data": "disk", "id": "d"})).await;
    let receipt = answer.json();
    assert_eq!(
        (answer.status, &receipt["state"], &receipt["copies"]),
        (200, &json!("routed"), &json!(3))
    );
    let empty = stored(&server, json!({"receiver": "test:ops", "data": "nobody"})).await;
    let expected = json!({"error": {"code": "rejected", "reason": "it was routed to nobody", "plugin": "groups"}});
    assert_eq!((empty.status, empty.json()), (422, expected));
    for tab in &mut tabs {
        let delivery = tab.delivery().await;
        assert_eq!((delivery.data(), delivery.seq), ("disk".to_owned(), Some(1)));
        assert!(delivery.id.starts_with("ntf_r"), "{}", delivery.id);
        tab.ack(&delivery.id).await;
        tab.is_quiet().await;
    }
    // The copy for the group's own name was not shown to its router again.
    assert_eq!(shown(&groups), ["disk", "nobody"]);

    // Sent again, when the queue has forgotten it or not: nobody gets a second one.
    let again = json!({"receiver": "test:ops", "data": "disk", "id": "d"}).to_string();
    server.post("/api/notify", &[], again).await;
    stored(&server, json!({"receiver": "test:ops", "data": "nobody"})).await;
    for user in ["test1", "test2", "test:ops"] {
        assert_eq!(inbox(&server, user).await, ["disk"]);
    }
    eventually("an empty queue", || async {
        server.metric("quick_notify_queue_pending").await == 0.0
    })
    .await;
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(Record::of(&server).await.check(&[], &[]), Vec::<String>::new());
}

#[tokio::test]
async fn a_later_plugin_sees_the_copies_and_an_earlier_one_does_not() {
    let nats = Nats::start().await;
    let names = ["first", "groups", "last"];
    let allowed = names.map(|name| (format!("attach.plugins.{name}"), r#"{hooks=["review"]}"#));
    let allowed: Vec<_> = allowed.iter().map(|(path, table)| (&**path, *table)).collect();
    let server = beside(&nats, &allowed).await;
    let sign = |word: &'static str| {
        move |question: &Value| {
            verdicts(
                question,
                |text| json!({"verdict": "change", "data": format!("{text} {word}")}),
            )
        }
    };
    let first = Plugin::named("first")
        .says("order", "1")
        .hook("review", sign("first"))
        .start(&nats)
        .await;
    let _groups = Plugin::named("groups")
        .says("order", "2")
        .says("receivers", "test:*")
        .hook("review", |question| verdicts(question, |_| route(&["test1", "test2"])))
        .start(&nats)
        .await;
    let last = Plugin::named("last")
        .says("order", "3")
        .hook("review", sign("last"))
        .start(&nats)
        .await;
    for name in names {
        server.sees(name, "attached").await;
    }
    let answer = stored(&server, json!({"receiver": "test:ops", "data": "x"})).await;
    assert_eq!(answer.json()["state"], "routed");
    for user in ["test1", "test2"] {
        eventually("the copy", async || inbox(&server, user).await == ["x first last"]).await;
    }
    assert_eq!(shown(&first), ["x"]);
    assert_eq!(shown(&last), ["x first", "x first"]);
}

#[tokio::test]
async fn a_large_group_comes_in_pages() {
    let nats = Nats::start().await;
    let bounds = [
        ("attach.hooks.max_receivers", "1200"),
        ("attach.hooks.max_pages", "4"),
        ("attach.plugins.groups", r#"{hooks=["review"],on_failure="reject"}"#),
    ];
    let server = beside(&nats, &bounds).await;
    let pages = |count: u64, size: usize| {
        move |question: &Value| {
            let next = question["page"]["next"].as_str().unwrap_or("0");
            let page: u64 = next.parse().expect("as it was said");
            let names: Vec<String> = (0..size).map(|n| format!("testm{page}-{n}")).collect();
            let mut answer = json!({"receivers": names});
            if page + 1 < count {
                answer["next"] = json!((page + 1).to_string());
            }
            if question["page"].is_object() {
                assert_eq!(question["page"]["notification"]["data"], "all");
                return Reply::Json(answer);
            }
            verdicts(question, |_| {
                let mut verdict = answer.clone();
                verdict["verdict"] = json!("route");
                verdict
            })
        }
    };
    let draft = json!({"receiver": "test:all", "data": "all"});
    {
        let _groups = Plugin::named("groups").hook("review", pages(4, 300)).start(&nats).await;
        server.sees("groups", "attached").await;
        let receipt = stored(&server, draft.clone()).await.json();
        assert_eq!(
            (&receipt["state"], &receipt["copies"]),
            (&json!("routed"), &json!(1200)),
            "{receipt}"
        );
        eventually("all copies", || async {
            server.metric("quick_notify_stored_total").await == 1200.0
        })
        .await;
        assert_eq!(inbox(&server, "testm3-299").await, ["all"]);
    }
    server.sees("groups", "absent").await;
    for (count, size, reason) in [
        (5, 1, "more than 4 pages"),
        (2, 601, "more receivers than attach.hooks.max_receivers"),
        (1, 1201, "more receivers than attach.hooks.max_receivers"),
    ] {
        let _groups = Plugin::named("groups")
            .hook("review", pages(count, size))
            .start(&nats)
            .await;
        server.sees("groups", "attached").await;
        let answer = stored(&server, draft.clone()).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (422, &json!("unreviewed"))
        );
        assert!(answer.text.contains(reason), "{}", answer.text);
        drop(_groups);
        server.sees("groups", "absent").await;
    }
    assert_eq!(server.metric("quick_notify_stored_total").await, 1200.0);
}

/// The copies are queued, the original is not settled: it is routed again by the next process.
#[tokio::test]
async fn a_kill_between_the_copies_and_the_original_gives_nobody_two() {
    let nats = Nats::start().await;
    let groups = (
        "attach.plugins.groups",
        r#"{hooks=["review"],on_failure="retry",required=true}"#,
    );
    let mut server = beside(&nats, &[groups, ("attach.hooks.breaker_failures", "10000")]).await;
    let (gate, brake) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let plugin = Plugin::named("groups").says("max-batch", "1").hook("review", {
        let (gate, brake) = (Arc::clone(&gate), Arc::clone(&brake));
        move |question| {
            let text = question["notifications"][0]["data"].as_str().expect("a text");
            match text {
                "gate" if !gate.load(Ordering::SeqCst) => Reply::Error(503, "not yet"),
                "brake" if !brake.load(Ordering::SeqCst) => Reply::Error(503, "not yet"),
                "all" => verdicts(question, |_| route(&["test1", "test2"])),
                _ => verdicts(question, |_| pass()),
            }
        }
    });
    let plugin = plugin.start(&nats).await;
    server.sees("groups", "attached").await;
    // Behind the gate the other two gather, so that they are of one batch.
    server.publish(json!({"receiver": "test:ops", "data": "gate"})).await;
    held(&server, 1.0).await;
    server
        .publish(json!([{"receiver": "test:ops", "data": "all"}, {"receiver": "test:ops", "data": "brake"}]))
        .await;
    gate.store(true, Ordering::SeqCst);
    eventually("the copies in the queue", || async {
        server.metric("quick_notify_queue_last_sequence").await == 5.0
    })
    .await;
    held(&server, 1.0).await;
    assert_eq!(server.metric("quick_notify_stored_total").await.min(1.0), 1.0);
    server.kill9().await;
    brake.store(true, Ordering::SeqCst);
    server.restart().await;
    for user in ["test1", "test2"] {
        eventually("the copy", async || inbox(&server, user).await == ["all"]).await;
    }
    eventually("an empty queue", || async {
        server.metric("quick_notify_queue_pending").await == 0.0
    })
    .await;
    assert_eq!(inbox(&server, "test:ops").await, ["gate", "brake"]);
    for user in ["test1", "test2"] {
        assert_eq!(inbox(&server, user).await, ["all"]);
    }
    let routed = shown(&plugin).iter().filter(|text| *text == "all").count();
    assert!(routed >= 2, "it was routed again: {routed}");
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(Record::of(&server).await.check(&[], &[]), Vec::<String>::new());
}
