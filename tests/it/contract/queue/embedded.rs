//! What only the queue of a node that is alone does: it finds a conflict at the door, and keeps its file to itself.

use super::*;

pub fn config() -> queue::Config {
    queue::Config {
        embedded: queue::embedded::Config {
            // Smaller than what the tests queue, so that reading back from the file is part of them.
            cache_bytes: 64,
            max_entries: 100,
            ..Default::default()
        },
        ..Default::default()
    }
}

async fn open(data: &TempDir) -> Arc<dyn Queue> {
    queue::build(&config(), data.path(), None)
        .await
        .expect("the queue opens")
}

#[tokio::test]
async fn a_second_process_is_kept_off_the_same_data() {
    let data = tempdir();
    let _queue = open(&data).await;
    let Err(refused) = queue::build(&config(), data.path(), None).await else {
        panic!("two writers on one file");
    };
    assert!(
        refused
            .to_string()
            .contains("another quick-notify uses this data directory"),
        "{refused}"
    );
}

#[tokio::test]
async fn dead_letters_are_kept_with_their_reason() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..2)).await;
    let letter = DeadLetter {
        sequence: 2,
        id: "n1".into(),
        reason: "conflict",
        detail: "the id is another's".into(),
        payload: Bytes::from_static(b"body"),
    };
    queue
        .settle(0, 2, vec![letter.clone(), letter])
        .await
        .expect("twice does no harm");
    queue.close().await;
    let mut file = crate::checker::open(data.path(), "queue.db").await;
    let kept: Vec<(i64, String, Vec<u8>)> = sqlx::query_as("select sequence, reason, payload from dead_letter")
        .fetch_all(&mut file)
        .await
        .expect("letters");
    assert_eq!(kept, [(2, "conflict".to_owned(), b"body".to_vec())]);
}

#[tokio::test]
async fn a_dead_letter_stays_while_its_id_is_queued_with_another_body() {
    let data = tempdir();
    let queue = open(&data).await;
    let entries = accepted(&["a"]);
    let died = entries[0].clone();
    queue.publish(entries).await;
    take(&*queue, 10).await;
    queue.settle(0, 1, vec![letter(1, &died)]).await.expect("settled");
    queue.publish(vec![entry("a", 9)]).await;
    let refused = queue.replay(1).await;
    assert!(matches!(refused, Err(QueueError::Conflict)), "{refused:?}");
    assert_eq!(dead(&*queue, 0, 10).await, [(1, "a".to_owned())]);
}
