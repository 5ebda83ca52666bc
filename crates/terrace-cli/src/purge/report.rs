//! What came of it.

use super::{How, Target};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::text::{Format, plain, print, print_json, table};
use serde_json::{Value, json};
use terrace::Receipt;

/// What was acknowledged, and what was not.
pub(crate) struct Report {
    namespace: String,
    place: String,
    soft: bool,
    replicas: Option<u32>,
    done: Vec<(Target, Receipt)>,
    failure: Option<String>,
}

impl Report {
    pub(crate) fn new(fleet: &Fleet, how: &How) -> Self {
        Self {
            namespace: fleet.namespace.clone(),
            place: fleet.place.clone(),
            soft: how.soft,
            replicas: how.replicas,
            done: Vec::new(),
            failure: None,
        }
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

    /// # Errors
    ///
    /// When not all of it was acknowledged by all who were asked.
    pub(crate) fn outcome(self) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), |why| Err(Failure::runtime(why)))
    }

    pub(crate) fn print(&self, format: Format) {
        match format {
            Format::Json => print_json(&self.json()),
            Format::Table if self.done.is_empty() => {}
            Format::Table => print(&self.table()),
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
            "acknowledged": self.failure.is_none(),
            "soft": self.soft,
            "replicas_wanted": self.replicas,
            "purges": purges.collect::<Vec<_>>(),
            "error": self.failure,
        })
    }

    fn table(&self) -> String {
        let row = |(target, receipt): &(Target, Receipt)| {
            let (scope, name) = target.parts();
            let replicas = receipt.replicas().map_or_else(|| "-".to_owned(), |count| count.to_string());
            vec![scope.to_owned(), plain(name), receipt.position().to_string(), replicas]
        };
        let rows: Vec<_> = self.done.iter().map(row).collect();
        let epoch = self.done.last().and_then(|(_, receipt)| receipt.epoch()).unwrap_or_default();
        let kind = if self.soft { "soft" } else { "hard" };
        let Self { namespace, place, .. } = self;
        format!(
            "{}{kind}, acknowledged in namespace `{namespace}` by {place}, epoch {epoch}\n",
            table(&["SCOPE", "TARGET", "POSITION", "REPLICAS"], &rows)
        )
    }
}

fn named(target: &Target) -> String {
    match target.parts() {
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope} `{}`", plain(name)),
    }
}
