//! What differs between two baselines.

use super::Baseline;
use super::options::Diff;
use crate::failure::Failure;
use crate::text::{Format, plain, print, print_json, table};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn main(options: &Diff) -> Result<(), Failure> {
    let (before, after) = (Baseline::read(&options.before)?, Baseline::read(&options.after)?);
    let changes = changes(before.document(), after.document());
    match options.output {
        Format::Json => print_json(&json!({ "changes": changes.iter().map(Change::json).collect::<Vec<_>>() })),
        Format::Table if changes.is_empty() => print("nothing differs\n"),
        Format::Table => {
            let rows: Vec<_> = changes.iter().map(Change::row).collect();
            print(&table(&["FIGURE", "A", "B", "CHANGE"], &rows))
        }
    }
}

/// A figure that differs, or that only one of them has.
#[derive(Debug, PartialEq)]
struct Change {
    name: String,
    before: Value,
    after: Value,
}

impl Change {
    /// Relative, where that means something.
    fn by(&self) -> Option<f64> {
        let (before, after) = (self.before.as_f64()?, self.after.as_f64()?);
        Some((after - before) / before.abs()).filter(|change| change.is_finite())
    }

    fn json(&self) -> Value {
        json!({ "figure": self.name, "a": self.before, "b": self.after, "change": self.by() })
    }

    fn row(&self) -> Vec<String> {
        let by = self.by().map_or_else(|| "-".into(), |change| format!("{:+.1} %", change * 100.0));
        vec![plain(&self.name), shown(&self.before), shown(&self.after), by]
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// By their names, in order. When it was measured differs always, and is left out.
fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let (mut all, mut later) = (BTreeMap::new(), BTreeMap::new());
    flatten("", before, &mut all);
    flatten("", after, &mut later);
    let mut names: Vec<String> = all.keys().chain(later.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let mut take = |name: String| {
        let (before, after) = (all.remove(&name).unwrap_or_default(), later.remove(&name).unwrap_or_default());
        (before != after && !matches!(name.as_str(), "from" | "to")).then_some(Change { name, before, after })
    };
    names.into_iter().filter_map(&mut take).collect()
}

/// What is in it, by where; JSON's depth is bounded by what has read it.
fn flatten(name: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    let below = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(part, value)| flatten(&below(part), value, all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| flatten(&below(&place.to_string()), value, all));
        }
        other => {
            all.insert(name.to_owned(), other.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_does_not_is_not() {
        let before =
            json!({ "from": 1, "a": { "p95": 0.5, "same": 1, "gone": 2, "none": null }, "b": [{ "revision": "x" }] });
        let after =
            json!({ "from": 2, "a": { "p95": 0.75, "same": 1, "none": 3, "new": 0 }, "b": [{ "revision": "y" }] });
        let rows: Vec<_> = changes(&before, &after).iter().map(|change| change.row().join(" ")).collect();
        assert_eq!(
            rows,
            ["a.gone 2 - -", "a.new - 0 -", "a.none - 3 -", "a.p95 0.5 0.75 +50.0 %", "b.0.revision x y -"]
        );
        assert_eq!(changes(&before, &before), []);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let change = Change { name: "x".into(), before: json!(0), after: json!(5) };
        assert_eq!(change.json(), json!({ "figure": "x", "a": 0, "b": 5, "change": null }));
    }
}
