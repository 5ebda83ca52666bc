//! What came of it.

use super::{How, Target};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::text::{Format, plain, print, print_json, table};
use crate::walk::Walk;
use serde_json::{Value, json};
use terrace::Receipt;

/// What was acknowledged, and what was not.
pub(crate) struct Report {
    namespace: String,
    place: String,
    soft: bool,
    replicas: Option<u32>,
    done: Vec<(Target, Receipt)>,
    /// What a walk that purges nothing has found.
    found: Option<Vec<String>>,
    walked: Option<Walked>,
    /// How many keys were removed as well.
    freed: Option<u64>,
    failure: Option<String>,
}

/// How far a walk through the entries went, which was to the end.
struct Walked {
    keys: u64,
    entries: u64,
    unreadable: u64,
}

impl Report {
    pub(crate) fn new(fleet: &Fleet, how: &How) -> Self {
        Self {
            namespace: fleet.namespace.clone(),
            place: fleet.place.clone(),
            soft: how.soft,
            replicas: how.replicas,
            done: Vec::new(),
            found: None,
            walked: None,
            freed: None,
            failure: None,
        }
    }

    /// Nothing is purged.
    pub(crate) fn only_finds(&mut self) {
        self.found = Some(Vec::new());
    }

    /// One more that was acknowledged, by as many replicas as the receipt says.
    pub(crate) fn add(&mut self, target: Target, receipt: Receipt) {
        if let Some(wanted) = self.replicas
            && let reached = receipt.replicas().unwrap_or(0)
            && reached < wanted
        {
            let name = named(&target);
            self.failure.get_or_insert_with(|| {
                format!("{name} was purged, but {reached} of {wanted} replicas had it in time: a failover may undo it")
            });
        }
        self.done.push((target, receipt));
    }

    /// One that was not, and after which others were not tried.
    pub(crate) fn failed(&mut self, target: &Target, why: &str, left: usize) {
        let name = named(target);
        let others = if left > 0 { format!("; {left} more were not tried") } else { String::new() };
        self.failure = Some(format!("the purge of {name} was not acknowledged: {why}{others}"));
    }

    /// One that would be purged.
    pub(crate) fn found(&mut self, url: String) {
        self.found.get_or_insert_default().push(url);
    }

    /// The walk through the entries went to its end.
    pub(crate) fn walked(&mut self, walk: &Walk) {
        let unreadable = walk.unreadable;
        self.walked = Some(Walked { keys: walk.stride.examined, entries: walk.entries(), unreadable });
        if unreadable > 0 {
            self.failure.get_or_insert_with(|| {
                format!(
                    "{unreadable} entries cannot be read, sealed (expected their keys in CACHE_KEYS) or of another \
                     version: whether they match is not known"
                )
            });
        }
    }

    /// The walk ended before it was at its end.
    pub(crate) fn broke_off(&mut self, failure: &Failure) {
        let done = self.done.len();
        self.failure = Some(format!("{failure}; {done} URLs were purged before, and others may match"));
    }

    /// Whether all of it was acknowledged by all who were asked.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.failure.is_none()
    }

    /// So many keys were removed as well; if not all of them, why.
    pub(crate) fn freed(&mut self, keys: u64, failure: Option<&Failure>) {
        self.freed = Some(keys);
        self.failure = failure.map(|why| {
            format!("nothing that was stored is served any more, but after {keys} keys no more memory was freed: {why}")
        });
    }

    /// # Errors
    ///
    /// When not all of it was acknowledged by all who were asked.
    pub(crate) fn outcome(self) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), |why| Err(Failure::runtime(why)))
    }

    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => print_json(&self.json()),
            Format::Table => print(&self.text()),
        }
    }

    fn json(&self) -> Value {
        let purges = self.done.iter().map(|(target, receipt)| {
            let (scope, name) = target.parts();
            json!({
                "scope": scope,
                "target": name,
                "epoch": receipt.epoch(),
                "position": receipt.position(),
                "replicas": receipt.replicas(),
            })
        });
        json!({
            "namespace": self.namespace,
            "redis": self.place,
            "acknowledged": self.failure.is_none() || self.freed.is_some(),
            "soft": self.soft,
            "replicas_wanted": self.replicas,
            "purges": purges.collect::<Vec<_>>(),
            "dry_run": self.found.is_some(),
            "matches": self.found,
            "scan": self.walked.as_ref().map(|Walked { keys, entries, unreadable }| {
                json!({ "keys": keys, "entries": entries, "unreadable": unreadable })
            }),
            "unlinked": self.freed,
            "error": self.failure,
        })
    }

    fn text(&self) -> String {
        if let Some(found) = &self.found {
            return found.iter().map(|url| plain(url) + "\n").collect();
        }
        match &self.walked {
            Some(Walked { entries, .. }) => {
                format!("{} URLs among {entries} entries match\n{}", self.done.len(), self.acknowledged())
            }
            None => self.table(),
        }
    }

    /// By whom, if there was anything.
    fn acknowledged(&self) -> String {
        let Some((_, receipt)) = self.done.last() else { return String::new() };
        let (kind, epoch) = (if self.soft { "soft" } else { "hard" }, receipt.epoch().unwrap_or_default());
        let Self { namespace, place, .. } = self;
        format!("{kind}, acknowledged in namespace `{namespace}` by {place}, epoch {epoch}\n")
    }

    fn table(&self) -> String {
        if self.done.is_empty() {
            return String::new();
        }
        let row = |(target, receipt): &(Target, Receipt)| {
            let (scope, name) = target.parts();
            let replicas = receipt.replicas().map_or_else(|| "-".to_owned(), |count| count.to_string());
            vec![scope.to_owned(), plain(name), receipt.position().to_string(), replicas]
        };
        let rows: Vec<_> = self.done.iter().map(row).collect();
        let freed = self.freed.map_or_else(String::new, |keys| format!("{keys} keys removed from Redis\n"));
        table(&["SCOPE", "TARGET", "POSITION", "REPLICAS"], &rows) + &self.acknowledged() + &freed
    }
}

fn named(target: &Target) -> String {
    match target.parts() {
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope} `{}`", plain(name)),
    }
}
