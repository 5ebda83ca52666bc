//! An environment file, as systemd and containers read it.

use crate::text::plain;
use terrace::config::{Environment, Source, Variable};

/// All variables, each with what it is for.
pub(crate) fn file(environment: &Environment) -> String {
    let head =
        "# The environment of everything that uses this cache: NAME=VALUE, one a line. #NAME=VALUE is the default.\n";
    let entries = environment.variables.iter().map(entry);
    std::iter::once(head.to_owned()).chain(entries).collect::<Vec<_>>().join("\n")
}

fn entry(variable: &Variable) -> String {
    let Variable { name, accepts, meaning, default, .. } = variable;
    let is_given = variable.source != Source::Default && !variable.value.is_empty();
    // Also a URL without its login, which would be of no use to a program.
    let is_hidden = variable.value.contains("***");
    let line = match (is_given, is_hidden) {
        (true, true) => format!("# {name} is set, and not shown\n#{name}="),
        (true, false) => format!("{name}={}", quoted(&variable.value)),
        (false, _) => format!("#{name}={}", quoted(default)),
    };
    format!("# {meaning}\n# Accepts {accepts}.\n{line}\n")
}

fn quoted(value: &str) -> String {
    let value = plain(value);
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_the_environment_says_and_holds_no_secret() {
        let key = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let vars =
            [("CACHE_FILL_WAIT", "7s"), ("ENABLE_METRICS", "off"), ("AUTHZ_CACHE_KEYS", key), ("REDIS_HOST", "h")];
        let given = Environment::read(vars);
        let text = file(&given);
        assert!(!text.contains("AAEC"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let set: Vec<&str> = lines.clone().collect();
        assert_eq!(set, ["CACHE_FILL_WAIT=7s", "CACHE_METRICS_ENABLED=off", "REDIS_HOST=h"]);
        let again = Environment::read(lines.filter_map(|line| line.split_once('=')));
        assert_eq!((again.problems.len(), file(&again).contains("# AUTHZ_CACHE_KEYS is set")), (0, false));
    }

    #[test]
    fn every_line_that_is_switched_off_says_the_default() {
        let text = file(&Environment::read::<&str, &str>([]));
        let lines = text.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
        let all =
            Environment::read(lines.filter_map(|line| line.split_once('=')).filter(|(_, value)| !value.is_empty()));
        assert!(all.problems.is_empty(), "{:?}", all.problems);
        assert!(all.variables.iter().all(|variable| variable.value == variable.default), "{all:?}");
    }
}
