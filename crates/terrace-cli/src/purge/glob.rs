//! Purging by pattern: Redis knows digests only, so the entries are gone through and each URL that matches is purged.

use super::{Options, Report, Target};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::walk::{Pace, Walk, total};
use std::collections::HashSet;
use std::str::FromStr;
use terrace::inspect::EntryKey;
use wildmatch::WildMatchPattern;

/// A purge costs Redis and every process more than a look at a key: as many, at the same pace. At the usual one it leaves
/// processes far more time to hear of each than they need; from 10,000 at once on they would forget everything.
const PURGE: u64 = 10;

/// A pattern of URLs: `*` is any text, everything else itself. The scheme does not matter.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    /// The other wildcard of the library is a character that no argument can have.
    pattern: WildMatchPattern<'*', '\0'>,
    /// It begins with the path, and means every host.
    is_path: bool,
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = ["https://", "http://", "*://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let is_path = text.starts_with('/');
        let rest = match whole {
            Some(rest) => rest,
            None if is_path || text.starts_with('*') => text,
            None => return Err("expected a pattern that begins with /, * or https://".into()),
        };
        // As the hosts of entries are; after a star there may be a path.
        let (host, path) = rest.split_at(rest.find('/').or_else(|| rest.find('*')).unwrap_or(rest.len()));
        let pattern = WildMatchPattern::new(&(host.to_ascii_lowercase() + path));
        Ok(Self { pattern, is_path })
    }
}

impl Glob {
    fn matches(&self, name: &str, path: &str) -> bool {
        self.pattern.matches(if self.is_path { path } else { name })
    }
}

/// Goes through all entries, and purges those that match; or lists them, if that is all.
pub(super) async fn run(fleet: &Fleet, options: &Options) -> Report {
    let mut report = Report::new(fleet, &options.how);
    if options.dry_run {
        report.only_finds();
    }
    if let Err(failure) = walk(fleet, options, &mut report).await {
        report.broke_off(&failure);
    }
    report
}

async fn walk(fleet: &Fleet, options: &Options, report: &mut Report) -> Result<(), Failure> {
    let pace = Pace { rate: options.rate, max_keys: None };
    let mut walk = Walk::new(fleet.store.scan(), pace, total(fleet).await?);
    let mut urls = HashSet::new();
    while let Some(keys) = walk.next().await? {
        for key in keys.iter().filter(|key| is_wanted(key, &options.glob)) {
            if !urls.insert(key.name()) {
                continue;
            }
            if options.dry_run {
                report.found(key.url());
                continue;
            }
            walk.stride.charge(PURGE);
            let target = Target::Url(key.url());
            match options.how.acknowledged(&fleet.store, &target).await {
                Ok(receipt) => report.add(target, receipt),
                Err(why) => {
                    report.failed(&target, &why, 0);
                    return Ok(());
                }
            }
        }
    }
    report.walked(&walk);
    Ok(())
}

fn is_wanted(key: &EntryKey, globs: &[Glob]) -> bool {
    let (name, path) = (key.name(), key.path_and_query());
    globs.iter().any(|glob| glob.matches(&name, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_nothing_else_is_special() {
        for (pattern, host, path, matches) in [
            ("/shop/*.jpg", "a.example", "/shop/x/y.jpg", true),
            ("/shop/*.jpg", "a.example", "/shop/x.jpg?w=1", false),
            ("/a?b=*", "a.example", "/a?b=1", true),
            ("/a?b=*", "a.example", "/axb=1", false),
            ("/[ab]", "a.example", "/a", false),
            ("/x", "a.example", "/x", true),
            ("https://A.Example/*", "a.example", "/x", true),
            ("http://*.example/x*", "b.example", "/x/y", true),
            ("*://b.example/x*", "a.example", "/x/y", false),
            ("*.jpg", "a.example", "/B.jpg", true),
            ("*.JPG", "a.example", "/b.jpg", false),
            ("http://a.example/Path*", "a.example", "/path", false),
            ("http://A.example*", "a.example", "/path", true),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.matches(&format!("{host}{path}"), path), matches, "{pattern} {host}{path}");
        }
        for bad in ["", "a.example/*", "ftp://a/*", "?"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }
}
