//! SUBSCRIBE and UNSUBSCRIBE.

use quick_notify::session::Config;

use super::story::Story;

#[test]
fn a_topic_is_heard_from_its_first_subscription_to_its_last() {
    let mut alice = Story::connected("1.2");
    alice.says("SUBSCRIBE id:a destination:/topic/news receipt:r1");
    alice.says("SUBSCRIBE id:b destination:/topic/news");
    assert_eq!(alice.asked(), ["listen /topic/news"]);
    alice.topic("/topic/news", "ntf_1");
    assert_eq!(
        alice.sent(),
        [
            "RECEIPT r1",
            "MESSAGE ntf_1 attempt=1 to=a",
            "MESSAGE ntf_1 attempt=1 to=b"
        ]
    );
    assert_eq!(alice.header("destination"), Some("/topic/news"));
    alice.says("UNSUBSCRIBE id:a");
    alice.topic("/topic/news", "ntf_2");
    assert_eq!(alice.sent(), ["MESSAGE ntf_2 attempt=1 to=b"]);
    assert_eq!(alice.asked(), [""; 0]);
    alice.says("UNSUBSCRIBE id:b receipt:r2");
    assert_eq!(alice.asked(), ["unlisten /topic/news"]);
    alice.topic("/topic/news", "ntf_3");
    assert_eq!(alice.sent(), ["RECEIPT r2"]);
}

#[test]
fn a_broadcast_reaches_the_personal_queue_alone() {
    let mut alice = Story::listening("1.2", "auto");
    alice.says("SUBSCRIBE id:t destination:/topic/news");
    alice.broadcast("ntf_b");
    assert_eq!(alice.sent(), ["MESSAGE ntf_b attempt=1"]);
    assert_eq!(alice.header("destination"), Some("/user/queue/msg"));
    assert_eq!(alice.header("seq"), None);
}

#[test]
fn ids_are_given_once() {
    let mut alice = Story::listening("1.2", "auto");
    alice.says("SUBSCRIBE id:sub-0 destination:/topic/news receipt:r1");
    assert_eq!(alice.sent(), ["ERROR bad-state receipt=r1", "close bad-state"]);
    let mut alice = Story::listening("1.2", "auto");
    alice.says("UNSUBSCRIBE id:sub-0");
    alice.says("SUBSCRIBE id:sub-0 destination:/topic/news receipt:r1");
    assert_eq!(alice.sent(), ["RECEIPT r1"], "it is free again");
}

#[test]
fn in_1_0_a_subscription_may_go_without_an_id() {
    let mut alice = Story::connected("1.0");
    alice.says("SUBSCRIBE destination:/user/queue/msg");
    alice.says("SUBSCRIBE destination:/topic/news");
    alice.notify("ntf_1");
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1"]);
    assert_eq!(alice.header("subscription"), None);
    alice.says("UNSUBSCRIBE destination:/user/queue/msg");
    alice.notify("ntf_2");
    alice.topic("/topic/news", "ntf_t");
    assert_eq!(alice.sent(), ["MESSAGE ntf_t attempt=1"]);
    alice.says("SUBSCRIBE destination:/topic/news");
    assert_eq!(
        alice.sent(),
        ["ERROR bad-state", "close bad-state"],
        "two of them could not be told apart"
    );
}

#[test]
fn one_with_an_id_is_not_ended_by_its_destination() {
    let mut alice = Story::connected("1.0");
    alice.says("SUBSCRIBE id:a destination:/topic/news");
    alice.says("UNSUBSCRIBE destination:/topic/news");
    assert_eq!(alice.sent(), ["ERROR bad-state", "close bad-state"]);
    for version in ["1.1", "1.2"] {
        let mut alice = Story::listening(version, "auto");
        alice.says("UNSUBSCRIBE destination:/user/queue/msg");
        assert_eq!(alice.sent(), ["ERROR malformed-frame", "close malformed-frame"]);
    }
}

#[test]
fn so_many_and_no_more() {
    let config = Config {
        max_subscriptions: 3,
        ..Config::default()
    };
    let mut alice = Story::connected_with("1.2", &config);
    for n in 0..3 {
        alice.says(&format!("SUBSCRIBE id:{n} destination:/topic/news"));
    }
    alice.says("UNSUBSCRIBE id:1");
    alice.says("SUBSCRIBE id:3 destination:/user/queue/msg");
    assert_eq!(alice.sent(), [""; 0]);
    alice.says("SUBSCRIBE id:4 destination:/queue/x receipt:r1");
    assert_eq!(
        alice.sent(),
        ["ERROR limit-exceeded receipt=r1", "close limit-exceeded"]
    );
    assert!(
        alice
            .header("message")
            .is_some_and(|message| message.contains("session.max_subscriptions"))
    );
}

#[test]
fn a_second_subscription_to_the_inbox_is_told_what_the_session_holds() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.notify("ntf_2");
    alice.says("ACK id:ntf_1");
    alice.sent();
    alice.asked();
    alice.says("SUBSCRIBE id:b destination:/user/queue/msg ack:client-individual receipt:r1");
    assert_eq!(alice.sent(), ["RECEIPT r1", "MESSAGE ntf_2 attempt=1 to=b"]);
    assert_eq!(alice.asked(), [""; 0]);
    alice.notify("ntf_3");
    assert_eq!(
        alice.sent(),
        ["MESSAGE ntf_3 attempt=1", "MESSAGE ntf_3 attempt=1 to=b"]
    );
    alice.says("UNSUBSCRIBE id:sub-0");
    alice.notify("ntf_4");
    assert_eq!(alice.sent(), ["MESSAGE ntf_4 attempt=1 to=b"], "the other one lives on");
}

#[test]
fn only_the_first_subscription_to_the_inbox_can_resume() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.says("SUBSCRIBE id:b destination:/user/queue/msg last-seq:3 receipt:r1");
    assert_eq!(alice.sent(), ["ERROR bad-state receipt=r1", "close bad-state"]);
}

#[test]
fn who_subscribes_again_begins_again() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.notify("ntf_2");
    alice.says("ACK id:ntf_1");
    alice.says("UNSUBSCRIBE id:sub-0");
    alice.notify("ntf_3");
    alice.sent();
    alice.advance(super::story::secs(60));
    assert_eq!(alice.sent(), [""; 0], "nothing without a subscription");
    alice.subscribe("client-individual");
    assert_eq!(
        alice.sent(),
        ["MESSAGE ntf_2 attempt=1 replayed", "MESSAGE ntf_3 attempt=1 replayed"]
    );
}

#[test]
fn the_page_of_an_ended_subscription_is_not_told() {
    let mut alice = Story::connected("1.2");
    alice.record.store("ntf_1");
    alice.hold_reads = true;
    alice.subscribe("client-individual");
    let page = alice.record.page(alice.read.take().expect("a read"));
    alice.says("UNSUBSCRIBE id:sub-0");
    alice.give_page(Some(page));
    assert_eq!(alice.sent(), [""; 0]);
    // And again while one is under way: the new read takes the place of the old one.
    alice.subscribe("client-individual");
    alice.says_all(&[
        "UNSUBSCRIBE id:sub-0",
        "SUBSCRIBE id:sub-0 destination:/user/queue/msg ack:client-individual last-seq:0",
    ]);
    assert_eq!(
        alice.asked().last().map(String::as_str),
        Some("read 256 after 0, all after 0")
    );
    alice.answer_read();
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1 replayed"]);
}
