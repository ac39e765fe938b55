//! Whether a plugin keeps to the protocol: tried on the plugin itself, over NATS, for its author.
//!
//! In: a connection and a plugin's name. Out: a [`Finding`] for each check, as it is made: what was tried, whether it went well, and if not, how to
//! mend it. Nothing is assumed of a server: none needs to run. The plugin has to be one whose answers change nothing, as hooks are.

mod answers;
mod questions;

use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::client::RequestErrorKind;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use self::questions::Sample;
use super::config::{self, Allowed};
use super::descriptor::{self, Descriptor};
use super::line::excerpt;
use super::protocol::{Happening, Hook, MARK, VERSION};
use super::schema;
use crate::domain::id;
use crate::subjects;

/// What is tried, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// First token of the subjects (`nats.prefix`).
    pub prefix: String,
    pub plugin: String,
    /// This one alone; `None`: all that it serves.
    pub hook: Option<Hook>,
    /// Bodies of questions to ask besides, without `v` and `request`; each goes to the hook whose schema it fits.
    pub samples: Vec<Value>,
    /// Where the plugin says none.
    pub deadline: Duration,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<&'static str>,
    pub check: &'static str,
    pub ok: bool,
    /// What was seen: of a check that went well, if it is worth a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub mend: &'static str,
}

/// Questions that are open at once, as a server has them (`attach.hooks.in_flight`).
const AT_ONCE: usize = 16;
/// How long a service may take to say what it is.
const FOUND_WITHIN: Duration = Duration::from_secs(2);
/// An answer to something that is no question has no deadline, but has to come.
const ERROR_WITHIN: Duration = Duration::from_secs(5);

/// Tries everything, and tells each finding as it is made. Says whether all went well.
pub async fn examine(client: &Client, plan: &Plan, mut tell: impl FnMut(&Finding)) -> bool {
    let mut is_good = true;
    let mut tell = |finding: Finding| {
        is_good &= finding.ok;
        tell(&finding);
    };
    if let Some(descriptor) = attached(client, plan, &mut tell).await {
        let hooks = Hook::ALL.into_iter().filter(|hook| match plan.hook {
            Some(asked) => asked == *hook,
            None => descriptor.hooks.contains(hook),
        });
        for hook in hooks {
            let exam = Exam {
                client,
                hook,
                subject: subjects::hook(&plan.prefix, &plan.plugin, hook.name()),
                deadline: granted(&descriptor, plan),
                descriptor: &descriptor,
            };
            exam.run(&plan.samples, &mut tell).await;
        }
        for sample in &plan.samples {
            if !descriptor.hooks.iter().any(|hook| questions::fits(*hook, sample)) {
                let seen = format!("{} fits no hook of it", excerpt(&sample.to_string()));
                let mend = "a sample is the body of a question, without v and request: `quick-notify plugins schema review.request`";
                tell(Finding::wrong(None, "sample", seen, mend));
            }
        }
    }
    is_good
}

/// Finds it, and looks at what it says of itself.
async fn attached(client: &Client, plan: &Plan, tell: &mut impl FnMut(Finding)) -> Option<Descriptor> {
    let subject = format!("$SRV.INFO.{}", plan.plugin);
    let asked = tokio::time::timeout(FOUND_WITHIN, client.request(subject, "".into())).await;
    let found = match &asked {
        Ok(Ok(message)) => {
            descriptor::read(&message.payload).zip(serde_json::from_slice::<Value>(&message.payload).ok())
        }
        _ => None,
    };
    let Some((answered, info)) = found else {
        let seen = match asked {
            Err(_) => format!("nobody answered $SRV.INFO.{} within {FOUND_WITHIN:?}", plan.plugin),
            Ok(Err(error)) => format!("$SRV.INFO.{}: {error}", plan.plugin),
            Ok(Ok(message)) => excerpt(&format!(
                "the answer is no service's: {}",
                String::from_utf8_lossy(&message.payload)
            )),
        };
        let mend = "start it, on this NATS server, as a NATS service by this name: letters, digits, - and _";
        tell(Finding::wrong(None, "found", seen, mend));
        return None;
    };
    tell(Finding::right(
        None,
        "found",
        format!("{} {}, instance {}", plan.plugin, answered.version, answered.id),
    ));

    match schema::misfit("metadata", info.get("metadata").unwrap_or(&json!({}))) {
        Some(_) if answered.protocol.is_none() => {
            let mend = "say metadata {\"quick-notify\": \"1\"} where the service is made; without it no server sees a plugin in it";
            tell(Finding::wrong(None, "metadata", format!("there is no {MARK:?}"), mend));
        }
        Some(misfit) => {
            let mend = "values are strings: `quick-notify plugins schema metadata`";
            tell(Finding::wrong(None, "metadata", misfit, mend));
        }
        None => tell(Finding::right(None, "metadata", "")),
    }
    // Endpoints that listen where a hook is asked, by another name.
    for endpoint in info["endpoints"].as_array().into_iter().flatten() {
        let (name, subject) = (
            endpoint["name"].as_str().unwrap_or_default(),
            endpoint["subject"].as_str().unwrap_or_default(),
        );
        let of_hook = Hook::ALL
            .into_iter()
            .find(|hook| subject == subjects::hook(&plan.prefix, &plan.plugin, hook.name()));
        if let Some(hook) = of_hook.filter(|hook| hook.name() != name) {
            let seen = format!("the endpoint on {subject} is named {name:?}");
            let mend = "name it as the hook: that is how a server knows which hooks are served";
            tell(Finding::wrong(Some(hook), "endpoint", seen, mend));
        }
    }
    let descriptor = match answered.describe(&plan.prefix, &everything(&info)) {
        Ok(descriptor) => descriptor,
        Err(unfit) => {
            let mend =
                "a server refuses this instance, and says the same in its log and in `quick-notify plugins list`";
            tell(Finding::wrong(None, "attachable", unfit.reason, mend));
            return None;
        }
    };
    let hooks: Vec<_> = descriptor.hooks.iter().map(|hook| hook.name()).collect();
    let events: Vec<_> = descriptor.events.iter().map(|event| event.name()).collect();
    let list = |words: Vec<&str>| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(" ")
        }
    };
    tell(Finding::right(
        None,
        "attachable",
        format!("hooks: {}; events: {}", list(hooks), list(events)),
    ));
    advise(&descriptor, tell);
    if let Some(hook) = plan.hook.filter(|hook| !descriptor.hooks.contains(hook)) {
        let mend = "add an endpoint by the hook's name, on PREFIX.hook.NAME.HOOK, in a queue group";
        tell(Finding::wrong(Some(hook), "served", "it has no such endpoint", mend));
        return None;
    }
    Some(descriptor)
}

/// As a server with the defaults does it.
fn granted(descriptor: &Descriptor, plan: &Plan) -> Duration {
    let most = config::Hooks::default().deadline_most_ms;
    let asked = descriptor
        .deadline_ms
        .map(|asked| Duration::from_millis(asked.min(most)));
    asked.unwrap_or(plan.deadline)
}

/// What is no mistake, and perhaps not what was meant.
fn advise(descriptor: &Descriptor, tell: &mut impl FnMut(Finding)) {
    if !descriptor.unknown.is_empty() {
        let seen = format!("unknown keys: {}", descriptor.unknown.join(", "));
        let mend = "servers ignore them; `quick-notify plugins schema metadata` has those that they know";
        tell(Finding {
            mend,
            ..Finding::right(None, "metadata-keys", seen)
        });
    }
    let most = config::Hooks::default().deadline_most_ms;
    if let Some(asked) = descriptor.deadline_ms.filter(|asked| *asked > most) {
        let seen = format!("it asks for {asked} ms, and is tried with {most} ms");
        let mend = "servers grant no more than that, unless their attach.hooks.deadline_most_ms says so";
        tell(Finding {
            mend,
            ..Finding::right(None, "deadline", seen)
        });
    }
}

/// A configuration that allows whatever it says.
fn everything(info: &Value) -> Allowed {
    let commands = info["metadata"]["commands"].as_str().unwrap_or_default();
    Allowed {
        hooks: Hook::ALL.into(),
        events: Happening::ALL.into(),
        commands: commands.split_whitespace().map(str::to_owned).collect(),
        ..Allowed::default()
    }
}

/// One hook.
struct Exam<'a> {
    client: &'a Client,
    hook: Hook,
    subject: String,
    deadline: Duration,
    descriptor: &'a Descriptor,
}

/// What came back.
enum Heard {
    Answer(Value, Duration),
    /// The plugin's word that it failed.
    Error(String),
}

const MEND_ERRORS: &str = "answer with a service error (respond_error, or an exception that the library makes one of): a server waits for \
    its deadline otherwise, and its author looks for the reason in vain";

const MEND_VERSION: &str = "look at `v` before all else, and answer a service error to any other than 1: a later version may mean something \
    else by the same fields";

const MEND_LATE: &str = "answer sooner, or ask for more time by the metadata's deadline-ms; where a library ends a handler by an exception, \
    see that an error is answered; the account needs allow_responses";

impl Exam<'_> {
    async fn run(&self, samples: &[Value], tell: &mut impl FnMut(Finding)) {
        let hook = self.hook;
        let own = samples.iter().filter(|sample| questions::fits(hook, sample));
        let own = own.map(|sample| Sample::of("sample", sample.clone()));
        for sample in questions::samples(self.descriptor, hook).into_iter().chain(own) {
            tell(self.sample(&sample).await);
        }
        tell(self.many_at_once().await);
        tell(
            self.no_question("broken-json", br#"{"v":1,"request":"r_broken","#.as_slice().into())
                .await,
        );
        let mut later = questions::simple(self.descriptor, hook);
        later["v"] = json!(VERSION + 1);
        later["request"] = json!("r_later");
        tell(self.no_question("wrong-version", later.to_string().into()).await);
        tell(
            self.no_question("empty-question", r#"{"v":1,"request":"r_empty"}"#.into())
                .await,
        );
        let again = Sample::of("afterwards", questions::simple(self.descriptor, hook));
        tell(self.sample(&again).await);
    }

    /// Asks it, and follows the pages that it has.
    async fn sample(&self, sample: &Sample) -> Finding {
        match self.tried(sample).await {
            Ok(seen) => Finding::right(Some(self.hook), sample.check, seen),
            Err((seen, mend)) => Finding::wrong(Some(self.hook), sample.check, seen, mend),
        }
    }

    async fn tried(&self, sample: &Sample) -> Result<String, Wrong> {
        let request = id::request();
        let (answer, took) = match self.ask(&request, &sample.body, self.deadline).await? {
            Heard::Answer(answer, took) => (answer, took),
            Heard::Error(_) if sample.may_fail => return Ok("it says that it can't".into()),
            Heard::Error(error) => {
                let mend = "a question as the schema has it gets an answer; look for the plugin's own error";
                return Err((format!("it says that it failed: {error}"), mend));
            }
        };
        let kind = format!("{}.reply", self.hook.name());
        answers::framed(&answer, &request, &kind)?;
        answers::sensible(self.hook, &sample.body, &answer)?;
        let mut seen = format!("{} ms", took.as_millis());
        if self.hook == Hook::Review {
            let pages = self.pages(&sample.body, &answer).await?;
            if pages > 0 {
                seen += &format!(", {pages} further pages");
            }
        }
        Ok(seen)
    }

    /// Asks for what comes behind the first page of each route; says how many pages that were.
    async fn pages(&self, question: &Value, answer: &Value) -> Result<usize, Wrong> {
        let most = config::Hooks::default();
        let mut pages = 0;
        for verdict in answer["verdicts"].as_array().into_iter().flatten() {
            let notifications = question["notifications"].as_array().into_iter().flatten();
            let notification = notifications.clone().find(|one| one["id"] == verdict["id"]);
            let mut next = verdict["next"].clone();
            while !next.is_null() {
                let request = id::request();
                let body = json!({"page": {"next": next, "notification": notification}});
                let Heard::Answer(answer, _) = self.ask(&request, &body, self.deadline).await? else {
                    return Err((
                        format!("page {next} is an error"),
                        "what `next` says is asked for, by the same plugin, perhaps another instance",
                    ));
                };
                answers::framed(&answer, &request, "review.page.reply")?;
                pages += 1;
                if pages >= most.max_pages || answer["next"] == next {
                    let mend = "the last page has no `next`";
                    return Err((
                        format!("pages without end: after {pages} there is {next} again or still"),
                        mend,
                    ));
                }
                next = answer["next"].clone();
            }
        }
        Ok(pages)
    }

    /// As many as a node has open at most: each gets its own answer, in time.
    async fn many_at_once(&self) -> Finding {
        let sample = Sample::of("many-at-once", questions::simple(self.descriptor, self.hook));
        let tried = join_all((0..AT_ONCE).map(|_| self.tried(&sample))).await;
        let wrong: Vec<_> = tried.iter().filter_map(|tried| tried.as_ref().err()).collect();
        match wrong.first() {
            None => Finding::right(Some(self.hook), sample.check, format!("{AT_ONCE} questions")),
            Some((seen, mend)) => {
                let seen = format!("{} of {AT_ONCE}: {seen}", wrong.len());
                let mend = match *mend {
                    MEND_LATE => "answer several at a time, or start more instances: they share the work",
                    other => other,
                };
                Finding::wrong(Some(self.hook), sample.check, seen, mend)
            }
        }
    }

    /// Something that no server of this version sends: an error is right, an answer and silence are not.
    async fn no_question(&self, check: &'static str, payload: bytes::Bytes) -> Finding {
        let hook = Some(self.hook);
        match self.send(payload, ERROR_WITHIN).await {
            Ok(Heard::Error(error)) => Finding::right(hook, check, format!("an error: {error}")),
            // Nothing was asked, and a plugin may say what it says about nothing.
            Ok(Heard::Answer(..)) if check == "empty-question" => Finding::right(hook, check, "an answer"),
            Ok(Heard::Answer(answer, _)) => Finding::wrong(
                hook,
                check,
                excerpt(&format!("it answers as to a good question: {answer}")),
                if check == "wrong-version" {
                    MEND_VERSION
                } else {
                    MEND_ERRORS
                },
            ),
            Err((seen, _)) => Finding::wrong(hook, check, seen, MEND_ERRORS),
        }
    }

    async fn ask(&self, request: &str, body: &Value, limit: Duration) -> Result<Heard, Wrong> {
        let mut question = body.clone();
        question["v"] = json!(VERSION);
        question["request"] = json!(request);
        self.send(question.to_string().into(), limit).await
    }

    async fn send(&self, payload: bytes::Bytes, limit: Duration) -> Result<Heard, Wrong> {
        let begun = Instant::now();
        let sent = async_nats::Request::new().payload(payload).timeout(None);
        let asked = tokio::time::timeout(limit, self.client.send_request(self.subject.clone(), sent)).await;
        let message = match asked {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                let mend = "nobody listens there any more: did the question before this one end the process or its subscription?";
                return Err((format!("nobody listens on {}", self.subject), mend));
            }
            Ok(Err(error)) => return Err((error.to_string(), "look at the NATS server and its permissions")),
            Err(_) => {
                return Err((format!("no answer within {} ms", limit.as_millis()), MEND_LATE));
            }
        };
        let most = config::Hooks::default().max_reply;
        if message.payload.len() > most {
            let seen = format!(
                "the answer has {} octets; servers take {most} (attach.hooks.max_reply)",
                message.payload.len()
            );
            return Err((seen, "answer in pages (`next`), or say a smaller max-batch"));
        }
        if let Some(headers) = &message.headers
            && let Some(code) = headers.get(NATS_SERVICE_ERROR_CODE)
        {
            let text = headers.get(NATS_SERVICE_ERROR).map_or("", |text| text.as_str());
            return Ok(Heard::Error(excerpt(&format!("{} {text}", code.as_str()))));
        }
        match serde_json::from_slice(&message.payload) {
            Ok(answer) => Ok(Heard::Answer(answer, begun.elapsed())),
            Err(error) => Err((
                format!("the answer is no JSON: {error}"),
                "answer a JSON object, as UTF-8, and nothing around it",
            )),
        }
    }
}

/// What was seen, and how to mend it.
type Wrong = (String, &'static str);

impl Finding {
    fn right(hook: Option<Hook>, check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            hook: hook.map(Hook::name),
            check,
            ok: true,
            seen: seen.into(),
            mend: "",
        }
    }

    fn wrong(hook: Option<Hook>, check: &'static str, seen: impl Into<String>, mend: &'static str) -> Self {
        Self {
            hook: hook.map(Hook::name),
            check,
            ok: false,
            seen: seen.into(),
            mend,
        }
    }
}
