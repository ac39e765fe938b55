//! What nodes tell each other through the record: how far the lanes have come, which bells are in doubt, which tokens are taken back.

use quick_notify::domain::revocation::{Revocation, Target};

use super::{batch, stores};

#[tokio::test]
async fn marks_tell_how_far_a_lane_is_and_whether_its_bells_are_in_doubt() {
    for (store, _data) in stores().await {
        assert_eq!(store.marks().await.expect("marks"), []);
        let epoch = store.claim(0).await.expect("the lane");
        let items = [(1, "alice", "a1", "x"), (2, "bob", "b1", "x"), (3, "alice", "a2", "x")];
        store.insert(&batch(epoch, &items)).await.expect("stored");
        let mark = async || store.marks().await.expect("marks")[0];
        assert_eq!(
            (mark().await.lane, mark().await.position, mark().await.doubted),
            (0, 3, 0)
        );
        store.doubt(0).await.expect("noted");
        assert_eq!((mark().await.position, mark().await.doubted), (3, 3));
        let rung = store.rung(0, 1, 3, 10).await.expect("positions");
        let rung: Vec<_> = rung.iter().map(|row| (row.position, &*row.receiver, row.seq)).collect();
        assert_eq!(rung, [(2, "bob", 1), (3, "alice", 2)]);
        assert_eq!(store.rung(0, 0, 2, 1).await.expect("positions").len(), 1);
        assert_eq!(store.rung(1, 0, 9, 9).await.expect("positions"), []);
    }
}

#[tokio::test]
async fn revocations_are_kept_until_their_end() {
    for (store, _data) in stores().await {
        let token = Revocation {
            target: Target::Token("jti\u{0} 🔔".into()),
            created: 1_000,
            until: 5_000,
        };
        let user = Revocation {
            target: Target::User {
                user: "alice ".into(),
                issued_before: 900,
            },
            created: 2_000,
            until: 3_000,
        };
        for revocation in [&token, &user, &token] {
            store.revoke(revocation).await.expect("kept");
        }
        let kept = async |since, now| {
            let mut kept = store.revocations(since, now).await.expect("revocations");
            kept.sort_by_key(|revocation| revocation.created);
            kept
        };
        assert_eq!(kept(0, 2_500).await, [token.clone(), user.clone()]);
        assert_eq!(kept(1_500, 2_500).await, [user]);
        assert_eq!(kept(0, 3_000).await, std::slice::from_ref(&token));
        // Said again with an earlier end, it stands; the later word is told to those who ask since then.
        let again = Revocation {
            created: 4_000,
            until: 4_500,
            ..token.clone()
        };
        store.revoke(&again).await.expect("kept");
        assert_eq!(
            kept(3_500, 4_600).await,
            [Revocation {
                created: 4_000,
                ..token
            }]
        );
        store.sweep(10_000, 10).await.expect("swept");
        assert_eq!(kept(0, 0).await, []);
    }
}
