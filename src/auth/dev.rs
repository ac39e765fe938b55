//! The adapter for a trial on one's own machine: a token that starts with `test` is the user id itself.
//!
//! Enters: any token. Leaves: an identity that may read and write every topic. Whatever doesn't start with `test` is
//! checked as a JWT (HS256) with a secret that the first start makes, so `quick-notify token --sub alice` and the
//! ways of expiry can be tried without an identity provider. Anybody who reaches the port can be `test1`: never serve
//! others with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::jwt::mint::Signer;
use super::jwt::{Jwt, Key, Rules};
use super::{Auth, BuildError, Given, Refusal, Table};
use crate::domain::facts::Facts;
use crate::domain::identity::{Identity, Topics, parse_user};

const KEY_BYTES: usize = 32;
const PATH: &str = "dev.key_file";

/// `[auth.dev]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the secret lies: 32 raw bytes, made at the first start. Default: `dev-token.key` in the data directory.
    pub key_file: Option<PathBuf>,
}

impl Table for Config {
    /// Only what can be seen without making the key.
    fn problems(&self) -> Vec<BuildError> {
        let found = self.key_file.as_deref().map(read_key);
        found.and_then(Result::err).into_iter().collect()
    }

    fn open(&self, given: &Given) -> Result<Arc<dyn Auth>, BuildError> {
        Ok(Arc::new(Dev::new(self.key(given.data)?)))
    }

    fn signer(&self, given: &Given) -> Result<Signer, BuildError> {
        let key = self.key(given.data)?;
        Ok(Signer::from_secret(&key).expect("dev's key is a secret"))
    }

    fn tokens(&self) -> &'static str {
        "dev tokens"
    }

    fn is_dev(&self) -> bool {
        true
    }
}

impl Config {
    fn key(&self, data_dir: &Path) -> Result<Key, BuildError> {
        let default = || data_dir.join("dev-token.key");
        let secret = open_key(&self.key_file.clone().unwrap_or_else(default))?;
        Key::secret(&secret, None).map_err(|e| BuildError::new(PATH, e))
    }
}

pub struct Dev {
    topics: Topics,
    jwt: Jwt,
}

impl Dev {
    fn new(key: Key) -> Self {
        let topics = Topics::all();
        let rules = Rules {
            leeway_ms: 0,
            require_exp: true,
            issuers: Vec::new(),
            audiences: Vec::new(),
            topics: topics.clone(),
        };
        let jwt = Jwt::new(vec![key], rules);
        Self { topics, jwt }
    }
}

#[async_trait]
impl Auth for Dev {
    fn name(&self) -> &'static str {
        "dev"
    }

    async fn authenticate(&self, token: &str, _: &Facts, now_ms: i64) -> Result<Identity, Refusal> {
        // No JWT starts so: its header is JSON, and `{"` in base64url is `ey`.
        if !token.starts_with("test") {
            return self.jwt.check(token, now_ms);
        }
        Ok(Identity {
            user: parse_user(token)?,
            expires: None,
            token_id: None,
            issued: None,
            topics: self.topics.clone(),
            max_sessions: None,
        })
    }
}

/// The key in this file, made if there is none. Processes that start together all get the one that was first.
fn open_key(path: &Path) -> Result<[u8; KEY_BYTES], BuildError> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    make_key(path).map_err(|e| BuildError::new(PATH, format!("{}: can't be made: {e}", path.display())))?;
    read_key(path)?.ok_or_else(|| BuildError::new(PATH, format!("{}: it vanished", path.display())))
}

fn read_key(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, BuildError> {
    let told = |reason: String| BuildError::new(PATH, format!("{}: {reason}", path.display()));
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(key)),
            Err(_) => Err(told(format!(
                "not {KEY_BYTES} bytes: remove it, and the next start makes another"
            ))),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(told(e.to_string())),
    }
}

/// Writes the key under a name of its own, then links it to the real one, which fails if that exists: nobody ever reads
/// half a key, a crash leaves none, and of two processes the second keeps the first one's.
fn make_key(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let draft = path.with_extension(format!("{:016x}.tmp", getrandom::u64()?));
    let written = write_private(&draft, &key).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match written {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => removed,
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
