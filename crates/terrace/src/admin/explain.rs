//! Why a request would be a hit or a miss.

use super::Inner;
use super::answer::{AdminBody, Refusal, json};
use super::ask::{Asked, request};
use crate::observe::Trip;
use crate::response::{Explanation, Outcome, Step};
use http::{Method, Response, StatusCode};
use serde_json::{Value as Json, json};
use std::time::Duration;

pub(super) async fn answer(admin: &Inner, mut asked: Asked) -> Result<Response<AdminBody>, Refusal> {
    let method = asked.text("method")?.unwrap_or_else(|| "GET".into());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("`method` is no method"))?;
    let url = asked.text("url")?.ok_or_else(|| Refusal::bad("`url` is missing"))?;
    let (fields, partition) = (asked.fields("headers")?, asked.text("partition")?);
    asked.end()?;
    let explained = admin.layer.explain(request(method.clone(), &url, fields, partition)?).await;
    Ok(json(StatusCode::OK, &shown(&method, &url, explained)))
}

fn shown(method: &Method, url: &str, explained: Explanation) -> Json {
    let Explanation { verdict, forward, steps, last } = explained;
    json!({
        "method": method.as_str(),
        "url": url,
        "verdict": verdict.as_str(),
        "forward": forward,
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
        "last_trip": last.map(last_trip),
    })
}

fn step(step: &Step) -> Json {
    let outcome = match step.outcome {
        Outcome::Passes => "passes",
        Outcome::Answers => "answers",
        Outcome::Fails => "fails",
    };
    json!({ "at": step.at, "outcome": outcome, "reason": step.reason, "text": step.text })
}

fn last_trip((trip, ago): (Trip, Duration)) -> Json {
    json!({
        "seconds_ago": ago.as_secs_f64(),
        "forward": trip.reason.as_str(),
        "status": trip.status,
        "unstored": trip.unstored,
    })
}
