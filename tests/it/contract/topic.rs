//! What every topic promises.

use std::sync::{Arc, Mutex};

use quick_notify::domain::envelope::Envelope;
use quick_notify::domain::revocation::Revocation;
use quick_notify::topic::{self, Entered, Listener, Seat, Topic, TopicError};

use super::notification;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Listener for Heard {
    fn hear(&self, envelope: Envelope) {
        self.0
            .lock()
            .expect("not poisoned")
            .push(envelope.content.id().to_owned());
    }

    fn revoked(&self, _revocation: &Revocation) {}
}

async fn topics() -> Vec<(Arc<dyn Topic>, Arc<Heard>)> {
    let heard = Arc::new(Heard::default());
    vec![(
        topic::build(
            &topic::Config::default(),
            &Default::default(),
            None,
            Arc::clone(&heard) as _,
        )
        .await
        .expect("the topic"),
        heard,
    )]
}

struct Firm;

impl Seat for Firm {
    fn give_up(&self) {
        panic!("nobody is over the cap");
    }
}

async fn enter(topic: &dyn Topic, user: &str) -> Result<Entered, TopicError> {
    topic.enter(&user.into(), Arc::new(Firm), 10).await
}

async fn present(topic: &dyn Topic, user: &str) -> u32 {
    topic.present(&[user]).await.expect("numbers")[0]
}

#[tokio::test]
async fn envelopes_are_heard_in_order() {
    for (topic, heard) in topics().await {
        for id in ["a", "b", "c"] {
            topic
                .publish(vec![Envelope::of(notification("alice", id, "x"), Some(1))])
                .await
                .expect("published");
        }
        assert_eq!(*heard.0.lock().expect("not poisoned"), ["a", "b", "c"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_holds_when_everybody_comes_at_once() {
    for (topic, _heard) in topics().await {
        let attempts = (0..100).map(|_| {
            let topic = Arc::clone(&topic);
            tokio::spawn(async move { enter(&*topic, "alice").await })
        });
        let mut inside = Vec::new();
        let mut refused = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.expect("it ran") {
                Ok(entered) => inside.push(entered),
                Err(TopicError::Full(10)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((inside.len(), refused), (10, 90));
        assert_eq!(present(&*topic, "alice").await, 10);
        inside.pop();
        assert_eq!(present(&*topic, "alice").await, 9, "a place is free again");
        assert!(enter(&*topic, "alice").await.is_ok());
        assert_eq!(present(&*topic, "bob").await, 0);
    }
}
