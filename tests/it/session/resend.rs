//! What is unconfirmed comes again, by the contract's four numbers.

use quick_notify::session::Config;

use super::story::{START, Story, ms, secs};

#[test]
fn an_unconfirmed_notification_comes_again_every_five_seconds_for_a_minute() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1"]);
    alice.advance(ms(4_999));
    assert_eq!(alice.sent(), [""; 0]);
    alice.advance(ms(1));
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=2"]);

    let expected: Vec<_> = (2..=12)
        .map(|n| format!("{}s MESSAGE ntf_1 attempt={}", n * 5 - 5, n + 1))
        .chain(["60s given up".to_owned()])
        .collect();
    assert_eq!(alice.sent_during(secs(3_600)), expected);
    assert!(alice.record.is_open("ntf_1"), "the row stays for the next session");
}

#[test]
fn its_body_says_which_attempt_it_is_and_when_the_last_one_went_out() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.advance(secs(100));
    alice.notify("ntf_1");
    let body = alice.body();
    assert_eq!(
        (&body["ack_retry_count"], &body["ack_last_sent"]),
        (&0.into(), &START.into())
    );
    assert_eq!(body["created"], START);
    alice.advance(secs(5));
    let body = alice.body();
    assert_eq!(body["ack_retry_count"], 1);
    assert_eq!(body["ack_last_sent"], alice.wall(secs(100)));
    alice.advance(secs(5));
    let body = alice.body();
    assert_eq!(body["ack_retry_count"], 2);
    assert_eq!(body["ack_last_sent"], alice.wall(secs(105)));
    assert_eq!(body["created"], START);
}

#[test]
fn timers_that_ring_late_cost_no_attempt_and_do_not_add_up() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.sent();
    let mut sent = Vec::new();
    while let Some(due) = alice.session.poll_timeout() {
        alice.freeze(due - alice.now.instant + ms(7));
        sent.extend(alice.sent());
    }
    assert_eq!(sent.len(), 13, "{sent:?}");
    assert_eq!(sent[11..], ["MESSAGE ntf_1 attempt=13", "given up"]);
    assert_eq!(alice.now.wall, alice.wall(ms(65_007)));
}

#[test]
fn what_was_missed_while_the_process_was_frozen_is_not_made_up_for() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.sent();
    alice.freeze(secs(17));
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=2"], "one, not three");
    assert_eq!(alice.sent_during(secs(6)), ["5s MESSAGE ntf_1 attempt=3"]);
    alice.freeze(secs(600));
    assert_eq!(alice.sent(), ["given up"], "its time is over");
}

#[test]
fn each_number_is_configurable() {
    let config = Config {
        resend_first_ms: 1_000,
        resend_every_ms: 2_000,
        resend_most: 3,
        resend_within_ms: 60_000,
        ..Config::default()
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    alice.notify("ntf_1");
    alice.sent();
    let attempts = [
        "1s MESSAGE ntf_1 attempt=2",
        "3s MESSAGE ntf_1 attempt=3",
        "5s MESSAGE ntf_1 attempt=4",
    ];
    assert_eq!(alice.sent_during(secs(60)), [&attempts[..], &["7s given up"]].concat());

    let config = Config {
        resend_within_ms: 4_000,
        ..config
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    alice.notify("ntf_1");
    alice.sent();
    assert_eq!(alice.sent_during(secs(60)), [&attempts[..2], &["5s given up"]].concat());

    let config = Config {
        resend_most: 0,
        ..config
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    alice.notify("ntf_1");
    alice.sent();
    assert_eq!(alice.sent_during(secs(60)), ["1s given up"]);
}

#[test]
fn each_has_its_own_clock_and_what_is_confirmed_is_still() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.advance(secs(2));
    alice.notify("ntf_2");
    alice.advance(secs(1));
    alice.notify("ntf_3");
    alice.says("ACK id:ntf_2");
    alice.sent();
    assert_eq!(
        alice.sent_during(secs(6)),
        ["2s MESSAGE ntf_1 attempt=2", "5s MESSAGE ntf_3 attempt=2"]
    );
    alice.says("ACK id:ntf_3");
    alice.says("ACK id:ntf_1");
    assert_eq!(alice.sent_during(secs(600)), [""; 0]);
    assert!(alice.session.poll_timeout().is_none(), "nothing is left to wake up for");
}

#[test]
fn a_notification_without_a_record_comes_again_too_and_a_broadcast_does_not() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.whisper("ntf_w");
    alice.broadcast("ntf_b");
    assert_eq!(alice.sent(), ["MESSAGE ntf_w attempt=1", "MESSAGE ntf_b attempt=1"]);
    alice.advance(secs(10));
    assert_eq!(alice.sent(), ["MESSAGE ntf_w attempt=2", "MESSAGE ntf_w attempt=3"]);
    alice.says("SEND destination:/app/ack receipt:r | ntf_w");
    assert_eq!(alice.sent(), ["RECEIPT r"]);
    assert_eq!(alice.sent_during(secs(60)), [""; 0]);
}

#[test]
fn what_was_given_up_makes_room_in_the_window() {
    let config = Config {
        window: 2,
        ..Config::default()
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    for id in ["ntf_1", "ntf_2", "ntf_3"] {
        alice.notify(id);
    }
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1", "MESSAGE ntf_2 attempt=1"]);
    alice.advance(secs(64));
    alice.sent();
    alice.advance(secs(1));
    assert_eq!(alice.sent(), ["given up", "given up", "MESSAGE ntf_3 attempt=1"]);
}

#[test]
fn what_its_user_deleted_elsewhere_does_not_come_again_and_makes_room() {
    let config = Config {
        window: 2,
        ..Config::default()
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    for id in ["ntf_1", "ntf_2", "ntf_3"] {
        alice.notify(id);
    }
    alice.sent();
    alice.deletes(&["ntf_1", "ntf_2"]);
    let sent = alice.sent();
    assert_eq!(sent.len(), 2, "the news and the next one: {sent:?}");
    assert_eq!(sent[1], "MESSAGE ntf_3 attempt=1");
}
