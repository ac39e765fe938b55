//! Dev mode: test users and the local key.

use std::sync::Barrier;

use super::*;

#[test]
fn in_dev_mode_test1_is_a_user_and_other_tokens_are_checked() {
    let data = Dir::new();
    let auth = build(&dev_config(), data.path()).unwrap();
    let test1 = ask(&auth, "test1").unwrap();
    assert_eq!((&*test1.user, test1.expires), ("test1", None));
    assert!(test1.topics.may_read("/topic/x") && test1.topics.may_write("/topic/x"));
    assert!(!test1.topics.may_read("/queue/x") && !test1.topics.may_write("/user/bob/queue/msg"));
    assert_eq!(
        ask(&auth, &format!("test{}", "x".repeat(61))),
        Err(BadUser::TooLong.into())
    );
    assert_eq!(ask(&auth, ""), Err(Refusal::Missing));
    assert_eq!(
        ask(&auth, "alice"),
        Err(Refusal::Malformed("it is not three parts with a dot between"))
    );
    assert_eq!(
        ask(&auth, &hs(SECRET, None, &json!({"sub": "a", "exp": NOW_S + 9}))),
        Err(Refusal::BadSignature)
    );

    let token = mint(&dev_config(), data.path(), &grant("alice", 3600), NOW).unwrap();
    let alice = ask(&auth, &token).unwrap();
    assert_eq!(
        (&*alice.user, alice.expires, alice.issued),
        ("alice", Some(NOW + 3_600_000), Some(NOW))
    );
    assert_eq!(alice.topics, Topics::all());
    assert_eq!(
        ready(auth.authenticate(&token, &Facts::default(), NOW + 3_600_000)),
        Err(Refusal::Expired {
            at: NOW + 3_600_000,
            now: NOW + 3_600_000
        })
    );
}

#[test]
fn the_dev_key_is_private_kept_and_one_for_all_who_start_together() {
    use std::os::unix::fs::PermissionsExt;
    let data = Dir::new();
    let home = data.path().join("not/yet/there");
    let together = Barrier::new(8);
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let start = || {
            together.wait();
            mint(&dev_config(), &home, &grant("alice", 60), NOW).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let auth = build(&dev_config(), &home).unwrap();
    assert!(tokens.iter().all(|token| ask(&auth, token).is_ok()));
    let files: Vec<_> = std::fs::read_dir(&home)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["dev-token.key"]);
    let key = std::fs::metadata(home.join("dev-token.key")).unwrap();
    assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
}

#[test]
fn a_broken_dev_key_stops_the_start_and_is_named() {
    let data = Dir::new();
    let file = data.write("half.key", "half");
    let config = config(json!({"adapter": "dev", "dev": {"key_file": file}}));
    let expected = format!(
        "{}: not 32 bytes: remove it, and the next start makes another",
        file.display()
    );
    assert_eq!(config.problems(), [("dev.key_file".to_owned(), expected.clone())]);
    let error = build(&config, data.path()).err().unwrap();
    assert_eq!(error.to_string(), format!("auth.dev.key_file: {expected}"));
}
