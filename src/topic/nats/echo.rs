//! What a node tells itself over the server, to learn that the server has got everything before it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Subscriber;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::nats::Nats;
use crate::subjects;

pub struct Echo {
    nats: Nats,
    subject: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

/// Forgets a call that nobody waits for any more.
struct Call<'a>(&'a Echo, u64);

impl Echo {
    pub fn new(nats: &Nats) -> Self {
        let name = Uuid::new_v4().simple().to_string();
        Self {
            subject: subjects::topic_echo(&nats.prefix, &name),
            nats: nats.clone(),
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// What comes back; to be handed to [`Echo::heard`].
    pub async fn subscribe(&self) -> Result<Subscriber, String> {
        let subscribed = self.nats.client.subscribe(self.subject.clone()).await;
        subscribed.map_err(|error| error.to_string())
    }

    /// Returns once the server has got everything that was said before. Waits for as long as that takes.
    pub async fn call(&self) -> Result<(), String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (told, heard) = oneshot::channel();
        self.waiting().insert(number, told);
        let _call = Call(self, number);
        let said = self
            .nats
            .client
            .publish(self.subject.clone(), number.to_string().into());
        said.await.map_err(|error| error.to_string())?;
        heard.await.map_err(|_| "the connection to NATS broke".to_owned())
    }

    pub fn heard(&self, bytes: &[u8]) {
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        if let Some(told) = number.and_then(|number: u64| self.waiting().remove(&number)) {
            let _ = told.send(());
        }
    }

    /// Nothing that was said will come back.
    pub fn lost(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}
