//! What has to be on and set for anything to be shared: `l2-configured` and `authz-keys`.

use super::options::Options;
use super::{Opened, namespace, skipped, value};
use crate::findings::{Finding, Status};
use terrace::config::Environment;
use terrace::stats::Feature;
use terrace::{Error, Store, Switch, Switched};

const ID: &str = "l2-configured";

/// What is shared needs all of these.
const NEEDED: [(Feature, &str); 4] = [
    (Feature::Cache, "CACHE_ENABLED"),
    (Feature::L2, "CACHE_L2_ENABLED"),
    (Feature::Authz, "AUTHZ_CACHE_ENABLED"),
    (Feature::AuthzL2, "AUTHZ_L2_CACHE_ENABLED"),
];

/// `l2-configured`: switched on, by the environment and for the fleet, with what was found about keys and the server.
pub(super) async fn shared(
    fleet: &Result<Opened, Finding>,
    environment: &Environment,
    server: &[Finding],
    keys: &Finding,
) -> Finding {
    let store = match fleet {
        Ok(opened) => &opened.fleet.store,
        Err(why) => return Finding { id: ID, ..why.clone() },
    };
    let switched = match switches(store, environment).await {
        Ok(switched) => switched,
        // Who cannot be asked that says nothing about itself either, and then this is told about the connection.
        Err(_) if server.is_empty() => Vec::new(),
        Err(why) => {
            return Finding::unknown(ID, why.to_string(), "try it again; `terrace flag get` shows what is switched");
        }
    };
    NEEDED.into_iter().find_map(|needed| off(store, &switched, needed)).unwrap_or_else(|| settings(server, keys))
}

/// What the processes obey of what was switched for the fleet.
async fn switches(store: &Store, environment: &Environment) -> Result<Vec<Switched>, Error> {
    let own = value(environment, "CACHE_FLEET_SWITCHES").unwrap_or_default();
    if ["0", "false", "no", "off"].iter().any(|off| own.eq_ignore_ascii_case(off)) {
        return Ok(Vec::new());
    }
    store.switches().await
}

/// The last word of the fleet counts, and without one what the environment says.
fn off(store: &Store, switched: &[Switched], (feature, name): (Feature, &str)) -> Option<Finding> {
    match switched.iter().rev().find(|one| one.feature == feature) {
        Some(Switched { to: Switch::On, .. }) => None,
        Some(Switched { to: Switch::Off, at, by, why, .. }) => {
            let (feature, at) = (feature.as_str(), humantime::format_rfc3339_seconds(*at));
            let measured = format!("{feature} is switched off for the fleet, at {at} by {by}: {why}");
            Some(Finding::fail(ID, measured, format!("terrace flag set {feature} as-started")))
        }
        _ if store.flags().is_on(feature) => None,
        _ => Some(Finding::fail(ID, format!("{name} is off"), format!("set {name} to on"))),
    }
}

/// The worst of what was found counts.
fn settings(server: &[Finding], keys: &Finding) -> Finding {
    let found = || server.iter().filter(|one| ["redis-memory-limit", "redis-eviction"].contains(&one.id)).chain([keys]);
    let first = |status| found().find(|one| one.status == status);
    match (first(Status::Fail), first(Status::Warn)) {
        (Some(bad), _) => Finding { id: ID, ..bad.clone() },
        _ if server.is_empty() => skipped(ID, "nothing is known about the server"),
        (None, Some(warning)) => Finding { id: ID, ..warning.clone() },
        (None, None) => Finding::ok(ID, "switched on, with keys, a memory limit and a policy as they are to be"),
    }
}

/// `authz-keys`: rights are shared only where they are sealed.
pub(super) fn keys(environment: &Environment, options: &Options) -> Finding {
    let (id, fix) =
        ("authz-keys", "set AUTHZ_CACHE_KEYS to what `terrace keygen` prints, and CACHE_NAMESPACE to a name");
    match (value(environment, "AUTHZ_CACHE_KEYS"), namespace(environment)) {
        (Some("none") | None, _) if options.authz_url.is_some() => {
            Finding::fail(id, "AUTHZ_CACHE_KEYS is not set", fix)
        }
        (Some("none") | None, _) => {
            Finding::warn(id, "AUTHZ_CACHE_KEYS is not set: nothing about rights can be shared", fix)
        }
        (Some(_), "default") => Finding::fail(id, "CACHE_NAMESPACE is `default`, which rights are not shared in", fix),
        (Some(_), name) => Finding::ok(id, format!("set, in namespace `{name}`")),
    }
    .threshold("set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worst_about_the_server_and_the_keys_counts() {
        let of = |id, status| Finding { status, ..Finding::warn(id, "so it is", "mend it") };
        let ok = of("authz-keys", Status::Ok);
        for (limit, policy, keys, status) in [
            (Status::Ok, Status::Ok, Status::Ok, Status::Ok),
            (Status::Ok, Status::Warn, Status::Ok, Status::Warn),
            (Status::Warn, Status::Ok, Status::Fail, Status::Fail),
            (Status::Ok, Status::Ok, Status::Warn, Status::Warn),
            (Status::Fail, Status::Warn, Status::Ok, Status::Fail),
        ] {
            let server = [of("redis-memory-limit", limit), of("redis-eviction", policy)];
            assert_eq!(settings(&server, &of("authz-keys", keys)).status, status, "{limit:?} {policy:?} {keys:?}");
        }
        assert_eq!(settings(&[of("redis-clock", Status::Fail)], &ok).status, Status::Ok, "another check's");
        assert_eq!(settings(&[], &ok).status, Status::Skip);
        assert_eq!(settings(&[], &of("authz-keys", Status::Fail)).status, Status::Fail);
    }
}
