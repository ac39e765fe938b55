//! An attached plugin, within the test: a real NATS service, whose answers the story says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Client;
use async_nats::service::error::Error as ServiceError;
use async_nats::service::{Service, ServiceExt};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::servers::Nats;
use super::{Server, eventually, within};

/// What a hook answers.
pub enum Reply {
    /// The body; `v` and `request` are put to it unless it has them.
    Json(Value),
    Raw(Bytes),
    /// A service error.
    Error(usize, &'static str),
    /// Nothing, ever.
    Silence,
}

type Answer = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

/// How a plugin is made.
pub struct Recipe {
    name: String,
    version: String,
    metadata: HashMap<String, String>,
    hooks: Vec<(String, Option<String>, Answer)>,
}

/// One instance. Gone when dropped: its connection ends, as when its process is killed.
pub struct Plugin {
    client: Client,
    _service: Service,
    tasks: Vec<JoinHandle<()>>,
    questions: Arc<Mutex<Vec<Value>>>,
}

impl Plugin {
    /// One that speaks version 1; its name is that of the service.
    pub fn named(name: &str) -> Recipe {
        Recipe {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            metadata: HashMap::from([("quick-notify".to_owned(), "1".to_owned())]),
            hooks: Vec::new(),
        }
    }

    /// What it was asked so far, in order.
    pub fn questions(&self) -> Vec<Value> {
        self.questions.lock().expect("no panic").clone()
    }

    /// Its connection.
    #[allow(dead_code)]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let client = self.client.clone();
        tokio::spawn(async move {
            let _ = client.drain().await;
        });
    }
}

impl Recipe {
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// A line of its metadata.
    pub fn says(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without a line of its metadata.
    pub fn unsaid(mut self, name: &str) -> Self {
        self.metadata.remove(name);
        self
    }

    /// An endpoint named as the hook, where it has to listen.
    pub fn hook(mut self, hook: &str, answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        self.hooks.push((hook.to_owned(), None, Arc::new(answer)));
        self
    }

    /// The same, listening somewhere else.
    pub fn hook_on(
        mut self,
        hook: &str,
        subject: &str,
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.hooks
            .push((hook.to_owned(), Some(subject.to_owned()), Arc::new(answer)));
        self
    }

    /// Starts it beside servers with the prefix `notify`; the servers may not have seen it yet.
    pub async fn start(self, nats: &Nats) -> Plugin {
        self.start_at(&nats.url(), "notify").await
    }

    pub async fn start_at(self, url: &str, prefix: &str) -> Plugin {
        let again = |_| Duration::from_millis(20);
        let options = async_nats::ConnectOptions::new().reconnect_delay_callback(again);
        let client = within("a connection", options.connect(url)).await.expect("NATS");
        let service = client
            .service_builder()
            .description("a plugin of the tests")
            .metadata(self.metadata)
            .start(&self.name, &self.version)
            .await
            .expect("a service");
        let questions = Arc::<Mutex<Vec<Value>>>::default();
        let mut tasks = Vec::new();
        for (hook, subject, answer) in self.hooks {
            let subject = subject.unwrap_or_else(|| format!("{prefix}.hook.{}.{hook}", self.name));
            let endpoint = service.endpoint_builder().name(hook).add(subject).await;
            let mut endpoint = endpoint.expect("an endpoint");
            let questions = Arc::clone(&questions);
            tasks.push(tokio::spawn(async move {
                while let Some(request) = endpoint.next().await {
                    let question: Value = serde_json::from_slice(&request.message.payload).unwrap_or(Value::Null);
                    questions.lock().expect("no panic").push(question.clone());
                    let reply = match answer(&question) {
                        Reply::Json(body) => Ok(framed(body, &question)),
                        Reply::Raw(bytes) => Ok(bytes),
                        Reply::Error(code, status) => Err(ServiceError {
                            status: status.to_owned(),
                            code,
                        }),
                        Reply::Silence => continue,
                    };
                    let _ = request.respond(reply).await;
                }
            }));
        }
        client.flush().await.expect("the server heard it");
        Plugin {
            client,
            _service: service,
            tasks,
            questions,
        }
    }
}

fn framed(mut body: Value, question: &Value) -> Bytes {
    if let Some(fields) = body.as_object_mut() {
        fields.entry("v").or_insert(json!(1));
        fields.entry("request").or_insert_with(|| question["request"].clone());
    }
    serde_json::to_vec(&body).expect("JSON").into()
}

/// Settings of a server beside `nats` that looks for plugins often. What may attach is for the story to say.
pub fn attached(nats: &Nats) -> Vec<(String, String)> {
    [
        ("attach.enabled", "true".to_owned()),
        ("attach.discover_ms", "100".to_owned()),
        ("attach.lease_ms", "1000".to_owned()),
        ("nats.servers", format!("[\"{}\"]", nats.url())),
    ]
    .map(|(path, value)| (path.to_owned(), value))
    .into()
}

/// A server alone but for `nats`, which looks for plugins.
pub async fn beside(nats: &Nats, settings: &[(&str, &str)]) -> Server {
    let base = attached(nats);
    let base = base.iter().map(|(path, value)| (&**path, &**value));
    Server::alone(&base.chain(settings.iter().copied()).collect::<Vec<_>>()).await
}

impl Server {
    /// What `GET /api/plugins` says of one plugin; null when nothing.
    pub async fn plugin(&self, name: &str) -> Value {
        let all = self.get("/api/plugins", &[]).await.json();
        let plugins = all["plugins"].as_array().cloned().unwrap_or_default();
        let found = plugins.into_iter().find(|plugin| plugin["name"] == name);
        found.unwrap_or(Value::Null)
    }

    /// Until it says this state of a plugin: attached, absent, refused or disabled.
    pub async fn sees(&self, name: &str, state: &str) {
        eventually(&format!("{name} is {state}"), async || {
            self.plugin(name).await["state"] == state
        })
        .await;
    }
}
