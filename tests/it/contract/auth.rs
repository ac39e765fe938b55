//! What every adapter of the auth port promises. Its tokens are JWTs of one key here; whoever asks a plugin asks one that knows that key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use quick_notify::attach::config::Allowed;
use quick_notify::attach::line::Standing;
use quick_notify::attach::protocol::Hook;
use quick_notify::attach::{self, Hooks};
use quick_notify::auth::{self, Auth, Config, Given, Grant, Refusal};
use quick_notify::domain::facts::Facts;
use quick_notify::domain::identity::{Identity, Pattern};
use quick_notify::nats;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::plugin::{Plugin, Reply};
use crate::harness::servers::Nats;
use crate::harness::{tempdir, within};

/// The clock of these stories, epoch milliseconds.
const NOW: i64 = 1_800_000_000_000;
const KEY: &str = "the contract's key, of 32 octets";
const OTHER_KEY: &str = "another key, and as long as that";

/// Each story, over each adapter.
macro_rules! over_all {
    ($($adapter:ident)*) => {
        $(over! {
            $adapter:
            a_good_token_says_whose_it_is_until_when_and_what_it_allows
            a_token_that_has_ended_is_refused_for_good
            a_token_of_another_key_is_refused_for_good_and_never_repeated
            no_token_and_one_that_is_too_long_are_refused
            it_may_be_asked_again_and_by_many_at_once
        })*
    };
}

macro_rules! over {
    ($adapter:ident: $($story:ident)*) => {
        mod $adapter {
            $(#[tokio::test] async fn $story() { super::$story(super::Ground::of(stringify!($adapter)).await).await })*
        }
    };
}

over_all! { dev jwt hook }

async fn a_good_token_says_whose_it_is_until_when_and_what_it_allows(ground: Ground) {
    let token = ground.token(KEY, "alice", 60);
    let identity = ground.ask(&token).await.expect("it is good");
    assert_eq!((&*identity.user, identity.expires), ("alice", Some(NOW + 60_000)));
    let topics = &identity.topics;
    assert!(topics.may_read("/topic/a") && !topics.may_read("/topic/b"));
    assert!(topics.may_write("/topic/w") && !topics.may_write("/topic/a"));
}

async fn a_token_that_has_ended_is_refused_for_good(ground: Ground) {
    let token = ground.token(KEY, "alice", 60);
    let refusal = ground.ask_at(&token, NOW + 60_000).await.expect_err("it has ended");
    assert!(!refusal.is_retryable(), "{refusal}");
}

async fn a_token_of_another_key_is_refused_for_good_and_never_repeated(ground: Ground) {
    let token = ground.token(OTHER_KEY, "alice", 60);
    let refusal = ground.ask(&token).await.expect_err("another key");
    assert!(!refusal.is_retryable(), "{refusal}");
    for said in [refusal.to_string(), format!("{refusal:?}")] {
        assert!(token.split('.').all(|part| !said.contains(part)), "{said}");
    }
}

async fn no_token_and_one_that_is_too_long_are_refused(ground: Ground) {
    assert_eq!(ground.ask("").await, Err(Refusal::Missing));
    let long = ground.ask(&"x".repeat(auth::MAX_TOKEN_BYTES + 1)).await;
    assert!(matches!(long, Err(Refusal::Malformed(_))), "{long:?}");
}

async fn it_may_be_asked_again_and_by_many_at_once(ground: Ground) {
    let token = ground.token(KEY, "alice", 60);
    let once = ground.ask(&token).await;
    assert!(once.is_ok(), "{once:?}");
    for again in join_all((0..20).map(|_| ground.ask(&token))).await {
        assert_eq!(again, once);
    }
}

struct Ground {
    auth: Arc<dyn Auth>,
    keys: TempDir,
    _plugin: Plugin,
}

impl Ground {
    /// An adapter by its name in the configuration, beside a plugin that it may ask.
    async fn of(adapter: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let keys = tempdir();
        let key = keys.path().join("key");
        std::fs::write(&key, KEY).expect("a file");
        let config = |adapter: &str| -> Config {
            let jwt = json!({"keys": [{"secret_file": key}]});
            let table = json!({"adapter": adapter, "dev": {"key_file": key}, "jwt": jwt});
            serde_json::from_value(table).expect("a table")
        };
        let nats = nats::Config {
            servers: vec![Nats::shared().await.nats.url()],
            prefix: format!("auth{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            ..Default::default()
        };
        let plugin = issuer(&config("jwt"), keys.path())
            .start_at(&nats.servers[0], &nats.prefix)
            .await;
        let attached = attach::Config {
            enabled: true,
            plugins: BTreeMap::from([(
                "issuer".to_owned(),
                Allowed {
                    hooks: [Hook::Authenticate].into(),
                    ..Default::default()
                },
            )]),
            ..Default::default()
        };
        let nats = within("a connection", nats::connect(&nats)).await.expect("NATS");
        let hooks = Hooks::new(&attached, &nats);
        for line in hooks.lines() {
            let mut terms = (*line.terms()).clone();
            terms.standing = Standing::Attached(1);
            line.set_terms(terms);
        }
        let given = Given {
            data: keys.path(),
            hooks: &hooks,
        };
        let config = config(adapter);
        assert_eq!((config.problems(), config.lacks(&attached)), (vec![], None));
        Self {
            auth: auth::build(&config, &given).expect("it opens"),
            keys,
            _plugin: plugin,
        }
    }

    async fn ask(&self, token: &str) -> Result<Identity, Refusal> {
        self.ask_at(token, NOW).await
    }

    async fn ask_at(&self, token: &str, now: i64) -> Result<Identity, Refusal> {
        self.auth.authenticate(token, &Facts::default(), now).await
    }

    /// A token of this key that may read `/topic/a` and write `/topic/w`.
    fn token(&self, key: &str, user: &str, seconds: u64) -> String {
        let file = self.keys.path().join("minted");
        std::fs::write(&file, key).expect("a file");
        let table = json!({"adapter": "jwt", "jwt": {"keys": [{"secret_file": file}]}});
        let config: Config = serde_json::from_value(table).expect("a table");
        let patterns = |topic: &str| Some(vec![Pattern::parse(topic).expect("a pattern")]);
        let grant = Grant {
            user: user.to_owned(),
            ttl: Duration::from_secs(seconds),
            read: patterns("/topic/a"),
            write: patterns("/topic/w"),
        };
        let given = Given {
            data: self.keys.path(),
            hooks: &Hooks::none(),
        };
        auth::mint(&config, &given, &grant, NOW).expect("a token")
    }
}

/// A plugin that knows the tokens of a configuration.
fn issuer(config: &Config, data: &std::path::Path) -> crate::harness::plugin::Recipe {
    let given = Given {
        data,
        hooks: &Hooks::none(),
    };
    let auth = auth::build(config, &given).expect("it opens");
    Plugin::named("issuer").hook("authenticate", move |question| {
        let token = question["token"].as_str().expect("a token");
        let judged = futures_util::FutureExt::now_or_never(auth.authenticate(token, &Facts::default(), NOW));
        Reply::Json(match judged.expect("it asks nobody") {
            Ok(identity) => answer(&identity),
            Err(refusal) => json!({"refused": refusal.to_string()}),
        })
    })
}

fn answer(identity: &Identity) -> Value {
    let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "user": &*identity.user,
        "expires": identity.expires,
        "topics": {"read": texts(identity.topics.read()), "write": texts(identity.topics.write())},
    })
}
