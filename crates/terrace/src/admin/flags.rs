//! What is switched on.

use super::answer::{AdminBody, Refusal, json};
use super::ask::Asked;
use crate::stats::Feature;
use crate::{Store, Switch};
use http::{Response, StatusCode};
use serde_json::{Map, Value as Json, json};

/// The longest reason, in characters.
const REASON: usize = 200;

pub(super) fn answer(store: &Store) -> Response<AdminBody> {
    json(StatusCode::OK, &json!({ "scope": "process", "flags": all(store) }))
}

/// All switches of this process by name.
pub(super) fn all(store: &Store) -> Json {
    let flags = store.flags();
    let each = Feature::ALL.iter().map(|feature| (feature.as_str().to_owned(), flags.is_on(*feature).into()));
    Json::Object(each.collect::<Map<_, _>>())
}

pub(super) async fn set(store: &Store, name: &str, mut asked: Asked) -> Result<Response<AdminBody>, Refusal> {
    let Some(feature) = Feature::ALL.iter().copied().find(|feature| feature.as_str() == name) else {
        let known: Vec<_> = Feature::ALL.iter().map(|feature| feature.as_str()).collect();
        return Err(Refusal::bad(format!("there is no such flag; the flags are {}", known.join(", "))));
    };
    let on = asked.truth("on")?.ok_or_else(|| Refusal::bad("`on` is missing: true or false"))?;
    let reason = asked.text("reason")?.ok_or_else(|| Refusal::bad("`reason` is missing: it is logged"))?;
    let fleet = asked.truth("fleet")?.unwrap_or_default();
    asked.end()?;
    if reason.chars().count() > REASON || reason.chars().any(char::is_control) {
        return Err(Refusal::bad(format!("`reason` is one line of {REASON} characters at most")));
    }
    if fleet {
        return switch(store, feature, if on { Switch::On } else { Switch::Off }, &reason).await;
    }
    store.flags().set_because(feature, on, &reason);
    Ok(answer(store))
}

/// For all processes, of which this one is told as the others are.
async fn switch(store: &Store, feature: Feature, to: Switch, why: &str) -> Result<Response<AdminBody>, Refusal> {
    match store.switch(feature, to, "admin", why).await {
        Ok(()) => {
            Ok(json(StatusCode::OK, &json!({ "scope": "fleet", "feature": feature.as_str(), "state": to.as_str() })))
        }
        Err(error) if error.is_config() => Err(Refusal::bad(error.to_string())),
        Err(error) => Ok(json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error.to_string() }))),
    }
}
