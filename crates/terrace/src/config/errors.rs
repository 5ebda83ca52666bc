//! What is wrong with a setting, in words.

use super::table::names;
use crate::Error;

#[cold]
pub(super) fn unknown(name: &str) -> Error {
    // Kubernetes announces a Service called `cache` to every pod of its namespace.
    if name.starts_with("CACHE_SERVICE_") || name.starts_with("CACHE_PORT") {
        let text =
            "is set by a Kubernetes Service called `cache`: rename it, or set `enableServiceLinks: false` in the pod";
        return Error::config(format!("{} {text}", shown(name)));
    }
    // A name that was cut short or added to is nearer than one with as many other letters.
    let related = |known: &str| known.starts_with(name) || name.starts_with(known);
    let nearest = names().min_by_key(|known| (!related(known), distance(name, known))).unwrap_or_default();
    Error::config(format!("{} is not a setting; the nearest one is {nearest}", shown(name)))
}

#[cold]
pub(super) fn malformed(name: &str, value: &str, accepts: &str) -> Error {
    Error::config(format!("{name} is {:?}, but accepts {accepts}", shown(value)))
}

#[cold]
pub(super) fn contradiction(one: &str, other: &str) -> Error {
    Error::config(format!("{one} and {other} name the same setting and differ; set one of them"))
}

/// As much of a hostile text as an error needs.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How many characters to insert, remove or replace (Levenshtein), looking at the first 64 of `a`.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
