//! `terrace config`: what the environment means.

use crate::harness::terrace;
use crate::{KEY, run};
use std::process::Stdio;

fn config(variables: &[(&str, &str)], arguments: &[&str]) -> crate::Said {
    run(terrace().envs(variables.iter().copied()).args(arguments))
}

fn text(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let output = terrace().envs(variables.iter().copied()).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_variable_has_its_value_and_where_it_came_from() {
    let said = config(&[("ENABLE_METRICS", "off"), ("REDIS_HOST", "cache")], &["config", "check"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let find = |name: &str| {
        let all = said.json["variables"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let metrics = find("CACHE_METRICS_ENABLED");
    assert_eq!((&metrics["value"], &metrics["alias"]), (&"off".into(), &"ENABLE_METRICS".into()));
    assert_eq!(find("REDIS_HOST")["source"], "environment");
    assert_eq!((&find("REDIS_PORT")["value"], &find("REDIS_PORT")["source"]), (&"6379".into(), &"default".into()));
    assert_eq!(find("CACHE_L2_READ_BUDGET")["value"], "30ms");
}

#[test]
fn what_is_unknown_malformed_or_contradictory_fails_and_all_of_it_is_named() {
    let wrong = [
        ("CACHE_L1_ENABLE", "on"),
        ("CACHE_FILL_WAIT", "soon"),
        ("CACHE_ENABLED", "on"),
        ("ENABLE_SEMANTIC_CACHE_V2", "0"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_HOST", "h"),
        ("AUTHZ_CACHE_KEYS", "no-key"),
    ];
    let (status, said) = text(&wrong, &["config", "check"]);
    assert_eq!(status, Some(1), "{said}");
    for part in [
        "CACHE_L1_ENABLE is not a setting; the nearest one is CACHE_L1_ENABLED",
        "CACHE_FILL_WAIT is \"soon\"",
        "CACHE_ENABLED and ENABLE_SEMANTIC_CACHE_V2",
        "REDIS_URL and REDIS_HOST",
        "AUTHZ_CACHE_KEYS",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert_eq!(said.matches("\nfail ").count() + usize::from(said.starts_with("fail ")), 5, "{said}");
    assert_eq!(text(&wrong, &["config"]).0, Some(0), "to look is no failure");
    assert_eq!(text(&wrong, &["config", "export"]).0, Some(1));
}

#[test]
fn somebody_elses_variables_are_listed_and_are_no_mistake() {
    let said =
        config(&[("QDRANT_HOST", "q"), ("REDIS_SERVICE_HOST", "10.0.0.1"), ("REDIS_PORT", "1")], &["env", "check"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.json["foreign"], serde_json::json!(["QDRANT_HOST", "REDIS_SERVICE_HOST"]));
    assert!(said.of("environment-idle") == "warn" && said.measured("environment-idle").contains("REDIS_PORT"));
}

#[test]
fn no_secret_is_ever_printed() {
    let secrets = [
        ("REDIS_URL", "redis://me:hunter2@h:7000/1"),
        ("REDIS_SENTINEL_PASSWORD", "hunter2"),
        ("CACHE_KEYS", KEY),
        ("AUTHZ_CACHE_KEYS", KEY),
    ];
    for arguments in [&["config"][..], &["config", "check"], &["config", "export"], &["env", "check", "-o", "json"]] {
        let (status, said) = text(&secrets, arguments);
        assert_eq!(status, Some(0), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("AAECAw"), "{said}");
        assert!(said.contains("REDIS_URL") && said.contains("AUTHZ_CACHE_KEYS"), "{said}");
    }
}

#[test]
fn what_is_exported_means_the_same_again() {
    let given = [("CACHE_FILL_WAIT", "7s"), ("ENABLE_METRICS", "off"), ("REDIS_HOST", "h"), ("REDIS_DB", "3")];
    let (status, file) = text(&given, &["config", "export"]);
    assert_eq!(status, Some(0));
    let lines: Vec<(&str, &str)> =
        file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    assert_eq!(lines.len(), 4, "{file}");
    assert_eq!(text(&lines, &["config", "export"]).1, file);
    for name in ["CACHE_NAMESPACE", "AUTHZ_CACHE_TTL", "REDIS_SENTINELS"] {
        assert!(file.contains(&format!("\n#{name}=")), "{file}");
    }
}
