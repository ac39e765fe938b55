//! `GET /api/plugins`: who is attached, as this node sees it. `POST /api/plugins/NAME/disable` and `…/enable`: an operator's decision, kept for all nodes.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Api;
use super::failure::Failure;
use crate::attach::{Office, Unkept};

pub async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Json<Value>, Failure> {
    api.keys.caller(&headers, api.open, "asking for the plugins")?;
    let report = api.attached.as_ref().map(|office| office.roster.report());
    Ok(Json(match report {
        Some(report) => json!({"enabled": true, "plugins": report.plugins, "strangers": report.strangers}),
        None => json!({"enabled": false, "plugins": [], "strangers": []}),
    }))
}

pub async fn disable(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let by = api
        .admin(&headers, ("disabling a plugin", "disable plugins"))?
        .to_owned();
    let office = office(&api, &name)?;
    let (revision, decision) = in_time(&api, office.decisions.disable(&name, &by)).await?;
    // The other nodes hear it; this one need not wait for that.
    office.roster.decided(&name, revision, Some(decision.clone()));
    Ok(Json(
        json!({"name": name, "disabled": decision, "plugin": office.roster.about(&name)}),
    ))
}

pub async fn enable(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let by = api.admin(&headers, ("enabling a plugin", "enable plugins"))?.to_owned();
    let office = office(&api, &name)?;
    let (revision, decision) = in_time(&api, office.decisions.enable(&name, &by)).await?;
    office.roster.decided(&name, revision, Some(decision));
    Ok(Json(
        json!({"name": name, "disabled": null, "plugin": office.roster.about(&name)}),
    ))
}

/// Where it is decided about a plugin that the configuration names.
fn office<'a>(api: &'a Api, name: &str) -> Result<&'a Office, Failure> {
    let Some(office) = &api.attached else {
        return Err(Failure::not_found("name", "no plugins attach here (attach.enabled)"));
    };
    if !office.roster.knows(name) {
        let name: String = name.chars().take(64).collect();
        return Err(Failure::not_found("name", format!("there is no attach.plugins.{name}")));
    }
    Ok(office)
}

async fn in_time<T>(api: &Api, kept: impl Future<Output = Result<T, Unkept>>) -> Result<T, Failure> {
    let limit = Duration::from_millis(api.config.ask_timeout_ms);
    match tokio::time::timeout(limit, kept).await {
        Ok(kept) => kept.map_err(|error| Failure::unavailable(error.to_string())),
        Err(_) => Err(Failure::unavailable(
            "JetStream did not answer in time (api.ask_timeout_ms)".into(),
        )),
    }
}
