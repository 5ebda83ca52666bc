//! Purging.

use super::answer::{AdminBody, Refusal, json};
use super::ask::Asked;
use crate::{Error, Purge, Store};
use http::{Response, StatusCode};
use serde_json::json;
use std::error::Error as _;

const WHAT: &str = "say what to purge: one of `url`, `tag`, `prefix`, `partition`, or `\"all\": true`";

pub(super) async fn answer(store: &Store, mut asked: Asked) -> Result<Response<AdminBody>, Refusal> {
    let soft = asked.truth("soft")?.unwrap_or_default();
    let (scope, purge) = wanted(store, &mut asked)?;
    asked.end()?;
    let purge = if soft { purge.soft() } else { purge };
    match purge.await {
        Ok(receipt) => {
            let (epoch, position) = (receipt.epoch(), receipt.position());
            let body = json!({ "purged": scope, "soft": soft, "epoch": epoch, "position": position });
            Ok(json(StatusCode::OK, &body))
        }
        Err(error) if error.is_unconfirmed() => Ok(unconfirmed(store, &error)),
        Err(error) => Err(Refusal::bad(error.to_string())),
    }
}

fn wanted(store: &Store, asked: &mut Asked) -> Result<(&'static str, Purge), Refusal> {
    let mut wanted = Vec::new();
    wanted.extend(asked.text("url")?.map(|url| ("url", store.purge_url(&url))));
    wanted.extend(asked.text("tag")?.map(|tag| ("tag", store.purge_tag(&tag))));
    wanted.extend(asked.text("prefix")?.map(|prefix| ("prefix", store.purge_prefix(&prefix))));
    wanted.extend(asked.text("partition")?.map(|name| ("partition", store.purge_partition(&name))));
    wanted.extend(asked.truth("all")?.filter(|all| *all).map(|_| ("all", store.purge_all())));
    match (wanted.pop(), wanted.pop()) {
        (Some(one), None) => Ok(one),
        _ => Err(Refusal::bad(WHAT)),
    }
}

/// In effect here, and not known to be elsewhere.
fn unconfirmed(store: &Store, error: &Error) -> Response<AdminBody> {
    let body = json!({
        "error": error.to_string(),
        "why": error.source().map(ToString::to_string),
        "in_effect_here": true,
        "pending": store.stats().pending_invalidations(),
    });
    json(StatusCode::SERVICE_UNAVAILABLE, &body)
}
