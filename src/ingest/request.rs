//! What a request to the door holds, whatever it came over: one draft or an array of them.

use std::time::Duration;

use serde_json::value::RawValue;

use super::Ingest;
use super::answer::{self, Answer};
use super::door::{Item, Receipt, Refusal, Sender};
use crate::domain::notification::{Code, Draft, Rejection};

impl Ingest {
    /// Takes what `body` holds, and answers.
    pub(super) async fn request(&self, sender: Sender<'_>, body: &[u8]) -> Answer {
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
            let draft = Draft::from_json(body);
            let mut results = self.take(sender, vec![draft]).await;
            return answer::one(results.pop().expect("one answer a draft"));
        }
        match array(body, self.config.max_array) {
            Ok(drafts) => answer::many(self.take(sender, drafts).await),
            Err(rejection) => answer::refused(&Refusal::Rejected(rejection)),
        }
    }

    /// Hands drafts to the door, and answers for it when it takes too long.
    pub(super) async fn take(
        &self,
        sender: Sender<'_>,
        drafts: Vec<Result<Draft, Rejection>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let count = drafts.len();
        let limit = Duration::from_millis(self.config.accept_timeout_ms);
        match tokio::time::timeout(limit, self.door.take(sender, drafts)).await {
            Ok(mut items) => {
                if let Some(wait) = sender.wait {
                    self.door.words(&mut items, wait).await;
                }
                items.into_iter().map(Item::finish).collect()
            }
            Err(_) => {
                let late = Refusal::Later(
                    Duration::from_secs(1),
                    "the queue did not answer in time; it may still take this: retry under the same Idempotency-Key"
                        .into(),
                );
                vec![Err(late); count]
            }
        }
    }
}

impl Ingest {
    /// How long the answer may wait, as a request asks: `wait` says for what, `wait_ms` for how long. `fields` are their names there.
    pub(super) fn wait(
        &self,
        wait: Option<&str>,
        wait_ms: Option<&str>,
        fields: [&str; 2],
    ) -> Result<Option<Duration>, Rejection> {
        let [of_wait, of_ms] = fields;
        let wrong = |field, reason: String| Err(Rejection::new(Code::InvalidField, field, reason));
        let most = self.config.wait_most_ms;
        match (wait, wait_ms.map(str::parse)) {
            (None, None) => Ok(None),
            (None, Some(_)) => wrong(of_ms, format!("needs {of_wait}: stored")),
            (Some("stored"), None) => Ok(Some(Duration::from_millis(self.config.wait_ms))),
            (Some("stored"), Some(Ok(ms))) if (1..=most).contains(&ms) => Ok(Some(Duration::from_millis(ms))),
            (Some("stored"), Some(_)) => wrong(of_ms, format!("must lie between 1 and {most} (ingest.wait_most_ms)")),
            (Some(_), _) => wrong(of_wait, "is not known; known: stored".into()),
        }
    }
}

/// A name that a header may hold once, such as an idempotency key: 1 to 255 characters of visible ASCII.
pub(super) fn name_in_header<'a>(
    field: &str,
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a str>, Rejection> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let reason = match std::str::from_utf8(value) {
        _ if values.next().is_some() => "must stand only once",
        Ok(name) if value.iter().all(visible) => match name.len() {
            1..=255 => return Ok(Some(name)),
            _ => "must have 1 to 255 characters",
        },
        _ => "must be visible ASCII",
    };
    Err(Rejection::new(Code::InvalidField, field, reason))
}

/// The items of an array, each read by itself: one that can't be read is no reason to refuse its neighbours.
fn array(bytes: &[u8], max: usize) -> Result<Vec<Result<Draft, Rejection>>, Rejection> {
    let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| Rejection::bad_json(&error))?;
    match items.len() {
        0 => Err(Rejection::new(Code::InvalidField, "body", "is an empty array")),
        n if n > max => {
            let reason = format!("has {n} items; at most {max} are taken (ingest.max_array)");
            Err(Rejection::new(Code::TooLarge, "body", reason))
        }
        _ => Ok(items
            .into_iter()
            .map(|item| Draft::from_json(item.get().as_bytes()))
            .collect()),
    }
}
