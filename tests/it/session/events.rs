//! Sessions whose clients listen to server-sent events: the same inbox, order, window and re-sends, and confirmations that come by REST.

use quick_notify::domain::envelope::{Content, Message};
use quick_notify::domain::notification::Audience;
use quick_notify::session::{Config, Disconnect, Reason};
use serde_json::{Value, json};

use super::record::parcel;
use super::story::{START, Story, ms, secs};
use crate::harness::Event;

/// An event, as a line for a person.
pub fn line(event: &Event) -> String {
    let id = event.id.map(|id| format!("@{id}")).unwrap_or_default();
    let Some(name) = &event.name else {
        return if event.comment {
            "beat".into()
        } else {
            format!("place {id}")
        };
    };
    let data = event.json();
    let said = match name.as_str() {
        "connected" => data["user"].as_str().expect("a user").to_owned(),
        "closed" => data["code"].as_str().expect("a code").to_owned(),
        "notification" => {
            let replayed = if data["replayed"] == true { " replayed" } else { "" };
            format!(
                "{} attempt={}{replayed}",
                data["id"].as_str().expect("an id"),
                data["attempt"]
            )
        }
        other => panic!("an unknown event {other}"),
    };
    format!("{name} {said} {id}").trim_end().to_owned()
}

/// Alice, listening to events behind this place.
fn listening(last_event_id: Option<u64>, config: &Config) -> Story {
    let mut story = Story::events_with("alice", last_event_id, config);
    assert_eq!(story.sent()[..1], ["connected alice"]);
    story.asked();
    story
}

fn alice() -> Story {
    listening(None, &Config::default())
}

#[test]
fn a_stream_is_subscribed_from_its_beginning_and_says_whose_it_is_and_where_it_begins() {
    let mut story = Story::events_with("alice", None, &Config::default());
    assert_eq!(story.asked(), ["who is alice", "read 256 after 0"]);
    assert_eq!(story.sent(), ["connected alice", "place @0"]);
    assert!(story.session.wants_input(), "it has to see the client leave");
}

#[test]
fn a_live_notification_has_its_seq_as_the_id_and_all_that_a_message_says_as_its_data() {
    let mut alice = alice();
    alice.notify("ntf_1");
    assert_eq!(alice.sent(), ["notification ntf_1 attempt=1 @1"]);
    let expected = json!({
        "id": "ntf_1", "type": "STRING_MSG", "receiver": "alice", "data": "hello", "viewed": false, "created": START,
        "ack_retry_count": 0, "ack_last_sent": START, "seq": 1, "attempt": 1, "replayed": false,
    });
    let told = alice.events.as_ref().expect("events").last().expect("an event").json();
    let keys = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&told), keys(&expected));
    for key in [
        "id",
        "receiver",
        "viewed",
        "ack_retry_count",
        "seq",
        "attempt",
        "replayed",
    ] {
        assert_eq!(told[key], expected[key], "{key}");
    }
}

#[test]
fn whoever_was_away_gets_what_is_unconfirmed_and_behind_the_last_id_all_that_is_kept() {
    let mut alice = alice();
    for id in ["ntf_1", "ntf_2", "ntf_3", "ntf_4"] {
        alice.notify(id);
    }
    alice.confirms(&["ntf_2", "ntf_4"]);
    // Opened anew: what is unconfirmed. An id of these would lead back to what is known to be confirmed.
    alice.resume("alice", None, &Config::default());
    assert_eq!(
        alice.sent(),
        [
            "connected alice",
            "place @4",
            "notification ntf_1 attempt=1 replayed",
            "notification ntf_3 attempt=1 replayed"
        ]
    );
    alice.resume("alice", Some(3), &Config::default());
    assert_eq!(
        alice.sent(),
        [
            "connected alice",
            "notification ntf_1 attempt=1 replayed",
            "notification ntf_3 attempt=1 replayed",
            "notification ntf_4 attempt=1 replayed @4"
        ]
    );
    alice.notify("ntf_5");
    assert_eq!(alice.sent(), ["notification ntf_5 attempt=1 @5"]);
}

#[test]
fn a_lost_bell_is_read_from_the_record_in_order() {
    let mut alice = alice();
    alice.record.store("ntf_1");
    alice.notify("ntf_2");
    assert_eq!(
        alice.sent(),
        ["notification ntf_1 attempt=1 @1", "notification ntf_2 attempt=1 @2"]
    );
    alice.bell(1);
    assert!(alice.sent().is_empty(), "an old bell");
}

#[test]
fn what_is_not_confirmed_comes_again_without_an_id_until_rest_says_so() {
    let mut alice = alice();
    alice.notify("ntf_1");
    alice.notify("ntf_2");
    alice.whisper("ntf_w");
    assert_eq!(
        alice.sent_during(secs(5)),
        [
            "0s notification ntf_1 attempt=1 @1",
            "0s notification ntf_2 attempt=1 @2",
            "0s notification ntf_w attempt=1",
            "5s notification ntf_1 attempt=2",
            "5s notification ntf_2 attempt=2",
            "5s notification ntf_w attempt=2"
        ]
    );
    alice.confirms(&["ntf_1", "ntf_w", "ntf_of_nobody"]);
    assert_eq!(alice.sent_during(secs(5)), ["5s notification ntf_2 attempt=3"]);
    alice.confirms(&["ntf_2"]);
    assert!(alice.sent_during(secs(5)).iter().all(|line| line.ends_with("beat")));
    assert!(
        alice.asked().iter().all(|asked| asked.starts_with("read")),
        "it writes nothing itself"
    );
}

#[test]
fn what_was_marked_as_read_or_deleted_isnt_sent_again() {
    let mut alice = alice();
    alice.notify("ntf_1");
    alice.notify("ntf_2");
    alice.deletes(&["ntf_1"]);
    alice.views(&["ntf_2"]);
    alice.sent();
    let again = alice.sent_during(secs(5));
    assert!(
        !again
            .iter()
            .any(|line| line.contains("ntf_1") || line.contains("ntf_2")),
        "{again:?}"
    );
    assert_eq!(again.len(), 2, "only those that tell of it: {again:?}");
}

#[test]
fn a_session_that_can_confirm_itself_is_not_spoken_for() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.confirms(&["ntf_1"]);
    assert_eq!(
        alice.sent_during(secs(5)),
        ["0s MESSAGE ntf_1 attempt=1", "5s MESSAGE ntf_1 attempt=2"]
    );
}

#[test]
fn the_window_holds_so_many_and_confirmations_make_room() {
    let config = Config {
        window: 2,
        ..Config::default()
    };
    let mut alice = listening(None, &config);
    for id in ["ntf_1", "ntf_2", "ntf_3", "ntf_4"] {
        alice.notify(id);
    }
    assert_eq!(
        alice.sent(),
        [
            "place @0",
            "notification ntf_1 attempt=1 @1",
            "notification ntf_2 attempt=1 @2"
        ][1..]
    );
    alice.confirms(&["ntf_2"]);
    assert_eq!(alice.sent(), ["notification ntf_3 attempt=1 @3"]);
    alice.confirms(&["ntf_1", "ntf_3"]);
    assert_eq!(alice.sent(), ["notification ntf_4 attempt=1 @4"]);
}

#[test]
fn a_place_that_doesnt_exist_here_is_told_and_all_comes_from_the_beginning() {
    let mut story = Story::open();
    story.record.store("ntf_1");
    story.resume("alice", Some(9), &Config::default());
    let sent = story.sent();
    assert_eq!(sent[..1], ["connected alice"]);
    let gap = story.events.as_ref().expect("events")[1].json();
    assert_eq!(
        (&gap["type"], &gap["data"]),
        (&json!("REPLAY_GAP"), &json!({"requested": 9, "from": 1}))
    );
    assert_eq!(sent[2..], ["place @0", "notification ntf_1 attempt=1 replayed @1"]);
}

#[test]
fn a_broadcast_comes_once_and_has_no_id() {
    let mut alice = alice();
    alice.broadcast("ntf_all");
    let during = alice.sent_during(secs(8));
    assert_eq!(during, ["0s notification ntf_all attempt=1"]);
}

#[test]
fn comments_show_that_the_stream_lives_and_silence_ends_nothing() {
    let mut alice = alice();
    let beats = alice.sent_during(secs(3600));
    assert!(beats.iter().all(|line| line.ends_with(" beat")), "{beats:?}");
    // Every seven eighths of ten seconds, so that each is there in time.
    assert_eq!(beats.len(), 3600 * 8 / 70, "{}", beats.len());
}

#[test]
fn the_end_of_the_token_is_told_and_nothing_is_delivered_behind_it() {
    let mut alice = Story::events_with("alice+60", None, &Config::default());
    alice.sent();
    alice.advance(secs(60) - ms(1));
    alice.notify("ntf_1");
    assert!(alice.sent().contains(&"notification ntf_1 attempt=1 @1".to_owned()));
    alice.advance(ms(1));
    assert_eq!(alice.sent(), ["closed token-expired", "close token-expired"]);
    alice.notify("ntf_2");
    assert!(alice.sent().is_empty());
}

#[test]
fn who_is_not_let_in_is_told_by_the_answer_and_not_by_an_event() {
    let mut story = Story::events_with("bad", None, &Config::default());
    assert_eq!(story.sent(), ["close token-expired"]);
    assert!(story.events.as_ref().expect("events").is_empty());
}

#[test]
fn a_drain_is_told_behind_what_was_under_way() {
    let mut alice = alice();
    alice.notify("ntf_1");
    alice.ends(Disconnect::new(Reason::Draining, "come back"));
    assert_eq!(
        alice.sent(),
        ["notification ntf_1 attempt=1 @1", "closed draining", "close draining"]
    );
}

#[test]
fn a_client_that_is_gone_or_does_not_read_is_told_nothing() {
    for reason in [Reason::Gone, Reason::SlowConsumer] {
        let mut alice = alice();
        alice.ends(Disconnect::new(reason, "bye"));
        assert_eq!(alice.sent(), [format!("close {}", reason.code())]);
    }
}

#[test]
fn line_ends_between_the_tokens_of_json_stay_within_one_event() {
    let mut alice = alice();
    let data = "{\r\n \"html\": \"<b>&amp;\\n</b>\",\r \"n\": [1,\n\n2]\n}";
    let message = Message {
        id: "ntf_lines".into(),
        kind: "ORDER".into(),
        receiver: "alice".into(),
        data: serde_json::value::RawValue::from_string(data.into()).expect("JSON"),
        viewed: false,
        created: START,
        seq: None,
    };
    alice.hear(&parcel(Audience::User("alice".into()), Content::Message(message)));
    assert_eq!(alice.sent(), ["notification ntf_lines attempt=1"]);
    let told = alice.events.as_ref().expect("events").last().expect("an event").json();
    assert_eq!(told["data"], json!({"html": "<b>&amp;\n</b>", "n": [1, 2]}));
}

#[test]
fn one_encoding_serves_all_who_get_the_same() {
    let seen = parcel(
        Audience::Everyone,
        Content::Message(super::record::message("ntf_all", None)),
    );
    let bytes: Vec<_> = (0..2)
        .map(|_| {
            let mut story = alice();
            story.session.handle_parcel(&seen, story.now);
            match story.session.poll_output() {
                Some(quick_notify::session::Output::Deliver(_, bytes, _)) => bytes.as_ptr(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(bytes[0], bytes[1]);
}
