//! What is stored for a URL, as text and as JSON.

use crate::fleet::Fleet;
use crate::text::plain;
use crate::walk::Walk;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::time::Duration;
use terrace::inspect::{Contents, EntryKey, Field, Response, SelectingValue, StoredEntry, Tag, Validity, Value};

/// An entry, and how it was found.
pub(crate) struct Sight {
    pub(crate) entry: StoredEntry,
    /// One request would find it.
    pub(crate) by_request: bool,
}

/// Everything that was found.
pub(crate) struct Found {
    url: String,
    namespace: String,
    place: String,
    sights: Vec<Sight>,
    examined: u64,
    unreadable: u64,
    complete: bool,
}

impl Found {
    pub(crate) fn new(fleet: &Fleet, url: &str, sights: Vec<Sight>, walk: &Walk) -> Self {
        Self {
            url: url.to_owned(),
            namespace: fleet.namespace.clone(),
            place: fleet.place.clone(),
            sights,
            examined: walk.stride.examined,
            unreadable: walk.unreadable,
            complete: walk.complete,
        }
    }

    pub(crate) fn json(&self) -> Json {
        json!({
            "url": self.url,
            "namespace": self.namespace,
            "redis": self.place,
            "scan": { "keys": self.examined, "complete": self.complete, "unreadable": self.unreadable },
            "entries": self.sights.iter().map(Sight::json).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text: String = self.sights.iter().map(|sight| sight.text() + "\n").collect();
        let Self { url, namespace, place, examined, unreadable, .. } = self;
        if self.sights.is_empty() {
            let _ = writeln!(text, "Nothing is stored for {} in namespace `{namespace}` of {place}.", plain(url));
        }
        if !self.complete {
            let _ = writeln!(text, "After {examined} keys it was not looked further; --max-keys looks at more.");
        }
        if *unreadable > 0 {
            let _ = writeln!(
                text,
                "{unreadable} entries cannot be read: they are sealed (CACHE_KEYS), or of another version."
            );
        }
        text
    }
}

/// What can be done with an entry.
fn state(contents: &Contents) -> &'static str {
    match (&contents.validity, &contents.value) {
        (Validity::Current, Value::Response(response)) if !response.fresh_for.is_zero() => "fresh",
        (Validity::Current | Validity::Expired { .. }, Value::Response(_)) => "stale",
        (Validity::Current | Validity::Expired { .. }, Value::Variants(_)) => "variants",
        (Validity::Current | Validity::Expired { .. }, _) => "unknown",
        _ => "invalid",
    }
}

impl Sight {
    fn json(&self) -> Json {
        let StoredEntry { key, contents, .. } = &self.entry;
        let contents = contents.as_ref();
        let response = contents.ok().and_then(|contents| match &contents.value {
            Value::Response(response) => Some(response_json(response)),
            _ => None,
        });
        let varies_by = contents.ok().and_then(|contents| match &contents.value {
            Value::Variants(lists) => Some(lists.iter().map(|list| names(list)).collect::<Vec<_>>()),
            _ => None,
        });
        json!({
            "url": key.url(),
            "found_by": if self.by_request { "request" } else { "scan" },
            "state": contents.map_or("unreadable", state),
            "key": key_json(key),
            "bytes": self.entry.bytes,
            "expires_in": seconds(self.entry.expires_in),
            "envelope_version": self.entry.envelope_version,
            "schema": self.entry.schema,
            "compressed": self.entry.is_compressed,
            "sealed_by": self.entry.sealed_by,
            "unreadable": contents.err().map(ToString::to_string),
            "epoch": contents.ok().map(|contents| &contents.epoch),
            "position": contents.ok().map(|contents| contents.position),
            "validity": contents.ok().map(|contents| validity_json(&contents.validity)),
            "tags": contents.map_or_else(|_| Vec::new(), |contents| contents.tags.iter().map(tag_json).collect()),
            "varies_by": varies_by,
            "response": response,
        })
    }

    fn text(&self) -> String {
        let StoredEntry { key, contents, .. } = &self.entry;
        let mut text = format!("{}\n", plain(&key.url()));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<11}{value}");
        };
        line("stored", &stored(&self.entry));
        for (name, value) in key_lines(key) {
            line(name, &value);
        }
        match contents {
            Err(why) => line("state", &format!("unreadable: {why}")),
            Ok(contents) => {
                for (name, value) in contents_lines(contents) {
                    line(name, &value);
                }
            }
        }
        text
    }
}

fn stored(entry: &StoredEntry) -> String {
    let StoredEntry { bytes, envelope_version, schema, is_compressed, sealed_by, .. } = entry;
    let version = |version: Option<u32>| version.map_or_else(|| "?".to_owned(), |version| version.to_string());
    let (envelope, schema) = (version(envelope_version.map(u32::from)), version(schema.map(u32::from)));
    let compressed = if *is_compressed { ", compressed" } else { "" };
    let sealed = sealed_by.as_ref().map_or_else(String::new, |id| format!(", sealed by `{id}`"));
    format!(
        "{bytes} bytes for another {}; envelope {envelope}, schema {schema}{compressed}{sealed}",
        time(entry.expires_in)
    )
}

fn key_lines(key: &EntryKey) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.extend(key.partition.iter().map(|name| ("partition", plain(name))));
    if !key.version.is_empty() {
        lines.push(("version", plain(&key.version)));
    }
    if key.has_body {
        lines.push(("body", "its digest is a part of the key".into()));
    }
    if key.has_part {
        lines.push(("rule", "a rule has added a part to the key, which is not shown".into()));
    }
    lines.extend(key.rewritten.iter().map(|path| ("rewritten", plain(path))));
    for selecting in &key.selecting {
        let value = match &selecting.value {
            SelectingValue::Is(value) => plain(value),
            SelectingValue::Missing => "(not in the request)".into(),
            SelectingValue::Digest => "(not shown)".into(),
        };
        lines.push(("variant", format!("{}: {value}", selecting.name)));
    }
    lines
}

fn contents_lines(contents: &Contents) -> Vec<(&'static str, String)> {
    let validity = validity_text(&contents.validity, contents.position);
    let tags: Vec<String> = contents.tags.iter().map(|tag| plain(&tag.to_string())).collect();
    let mut lines = vec![("state", state(contents).to_owned()), ("validity", validity)];
    match &contents.value {
        Value::Response(response) => lines.extend(response_lines(response)),
        Value::Variants(lists) => {
            lines.extend(lists.iter().map(|list| ("varies by", names(list).join(", "))));
        }
        _ => lines.push(("content", "of another version".into())),
    }
    lines.push(("tags", tags.join("\n             ")));
    lines.push(("epoch", contents.epoch.clone()));
    lines
}

fn response_lines(response: &Response) -> Vec<(&'static str, String)> {
    let Response { status, age, lifetime, lifetime_from, fresh_for, stale_for, .. } = response;
    let left = if fresh_for.is_zero() {
        format!("stale for {}", time(*stale_for))
    } else {
        format!("{} left", time(*fresh_for))
    };
    let validation = if response.needs_validation { "; every use needs a validation" } else { "" };
    let windows =
        [("while revalidating", response.stale_while_revalidate), ("if the origin fails", response.stale_if_error)];
    let windows = windows.map(|(name, window)| format!("{name} {}", time(window)));
    let head: usize = response.fields.iter().map(|field| field.name.as_str().len() + field.bytes + 4).sum();
    let whole = match response.complete_bytes {
        Some(complete) if complete != response.content_bytes => format!(" of {complete}"),
        _ => String::new(),
    };
    let trailers =
        if response.trailers > 0 { format!(", {} trailer fields", response.trailers) } else { String::new() };
    let mut lines = vec![
        ("freshness", format!("age {} of {} ({lifetime_from}): {left}{validation}", time(*age), time(*lifetime))),
        ("may stay", format!("stale {}", windows.join(", "))),
        ("response", format!("{status}, {} bytes{whole} of content, {head} of head{trailers}", response.content_bytes)),
    ];
    lines.extend(response.fields.iter().map(|field| ("", format!("{}: {}", field.name, value_text(field)))));
    lines
}

fn value_text(field: &Field) -> String {
    match &field.value {
        Some(value) => plain(&String::from_utf8_lossy(value.as_bytes())),
        None => format!("({} bytes, not shown)", field.bytes),
    }
}

fn validity_text(validity: &Validity, stamp: u64) -> String {
    let tag = |tag: &Tag| plain(&tag.to_string());
    match validity {
        Validity::Current => format!("valid: nothing has invalidated it since its stamp, position {stamp}"),
        Validity::Expired { tag: by, position } => {
            format!("stale only: invalidated softly at position {position} (stamp {stamp}), by {}", tag(by))
        }
        Validity::Invalidated { tag: by, position } => {
            format!("never served again: invalidated at position {position} (stamp {stamp}), by {}", tag(by))
        }
        Validity::Held { tag: by } => format!("not served now: a change is open of {}", tag(by)),
        Validity::Forgotten { floor } => {
            format!("never served again: invalidations up to {floor} may be forgotten, and its stamp is {stamp}")
        }
        _ => format!("never served again: it is of another epoch (stamp {stamp})"),
    }
}

fn key_json(key: &EntryKey) -> Json {
    let selecting = key.selecting.iter().map(|selecting| {
        let (kind, value) = match &selecting.value {
            SelectingValue::Is(value) => ("is", Some(value)),
            SelectingValue::Missing => ("missing", None),
            SelectingValue::Digest => ("digest", None),
        };
        json!({ "name": selecting.name.as_str(), "kind": kind, "value": value })
    });
    json!({
        "scheme": key.scheme,
        "host": key.host,
        "path": key.path,
        "query": key.query,
        "version": key.version,
        "partition": key.partition,
        "has_body": key.has_body,
        "has_part": key.has_part,
        "rewritten": key.rewritten,
        "selecting": selecting.collect::<Vec<_>>(),
    })
}

fn validity_json(validity: &Validity) -> Json {
    let (verdict, tag, position, floor) = match validity {
        Validity::Current => ("current", None, None, None),
        Validity::Expired { tag, position } => ("expired", Some(tag), Some(*position), None),
        Validity::Invalidated { tag, position } => ("invalidated", Some(tag), Some(*position), None),
        Validity::Held { tag } => ("held", Some(tag), None, None),
        Validity::Forgotten { floor } => ("forgotten", None, None, Some(*floor)),
        _ => ("other_epoch", None, None, None),
    };
    json!({ "verdict": verdict, "tag": tag.map(tag_json), "position": position, "floor": floor })
}

fn tag_json(tag: &Tag) -> Json {
    json!({ "meaning": tag.meaning, "digest": format!("{:032x}", u128::from_be_bytes(tag.digest)) })
}

fn response_json(response: &Response) -> Json {
    let field = |field: &Field| {
        let value = field.value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        json!({ "name": field.name.as_str(), "value": value, "bytes": field.bytes })
    };
    json!({
        "status": response.status.as_u16(),
        "fields": response.fields.iter().map(field).collect::<Vec<_>>(),
        "trailers": response.trailers,
        "content_bytes": response.content_bytes,
        "complete_bytes": response.complete_bytes,
        "age": seconds(response.age),
        "lifetime": seconds(response.lifetime),
        "lifetime_from": response.lifetime_from,
        "fresh_for": seconds(response.fresh_for),
        "stale_for": seconds(response.stale_for),
        "stale_while_revalidate": seconds(response.stale_while_revalidate),
        "stale_if_error": seconds(response.stale_if_error),
        "needs_validation": response.needs_validation,
        "cost": seconds(response.cost),
    })
}

fn names(list: &[http::HeaderName]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// With milliseconds.
pub(super) fn seconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// In whole seconds, or milliseconds below one.
pub(super) fn time(time: Duration) -> String {
    let whole = if time < Duration::from_secs(1) {
        Duration::from_millis(u64::from(time.subsec_millis()))
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(whole).to_string()
}
