//! Token-bound: when the token ends the session ends, and a fresh one extends it.

use super::story::{Story, ms, secs};

fn until(seconds: u64) -> Story {
    let mut alice = Story::open();
    alice.connect("1.2", &format!("alice+{seconds}"));
    alice.subscribe("client-individual");
    alice.sent();
    alice.asked();
    alice
}

const EXPIRED: [&str; 2] = ["ERROR token-expired", "close token-expired"];

#[test]
fn at_its_end_an_idle_session_is_closed() {
    let mut alice = until(60);
    alice.advance(ms(59_999));
    assert_eq!(alice.sent(), [""; 0]);
    alice.advance(ms(1));
    assert_eq!(alice.sent(), EXPIRED);
}

#[test]
fn whatever_comes_first_at_its_end_finds_it_closed() {
    type Act = fn(&mut Story);
    let acts: [(&str, Act); 8] = [
        ("a bell", |alice| alice.notify("ntf_2")),
        ("a broadcast", |alice| alice.broadcast("ntf_b")),
        ("missed bells", |alice| alice.missed(9)),
        ("a frame", |alice| alice.says("SEND destination:/topic/open | x")),
        ("DISCONNECT", |alice| alice.says("DISCONNECT")),
        ("a renewal", |alice| alice.says("SEND destination:/app/token | alice")),
        ("a page", |alice| alice.answer_read()),
        ("an outcome", |alice| alice.answer_confirms()),
    ];
    for (what, act) in acts {
        let mut alice = until(60);
        alice.notify("ntf_1");
        alice.hold_reads = true;
        alice.hold_confirms = true;
        alice.record.store("ntf_missed");
        alice.record.store("ntf_missed_too");
        alice.bell(3);
        alice.says("ACK id:ntf_1 receipt:r1");
        alice.sent();
        // No timer rings before the act.
        alice.now = alice.now.after(secs(60));
        alice.asked();
        act(&mut alice);
        assert_eq!(alice.sent(), EXPIRED, "{what}");
        assert_eq!(alice.asked(), [""; 0], "{what}");
    }
}

#[test]
fn a_resend_at_its_end_is_not_sent() {
    let mut alice = until(10);
    alice.notify("ntf_1");
    alice.sent();
    assert_eq!(
        alice.sent_during(secs(60)),
        [
            "5s MESSAGE ntf_1 attempt=2",
            "10s ERROR token-expired",
            "10s close token-expired"
        ]
    );
}

#[test]
fn one_that_ends_while_it_is_looked_at_opens_nothing() {
    let mut alice = Story::open();
    alice.record.store("ntf_1");
    let mut bytes = alice.frame("CONNECT accept-version:1.2 Authorization:alice+0");
    bytes.extend(alice.frame("SUBSCRIBE id:sub-0 destination:/user/queue/msg"));
    alice.sends(&bytes);
    alice.advance(secs(0));
    assert_eq!(
        alice.sent(),
        ["CONNECTED 1.2 alice", "ERROR token-expired", "close token-expired"]
    );
}

#[test]
fn a_fresh_token_extends_the_live_session() {
    let mut alice = until(60);
    alice.advance(secs(50));
    alice.hold_tokens = true;
    let renewal = "SEND destination:/app/token receipt:r1 |  alice+100\n";
    alice.says_all(&[renewal, "SEND destination:/topic/open receipt:r2 | behind"]);
    assert_eq!(alice.asked(), ["renew alice+100"]);
    assert_eq!(alice.sent(), [""; 0], "what is behind it waits");
    assert!(!alice.session.wants_input());
    alice.notify("ntf_1");
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1"], "what comes does not");
    alice.answer_token();
    assert_eq!(alice.sent(), ["RECEIPT r1", "RECEIPT r2"]);
    assert_eq!(alice.asked(), ["publish /topic/open"]);
    alice.says("ACK id:ntf_1");
    alice.advance(ms(99_999));
    assert_eq!(alice.sent(), [""; 0]);
    alice.advance(ms(1));
    assert_eq!(alice.sent(), EXPIRED);
}

#[test]
fn another_users_token_is_refused() {
    let mut alice = until(60);
    alice.says("SEND destination:/app/token receipt:r1 | bob+100");
    assert_eq!(
        alice.sent(),
        ["ERROR token-wrong-user receipt=r1", "close token-wrong-user"]
    );
}

#[test]
fn a_bad_token_ends_the_session_with_its_receipt() {
    let mut alice = until(60);
    alice.says_all(&[
        "SEND destination:/app/token receipt:r1 | bad",
        "SEND destination:/topic/open | behind",
    ]);
    assert_eq!(alice.sent(), ["ERROR token-expired receipt=r1", "close token-expired"]);
    assert_eq!(alice.asked(), ["renew bad"]);
    let mut alice = until(60);
    alice.sends(b"SEND\ndestination:/app/token\nreceipt:r1\n\n\xff\0");
    assert_eq!(
        alice.sent(),
        ["ERROR token-malformed receipt=r1", "close token-malformed"]
    );
}

#[test]
fn a_fresh_token_that_allows_less_ends_what_it_does_not_allow() {
    let mut alice = until(60);
    alice.says("SUBSCRIBE id:t destination:/topic/news");
    alice.says("SEND destination:/app/token receipt:r1 | quiet-alice");
    assert_eq!(
        alice.sent(),
        ["ERROR forbidden-destination receipt=r1", "close forbidden-destination"]
    );
    let mut alice = until(60);
    alice.says("SEND destination:/app/token receipt:r1 | quiet-alice");
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
    alice.says("SUBSCRIBE id:t destination:/topic/news");
    assert_eq!(
        alice.sent(),
        ["ERROR forbidden-destination", "close forbidden-destination"]
    );
}

#[test]
fn a_token_cannot_be_renewed_within_a_transaction() {
    let mut alice = until(60);
    alice.says("BEGIN transaction:t");
    alice.says("SEND destination:/app/token transaction:t | alice");
    alice.says("COMMIT transaction:t receipt:r1");
    assert_eq!(alice.sent(), ["ERROR bad-state receipt=r1", "close bad-state"]);
}
