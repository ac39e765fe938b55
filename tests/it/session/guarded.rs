//! Topics that somebody else has a say about, besides the token.

use quick_notify::session::{Disconnect, Reason};

use super::story::{Story, secs};

const SUBSCRIBE: &str = "SUBSCRIBE id:t destination:/topic/open receipt:r1";

fn guarded() -> Story {
    let mut alice = Story::connected("1.2");
    alice.session.guard_topics(true);
    alice
}

fn allow(alice: &mut Story) {
    alice.session.handle_may_read(Ok(()), alice.now);
    alice.carry_out();
}

#[test]
fn a_topic_is_heard_when_it_is_allowed_and_what_is_behind_waits() {
    let mut alice = guarded();
    alice.says_all(&[SUBSCRIBE, "SEND destination:/topic/open receipt:r2 | behind"]);
    assert_eq!(alice.asked(), ["may read /topic/open"]);
    assert_eq!(alice.sent(), [""; 0], "no receipt before the answer");
    assert!(!alice.session.wants_input());
    allow(&mut alice);
    assert_eq!(alice.asked(), ["listen /topic/open", "publish /topic/open"]);
    assert_eq!(alice.sent()[0], "RECEIPT r1");
    assert!(alice.session.wants_input());
}

#[test]
fn a_refusal_ends_the_session_with_its_receipt() {
    let mut alice = guarded();
    alice.says(SUBSCRIBE);
    let refused = Disconnect::new(Reason::ForbiddenDestination, "order 7 is bob's");
    alice.session.handle_may_read(Err(refused), alice.now);
    alice.carry_out();
    assert_eq!(
        alice.sent(),
        ["ERROR forbidden-destination receipt=r1", "close forbidden-destination"]
    );
    assert_eq!(alice.asked(), ["may read /topic/open"], "it never listened");
}

#[test]
fn nobody_is_asked_about_what_the_token_does_not_allow_nor_about_queues() {
    let mut alice = guarded();
    alice.says("SUBSCRIBE id:q destination:/user/queue/msg receipt:r0");
    alice.says("SUBSCRIBE id:x destination:/user/queue/x/echo receipt:r1");
    assert_eq!(alice.sent()[..2], ["RECEIPT r0", "RECEIPT r1"]);
    assert!(alice.session.wants_input());
    alice.asked();
    alice.says("SUBSCRIBE id:t destination:/topic/closed receipt:r2");
    assert_eq!(
        alice.sent(),
        ["ERROR forbidden-destination receipt=r2", "close forbidden-destination"]
    );
    assert_eq!(alice.asked(), [""; 0], "a plugin widens nothing");
}

#[test]
fn each_subscription_is_asked_about_and_one_without_a_guard_is_not() {
    let mut alice = guarded();
    alice.says(SUBSCRIBE);
    allow(&mut alice);
    alice.asked();
    alice.says("SUBSCRIBE id:u destination:/topic/open");
    assert_eq!(
        alice.asked(),
        ["may read /topic/open"],
        "it may be another answer by now"
    );
    allow(&mut alice);
    alice.session.guard_topics(false);
    alice.says("SUBSCRIBE id:v destination:/topic/open.a receipt:r3");
    assert_eq!(alice.asked(), ["listen /topic/open.a"]);
}

#[test]
fn a_token_that_ends_meanwhile_ends_the_session() {
    let mut alice = Story::open();
    alice.connect("1.2", "alice+60");
    alice.session.guard_topics(true);
    alice.says(SUBSCRIBE);
    alice.sent();
    alice.now = alice.now.after(secs(60));
    alice.asked();
    allow(&mut alice);
    assert_eq!(alice.sent(), ["ERROR token-expired", "close token-expired"]);
    assert_eq!(alice.asked(), [""; 0]);
}
