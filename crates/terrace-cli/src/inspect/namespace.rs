//! The state of a namespace, as text and as JSON.

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::walk::{Pace, Walk, as_f64};
use serde_json::{Value, json};
use terrace::inspect::Namespace;

/// What Redis says, and what was counted.
pub(crate) struct State {
    name: String,
    place: String,
    facts: Namespace,
    entries: u64,
    unreadable: u64,
    examined: u64,
    complete: bool,
}

/// Asks, and counts the entries as far as `pace` goes.
///
/// # Errors
///
/// When Redis cannot be read.
pub(crate) async fn look(fleet: &Fleet, pace: Pace) -> Result<State, Failure> {
    let facts = fleet.store.inspect_namespace().await.map_err(Failure::runtime)?;
    let mut walk = Walk::new(fleet.store.scan(), pace, facts.keys);
    while walk.next().await?.is_some() {}
    Ok(State {
        name: fleet.namespace.clone(),
        place: fleet.place.clone(),
        facts,
        entries: walk.entries(),
        unreadable: walk.unreadable,
        examined: walk.stride.examined,
        complete: walk.complete,
    })
}

impl State {
    /// How many entries there probably are: as many, or of each part of the database as many as of the one that was seen.
    fn estimate(&self) -> Option<u64> {
        let counted = self.entries + self.unreadable;
        if self.complete {
            return Some(counted);
        }
        let keys = self.facts.keys?.max(counted);
        let part = if self.examined == 0 { return None } else { as_f64(counted) / as_f64(self.examined) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of what was a u64")]
        Some((part * as_f64(keys)).round() as u64)
    }

    pub(crate) fn json(&self) -> Value {
        let facts = &self.facts;
        json!({
            "namespace": self.name,
            "redis": self.place,
            "epoch": facts.epoch,
            "position": facts.position,
            "floor": facts.floor,
            "markers": facts.markers,
            "changes": facts.changes,
            "listeners": facts.listeners,
            "entries": { "about": self.estimate(), "exact": self.complete, "unreadable": self.unreadable },
            "scan": { "keys": self.examined, "complete": self.complete },
            "server": {
                "version": facts.version,
                "replicas": facts.replicas,
                "keys": facts.keys,
                "used_memory": facts.used_memory,
                "max_memory": facts.max_memory,
                "maxmemory_policy": facts.maxmemory_policy,
            },
            "warnings": facts.warnings,
        })
    }

    pub(crate) fn text(&self) -> String {
        let Namespace { epoch, position, floor, markers, changes, .. } = &self.facts;
        let about = if self.complete { "" } else { "about " };
        let entries = self.estimate().map_or_else(|| "not counted".to_owned(), |count| format!("{about}{count}"));
        let unreadable = match self.unreadable {
            0 => String::new(),
            count => format!(", of which {count} cannot be read (sealed, or of another version)"),
        };
        let mut lines = vec![
            ("namespace", format!("{}, in {}", self.name, self.place)),
            ("entries", entries + &unreadable),
            ("epoch", epoch.clone()),
            ("position", format!("{position}, of which up to {floor} may be forgotten")),
            ("markers", format!("{markers}, and {changes} tags held by open changes")),
            ("listeners", number(self.facts.listeners)),
        ];
        lines.extend(self.server());
        lines.extend(self.facts.warnings.iter().map(|warning| ("warning", warning.clone())));
        lines.into_iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect::<Vec<_>>().concat()
    }

    fn server(&self) -> [(&'static str, String); 2] {
        let Namespace { version, replicas, keys, used_memory, max_memory, maxmemory_policy, .. } = &self.facts;
        let version = version.as_deref().unwrap_or("unknown");
        let (replicas, policy) = (number(replicas.map(u64::from)), maxmemory_policy.as_deref().unwrap_or("unknown"));
        let limit = max_memory.map_or_else(|| "without limit".to_owned(), |bytes| format!("of {bytes}"));
        [
            ("server", format!("Redis {version}, {replicas} replicas, {} keys", number(*keys))),
            ("memory", format!("{} bytes {limit}, {policy}", number(*used_memory))),
        ]
    }
}

fn number(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}
