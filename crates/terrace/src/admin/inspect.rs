//! What is stored for a URL.

use super::Inner;
use super::answer::{AdminBody, Refusal, json};
use super::ask::request;
use crate::response::{Field, InMemory, Shown};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use std::time::Duration;

pub(super) async fn answer(admin: &Inner, url: &str) -> Result<Response<AdminBody>, Refusal> {
    let request = request(Method::GET, url, HeaderMap::new(), None)?;
    let memory: Vec<_> = admin.layer.in_memory(request.clone()).iter().map(in_memory).collect();
    let redis = in_redis(admin, &request).await;
    let through = admin.store.shared_through();
    Ok(json(StatusCode::OK, &json!({ "url": url, "memory": memory, "shared_through": through, "redis": redis })))
}

fn in_memory(entry: &InMemory) -> Json {
    json!({
        "state": entry.state,
        "bytes": entry.bytes,
        "stored_for": seconds(entry.resident),
        "tags": entry.tags,
        "varies_by": lists(&entry.varies_by),
        "response": entry.response.as_ref().map(response),
    })
}

#[cfg(not(feature = "redis"))]
async fn in_redis(_: &Inner, _: &Request<()>) -> Json {
    std::future::ready(Json::Null).await
}

#[cfg(feature = "redis")]
async fn in_redis(admin: &Inner, request: &Request<()>) -> Json {
    if admin.store.shared_through().is_none() {
        return Json::Null;
    }
    match admin.store.inspect(request, &admin.rules).await {
        Ok(entries) => entries.iter().map(stored).collect(),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

#[cfg(feature = "redis")]
fn stored(entry: &crate::inspect::StoredEntry) -> Json {
    use crate::inspect::Value;
    let contents = entry.contents.as_ref();
    let value = contents.ok().map(|contents| &contents.value);
    json!({
        "bytes": entry.bytes,
        "expires_in": seconds(entry.expires_in),
        "compressed": entry.is_compressed,
        "sealed_by": entry.sealed_by,
        "unreadable": contents.err().map(ToString::to_string),
        "epoch": contents.ok().map(|contents| &contents.epoch),
        "position": contents.ok().map(|contents| contents.position),
        "validity": contents.ok().map(|contents| validity(&contents.validity)),
        "tags": contents.ok().map(|contents| contents.tags.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "varies_by": if let Some(Value::Variants(list)) = value { lists(list) } else { Json::Array(Vec::new()) },
        "response": if let Some(Value::Response(stored)) = value { response(stored) } else { Json::Null },
    })
}

#[cfg(feature = "redis")]
fn validity(validity: &crate::inspect::Validity) -> Json {
    use crate::inspect::Validity;
    let (verdict, tag, position) = match validity {
        Validity::Current => ("current", None, None),
        Validity::Expired { tag, position } => ("expired", Some(tag), Some(*position)),
        Validity::Invalidated { tag, position } => ("invalidated", Some(tag), Some(*position)),
        Validity::Held { tag } => ("held", Some(tag), None),
        Validity::Forgotten { floor } => ("forgotten", None, Some(*floor)),
        Validity::OtherEpoch => ("other_epoch", None, None),
    };
    json!({ "verdict": verdict, "tag": tag.map(ToString::to_string), "position": position })
}

fn response(shown: &Shown) -> Json {
    json!({
        "status": shown.status.as_u16(),
        "fields": shown.fields.iter().map(field).collect::<Vec<_>>(),
        "content_bytes": shown.content_bytes,
        "complete_bytes": shown.complete_bytes,
        "age": seconds(shown.age),
        "lifetime": seconds(shown.lifetime),
        "lifetime_from": shown.lifetime_from,
        "fresh_for": seconds(shown.fresh_for),
        "stale_for": seconds(shown.stale_for),
        "stale_while_revalidate": seconds(shown.stale_while_revalidate),
        "stale_if_error": seconds(shown.stale_if_error),
        "needs_validation": shown.needs_validation,
        "cost": seconds(shown.cost),
    })
}

fn field(field: &Field) -> Json {
    let value = field.value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    json!({ "name": field.name.as_str(), "value": value, "bytes": field.bytes })
}

fn lists(lists: &[Vec<HeaderName>]) -> Json {
    let names = |list: &Vec<HeaderName>| list.iter().map(HeaderName::as_str).collect::<Json>();
    lists.iter().map(names).collect()
}

fn seconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
