//! The words of `review`, and the strict look at a plugin's verdicts: nobody acts on what one of them leaves open.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::line::excerpt;
use crate::domain::id::name_problem;
use crate::domain::identity::EVERYONE;
use crate::domain::kind::{Kinds, NOTIFY_DELETED, NOTIFY_VIEWED};
use crate::domain::notification::{Audience, Notification};
use crate::domain::time::EpochMs;

/// Octets of a cursor to further receivers.
const MOST_NEXT: usize = 4_096;

/// A question: what has to be looked at.
#[derive(Debug, Serialize)]
pub struct Notifications<'a> {
    pub notifications: &'a [&'a RawValue],
}

/// The question for further receivers of one notification.
#[derive(Debug, Serialize)]
pub struct Further<'a> {
    pub page: Page<'a>,
}

#[derive(Debug, Serialize)]
pub struct Page<'a> {
    pub next: &'a str,
    pub notification: &'a RawValue,
}

/// The answer to [`Notifications`], before anybody has looked at it.
#[derive(Debug, Deserialize)]
pub struct Verdicts {
    verdicts: Vec<Said>,
    others: Option<String>,
}

/// The answer to [`Further`].
#[derive(Debug, Deserialize)]
pub struct Receivers {
    receivers: Vec<String>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Said {
    id: String,
    verdict: String,
    r#type: Option<String>,
    /// `null` is data, too.
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    reason: Option<String>,
    receivers: Option<Vec<String>>,
    next: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// A notification as a plugin is asked about it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub data: &'a RawValue,
    /// Whether it is for one user.
    pub is_personal: bool,
}

/// What a plugin decided about one notification.
#[derive(Debug)]
pub enum Verdict {
    Pass,
    /// It becomes this; at least one of the two.
    Change {
        kind: Option<String>,
        data: Option<Box<RawValue>>,
    },
    Reject(String),
    Route(Routing),
}

/// Where it goes instead; more receivers are behind `next`.
#[derive(Debug)]
pub struct Routing {
    pub receivers: Vec<String>,
    pub next: Option<String>,
}

impl Verdict {
    /// The label of the metric.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Change { .. } => "change",
            Self::Reject(_) => "reject",
            Self::Route(_) => "route",
        }
    }
}

/// A notification as it is shown, which may differ by now from what its producer sent.
pub fn shown(notification: &Notification, kind: &str, data: &RawValue) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Shown<'a> {
        id: &'a str,
        r#type: &'a str,
        to: To<'a>,
        data: &'a RawValue,
        persist: bool,
        created: EpochMs,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    enum To<'a> {
        User(&'a str),
        Topic(&'a str),
        Everyone(bool),
    }
    let shown = Shown {
        id: &notification.id,
        r#type: kind,
        to: match &notification.to {
            Audience::User(user) => To::User(user),
            Audience::Topic(topic) => To::Topic(topic),
            Audience::Everyone => To::Everyone(true),
        },
        data,
        persist: notification.persist,
        created: notification.created,
    };
    to_raw_value(&shown).expect("strings, numbers and raw JSON are JSON")
}

impl Verdicts {
    /// One verdict for each of `asked`, in their order, or what makes no sense.
    pub fn check(self, asked: &[Asked<'_>], kinds: &Kinds, most_receivers: usize) -> Result<Vec<Verdict>, String> {
        let others_pass = match self.others.as_deref() {
            None => false,
            Some("pass") => true,
            Some(other) => return Err(format!("`others` is \"pass\" or absent, not {:?}", excerpt(other))),
        };
        let places: HashMap<&str, usize> = asked.iter().enumerate().map(|(place, one)| (one.id, place)).collect();
        let mut verdicts: Vec<Option<Verdict>> = asked.iter().map(|_| None).collect();
        for said in self.verdicts {
            let id = excerpt(&said.id);
            let Some(place) = places.get(&*said.id) else {
                return Err(format!("nobody asked about the id {id:?}"));
            };
            if verdicts[*place].is_some() {
                return Err(format!("the id {id:?} has two verdicts"));
            }
            let verdict = said.read(&asked[*place], kinds, most_receivers);
            verdicts[*place] = Some(verdict.map_err(|reason| format!("the verdict on {id:?}: {reason}"))?);
        }
        let missing = |place: usize| {
            format!(
                "the id {:?} has no verdict, and `others` doesn't say \"pass\"",
                asked[place].id
            )
        };
        let all = verdicts.into_iter().enumerate().map(|(place, verdict)| match verdict {
            None if !others_pass => Err(missing(place)),
            verdict => Ok(verdict.unwrap_or(Verdict::Pass)),
        });
        all.collect()
    }
}

impl Said {
    fn read(self, asked: &Asked<'_>, kinds: &Kinds, most_receivers: usize) -> Result<Verdict, String> {
        match &*self.verdict {
            "pass" => Ok(Verdict::Pass),
            "change" => {
                if self.r#type.is_none() && self.data.is_none() {
                    return Err("a change says `type` or `data`".into());
                }
                let kind = self.r#type.as_deref().unwrap_or(asked.kind);
                if matches!(kind, NOTIFY_VIEWED | NOTIFY_DELETED) {
                    return Err(format!("{kind} is the server's own to say"));
                }
                let data = self.data.as_deref().unwrap_or(asked.data);
                kinds
                    .check(kind, data)
                    .map_err(|rejection| excerpt(&rejection.to_string()))?;
                Ok(Verdict::Change {
                    kind: self.r#type,
                    data: self.data,
                })
            }
            "reject" => match self.reason {
                Some(reason) if !reason.trim().is_empty() => Ok(Verdict::Reject(excerpt(&reason))),
                _ => Err("a rejection says its `reason`".into()),
            },
            "route" if !asked.is_personal => Err("only what is for one user can be routed".into()),
            "route" => {
                let Some(receivers) = self.receivers else {
                    return Err("a route says its `receivers`".into());
                };
                let page = Receivers {
                    receivers,
                    next: self.next,
                };
                page.check(most_receivers).map(Verdict::Route)
            }
            other => Err(format!(
                "{:?} is none of pass, change, reject and route",
                excerpt(other)
            )),
        }
    }
}

impl Receivers {
    /// `most`: how many names may still come.
    pub fn check(self, most: usize) -> Result<Routing, String> {
        if self.receivers.len() > most {
            return Err("it names more receivers than attach.hooks.max_receivers".into());
        }
        for name in &self.receivers {
            if let Some(reason) = name_problem(name) {
                return Err(format!("the receiver {:?} {reason}", excerpt(name)));
            }
            if name == EVERYONE {
                return Err("a receiver is one user".into());
            }
        }
        if let Some(next) = &self.next
            && !(1..=MOST_NEXT).contains(&next.len())
        {
            return Err(format!("`next` has 1 to {MOST_NEXT} octets, or is absent"));
        }
        Ok(Routing {
            receivers: self.receivers,
            next: self.next,
        })
    }
}

impl Routing {
    /// Adds the next page; says how many further names may come.
    pub fn extend(&mut self, page: Routing) {
        self.receivers.extend(page.receivers);
        self.next = page.next;
    }

    /// The receivers, each once.
    pub fn once(self) -> Vec<String> {
        let mut seen = HashSet::with_capacity(self.receivers.len());
        let once = self.receivers.iter().map(|name| seen.insert(name.as_str()));
        let once: Vec<bool> = once.collect();
        let names = self.receivers.into_iter().zip(once);
        names.filter_map(|(name, first)| first.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(answer: Value) -> Result<Vec<&'static str>, String> {
        let data = to_raw_value("Hello").unwrap();
        let asked = ["a", "b"].map(|id| Asked {
            id,
            kind: "STRING_MSG",
            data: &data,
            is_personal: id == "a",
        });
        // From text, as it comes: raw JSON is only read from that.
        let answer: Verdicts = serde_json::from_str(&answer.to_string()).map_err(|error| error.to_string())?;
        let verdicts = answer.check(&asked, &Kinds::default(), 3)?;
        Ok(verdicts.iter().map(Verdict::name).collect())
    }

    fn one(verdict: Value) -> Result<Vec<&'static str>, String> {
        check(json!({"verdicts": [verdict], "others": "pass"}))
    }

    #[test]
    fn each_id_has_one_verdict_unless_the_others_pass() {
        let (a, b) = (
            json!({"id": "a", "verdict": "pass"}),
            json!({"id": "b", "verdict": "reject", "reason": "spam", "new in v1": 1}),
        );
        assert_eq!(check(json!({"verdicts": [b, a]})), Ok(vec!["pass", "reject"]));
        assert_eq!(
            check(json!({"verdicts": [], "others": "pass"})),
            Ok(vec!["pass", "pass"])
        );
        let table = [
            (json!({"verdicts": [a]}), "the id \"b\" has no verdict"),
            (json!({"verdicts": [a, a, b]}), "the id \"a\" has two verdicts"),
            (
                json!({"verdicts": [{"id": "c", "verdict": "pass"}], "others": "pass"}),
                "nobody asked about the id \"c\"",
            ),
            (
                json!({"verdicts": [], "others": "reject"}),
                "`others` is \"pass\" or absent",
            ),
        ];
        for (answer, reason) in table {
            let said = check(answer).unwrap_err();
            assert!(said.starts_with(reason), "{said}");
        }
    }

    #[test]
    fn a_verdict_that_makes_no_sense_is_none() {
        let fine = [
            (json!({"id": "a", "verdict": "change", "data": "Hi"}), "change"),
            (json!({"id": "a", "verdict": "route", "receivers": []}), "route"),
            (
                json!({"id": "a", "verdict": "route", "receivers": ["x", "y", "x"], "next": "2"}),
                "route",
            ),
        ];
        for (verdict, name) in fine {
            assert_eq!(one(verdict), Ok(vec![name, "pass"]));
        }
        let long = "n".repeat(MOST_NEXT + 1);
        let wrong = [
            (json!({"id": "a", "verdict": "maybe"}), "\"maybe\" is none of"),
            (json!({"id": "a", "verdict": "change"}), "a change says"),
            (
                json!({"id": "a", "verdict": "change", "data": 7}),
                "data: STRING_MSG takes a string",
            ),
            (
                json!({"id": "a", "verdict": "change", "data": null}),
                "data: STRING_MSG takes a string",
            ),
            (
                json!({"id": "a", "verdict": "change", "type": "NO_SUCH"}),
                "type: \"NO_SUCH\" is not a known type",
            ),
            (
                json!({"id": "a", "verdict": "change", "type": "NOTIFY_VIEWED", "data": {"ids": ["x"]}}),
                "NOTIFY_VIEWED is the server's own to say",
            ),
            (json!({"id": "a", "verdict": "reject"}), "a rejection says"),
            (
                json!({"id": "a", "verdict": "reject", "reason": " "}),
                "a rejection says",
            ),
            (json!({"id": "a", "verdict": "route"}), "a route says"),
            (
                json!({"id": "b", "verdict": "route", "receivers": ["x"]}),
                "the verdict on \"b\": only what is for one",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": ["1", "2", "3", "4"]}),
                "it names more receivers",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": [""]}),
                "the receiver \"\" must not be empty",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": ["*"]}),
                "a receiver is one user",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": ["x".repeat(65)]}),
                "the receiver ",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": [], "next": ""}),
                "`next` has 1 to",
            ),
            (
                json!({"id": "a", "verdict": "route", "receivers": [], "next": long}),
                "`next` has 1 to",
            ),
        ];
        for (verdict, reason) in wrong {
            let said = one(verdict).unwrap_err();
            let said = said.strip_prefix("the verdict on \"a\": ").unwrap_or(&said).to_owned();
            assert!(said.starts_with(reason), "{said}");
        }
    }

    #[test]
    fn a_receiver_that_is_named_twice_gets_one() {
        let routing = Routing {
            receivers: ["b", "a", "b", "c", "a"].map(String::from).into(),
            next: None,
        };
        assert_eq!(routing.once(), ["b", "a", "c"]);
    }
}
