//! A session holds so many unconfirmed deliveries; further ones wait in the record.

use quick_notify::session::Config;

use super::story::Story;

#[test]
fn the_window_holds_so_many_and_the_rest_goes_out_in_order_as_room_comes() {
    let config = Config {
        window: 3,
        ..Config::default()
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    let ids: Vec<_> = (1..=9).map(|n| format!("ntf_{n}")).collect();
    ids.iter().for_each(|id| alice.notify(id));
    let first = |ids: &[String]| -> Vec<_> { ids.iter().map(|id| format!("MESSAGE {id} attempt=1")).collect() };
    assert_eq!(alice.sent(), first(&ids[..3]));
    alice.says("ACK id:ntf_2");
    assert_eq!(alice.sent(), first(&ids[3..4]));
    alice.says_all(&["NACK id:ntf_1", "SEND destination:/app/ack | ntf_3", "ACK id:ntf_4"]);
    assert_eq!(alice.sent(), first(&ids[4..7]));
    alice.whisper("ntf_w");
    assert_eq!(
        alice.sent(),
        ["MESSAGE ntf_w attempt=1"],
        "what has no record doesn't wait in it"
    );
    for id in &ids[4..] {
        alice.says(&format!("ACK id:{id}"));
    }
    assert_eq!(alice.sent(), first(&ids[7..]));
    alice.notify("ntf_10");
    assert_eq!(alice.sent(), ["MESSAGE ntf_10 attempt=1"], "live again");
}

#[test]
fn by_default_the_window_holds_256() {
    let mut alice = Story::listening("1.2", "client-individual");
    (1..=300).for_each(|n| alice.notify(&format!("ntf_{n}")));
    assert_eq!(alice.sent().len(), 256);
    alice.says("ACK id:ntf_1");
    assert_eq!(alice.sent(), ["MESSAGE ntf_257 attempt=1"]);
}

#[test]
fn what_has_no_record_is_bounded_too_and_its_loss_is_told() {
    let config = Config {
        window: 2,
        ..Config::default()
    };
    let mut alice = Story::listening_with("1.2", "client-individual", &config);
    for id in ["ntf_a", "ntf_b", "ntf_c"] {
        alice.whisper(id);
    }
    alice.notify("ntf_1");
    assert_eq!(
        alice.sent(),
        [
            "MESSAGE ntf_a attempt=1",
            "MESSAGE ntf_b attempt=1",
            "dropped",
            "MESSAGE ntf_1 attempt=1"
        ]
    );
}
