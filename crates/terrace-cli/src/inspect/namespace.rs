//! The state of a namespace, as text and as JSON.

use super::entry::{seconds, time};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::walk::{Pace, Walk, as_f64};
use serde_json::{Value, json};
use std::time::Duration;
use terrace::inspect::Namespace;

/// Of so many entries it is asked how long they still live: each costs Redis its reading, and more would tell no more.
const SAMPLE: usize = 300;

/// What Redis says, and what was counted.
pub(crate) struct State {
    name: String,
    place: String,
    facts: Namespace,
    entries: u64,
    unreadable: u64,
    examined: u64,
    complete: bool,
    lives: Lives,
}

/// How long entries still live: those that were met first, for the order in which Redis tells them is that of digests.
struct Lives(Vec<Duration>);

/// Asks, and counts the entries as far as `pace` goes.
///
/// # Errors
///
/// When Redis cannot be read.
pub(crate) async fn look(fleet: &Fleet, pace: Pace) -> Result<State, Failure> {
    let facts = fleet.store.inspect_namespace().await.map_err(Failure::runtime)?;
    let mut walk = Walk::new(fleet.store.scan(), pace, facts.keys);
    let mut lives = Vec::new();
    while let Some(keys) = walk.next().await? {
        for key in keys.iter().take(SAMPLE - lives.len()) {
            // `None` if it is gone meanwhile.
            let entry = fleet.store.inspect_key(key).await.map_err(Failure::runtime)?;
            lives.extend(entry.map(|entry| entry.expires_in));
            walk.stride.charge(1);
        }
    }
    lives.sort_unstable();
    Ok(State {
        name: fleet.namespace.clone(),
        place: fleet.place.clone(),
        facts,
        entries: walk.entries(),
        unreadable: walk.unreadable,
        examined: walk.stride.examined,
        complete: walk.complete,
        lives: Lives(lives),
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
            "expires_in": self.lives.json(),
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
            ("expire in", self.lives.text()),
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

impl Lives {
    /// The least that so many percent of them do not exceed.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }

    fn json(&self) -> Value {
        let at = |percent| self.percentile(percent).map(seconds);
        json!({ "p10": at(10), "p50": at(50), "p90": at(90), "entries": self.0.len() })
    }

    fn text(&self) -> String {
        let at = |percent| self.percentile(percent).map(|life| format!("{} (P{percent})", time(life)));
        match (at(10), at(50), at(90)) {
            (Some(p10), Some(p50), Some(p90)) => format!("{p10}, {p50}, {p90}, of {} entries", self.0.len()),
            _ => "unknown: no entry was looked at".into(),
        }
    }
}

fn number(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_lives_of_entries() {
        let lives = |seconds: std::ops::RangeInclusive<u64>| Lives(seconds.map(Duration::from_secs).collect());
        let hundred = lives(1..=100);
        assert_eq!(hundred.json(), json!({ "p10": 10.0, "p50": 50.0, "p90": 90.0, "entries": 100 }));
        assert_eq!(lives(90..=90).text(), "1m 30s (P10), 1m 30s (P50), 1m 30s (P90), of 1 entries");
        assert_eq!(lives(1..=3).json(), json!({ "p10": 1.0, "p50": 2.0, "p90": 3.0, "entries": 3 }));
        let none = Lives(Vec::new());
        assert_eq!(none.json(), json!({ "p10": null, "p50": null, "p90": null, "entries": 0 }));
        assert_eq!(none.text(), "unknown: no entry was looked at");
    }
}
