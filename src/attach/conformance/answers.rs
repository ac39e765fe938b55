//! What a plugin answered: whether it is an answer, to this question, and makes sense.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Wrong;
use crate::attach::protocol::{Hook, VERSION};
use crate::attach::schema;

/// The frame, and then the schema.
pub fn framed(answer: &Value, request: &str, kind: &str) -> Result<(), Wrong> {
    if answer["v"] != VERSION {
        return Err((
            format!("the answer's v is {}", answer["v"]),
            "repeat the question's v, as a number: 1",
        ));
    }
    if answer["request"] != request {
        let seen = format!(
            "the answer's request is {}, the question's {request:?}",
            answer["request"]
        );
        return Err((
            seen,
            "repeat the question's `request`, so that no answer is taken for another's",
        ));
    }
    match schema::misfit(kind, answer) {
        None => Ok(()),
        Some(misfit) => Err((
            format!("{kind}: {misfit}"),
            "`quick-notify plugins schema` has the schema, with examples",
        )),
    }
}

/// What the schema can't say.
pub fn sensible(hook: Hook, question: &Value, answer: &Value) -> Result<(), Wrong> {
    match hook {
        Hook::Review => verdicts(question, answer),
        Hook::Authenticate if question["token"] == "" && !answer["user"].is_null() => Err((
            format!("the empty token is {}'s", answer["user"]),
            "refuse it: {\"refused\": \"…\"}",
        )),
        _ => Ok(()),
    }
}

/// Each notification of the question once, and no other.
fn verdicts(question: &Value, answer: &Value) -> Result<(), Wrong> {
    let shown = question["notifications"].as_array().into_iter().flatten();
    let mut left: BTreeSet<_> = shown.clone().filter_map(|one| one["id"].as_str()).collect();
    for verdict in answer["verdicts"].as_array().into_iter().flatten() {
        let id = verdict["id"].as_str().unwrap_or_default();
        if !left.remove(id) {
            let is_known = shown.clone().any(|one| one["id"] == id);
            let seen = format!("{id:?} is {}", if is_known { "named twice" } else { "in no question" });
            return Err((
                seen,
                "name each notification of the question once, by its id, and no other",
            ));
        }
        let notification = shown.clone().find(|one| one["id"] == id);
        if verdict["verdict"] == "route" && notification.is_some_and(|one| one["to"].get("user").is_none()) {
            let mend = "only what is for one user can be routed; pass what is for a topic or everyone";
            return Err((
                format!(
                    "{id:?} is routed, and is for {}",
                    notification.unwrap_or(&Value::Null)["to"]
                ),
                mend,
            ));
        }
    }
    match left.first() {
        Some(id) if answer["others"] != "pass" => {
            let seen = format!("{} of the question have no verdict, as {id:?}", left.len());
            Err((
                seen,
                "name each notification of the question, or say \"others\": \"pass\"",
            ))
        }
        _ => Ok(()),
    }
}
