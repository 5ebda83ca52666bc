//! A strict reader of the Prometheus text format, in place of promtool, which not every machine has.

use std::collections::{BTreeMap, HashSet};

pub(super) type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    /// Sample name, labels, value.
    pub(super) samples: Vec<(String, Labels, f64)>,
}

/// Reads a whole exposition, or panics with the line that is wrong.
pub(super) fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    let mut seen = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("help without text: {line}"));
            assert!(!families.contains_key(name), "a family is in one piece: {line}");
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.kind.is_empty(), "a family has one type: {line}");
            kind.clone_into(&mut family.kind);
            name.clone_into(&mut current);
        } else if !line.is_empty() {
            let (name, labels, value) = sample(line);
            assert!(seen.insert((name.clone(), labels.clone())), "a series appears once: {line}");
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("no type before: {line}"));
            assert!(belongs(&name, &current, &family.kind), "{line} is not of {current}");
            family.samples.push((name, labels, value));
        }
    }
    for (name, family) in &families {
        if family.kind == "histogram" {
            histogram(name, family);
        }
    }
    families
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    let suffixes: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    suffixes.iter().any(|suffix| sample.strip_prefix(family) == Some(suffix))
}

fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest, line)),
        None => (series, Labels::new()),
    };
    assert!(is_name(name), "not a name: {line}");
    (name.to_owned(), labels, value)
}

/// `name="value",…}`, where a value has no quote, backslash or line end.
fn labels(text: &str, line: &str) -> Labels {
    let body = text.strip_suffix('}').unwrap_or_else(|| panic!("labels do not end: {line}"));
    let mut labels = Labels::new();
    for pair in body.split(',') {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("no quotes: {line}"));
        assert!(is_name(name) && !value.contains(['"', '\\']), "{line}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "a label appears once: {line}");
    }
    labels
}

/// Buckets ascend, never fall, end with `+Inf`, which is the count; each series has a sum.
fn histogram(name: &str, family: &Family) {
    let mut series = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
    for (sample, labels, value) in &family.samples {
        if sample.ends_with("_bucket") {
            let mut labels = labels.clone();
            let edge = labels.remove("le").expect("a bucket has an edge").parse().expect("an edge is a number");
            series.entry(labels).or_default().push((edge, *value));
        }
    }
    for (labels, buckets) in series {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}: {buckets:?}");
        let (edge, count) = *buckets.last().unwrap();
        assert!(edge.is_infinite());
        assert_eq!(find(family, &format!("{name}_count"), &labels), Some(count));
        assert!(find(family, &format!("{name}_sum"), &labels).is_some_and(|sum| sum >= 0.0));
    }
}

/// The value of a sample.
pub(super) fn find(family: &Family, name: &str, labels: &Labels) -> Option<f64> {
    let sample = family.samples.iter().find(|sample| sample.0 == name && sample.1 == *labels);
    sample.map(|sample| sample.2)
}

#[test]
fn the_reader_refuses_what_is_wrong() {
    let refused = |text: &str| std::panic::catch_unwind(|| parse(text)).is_err();
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    assert!(!refused(&format!("{head}a_total{{b=\"c\"}} 1\n")));
    for lines in ["b_total 1", "a_total x", "a_total{b=c} 1", "a_total{b=\"c\" 1", "a_total 1\na_total 2", "a-total 1"]
    {
        assert!(refused(&format!("{head}{lines}\n")), "{lines}");
    }
    assert!(refused("a_total 1\n"));
    let head = "# HELP h H.\n# TYPE h histogram\n";
    let sound = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    assert!(!refused(&format!("{head}{sound}")));
    for (from, to) in [("count 2", "count 3"), ("\"1\"} 1", "\"1\"} 3"), ("+Inf", "2"), ("h_sum 3\n", "")] {
        assert!(refused(&format!("{head}{}", sound.replace(from, to))), "{from}");
    }
}
