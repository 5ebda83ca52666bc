//! What is told of callers, to Redis, to who reads logs and to the callers themselves: nothing that tells them apart.

use super::process::{OTHER, Process, Writer, house, names};
use super::seams::{LOGGED, listen};
use super::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use terrace::authz::{Grant, Scope, perm};
use terrace::stats::{LookupResult, StoreResult, Tier};
use terrace_tests::until;

/// All that is in Redis: names, and values as they are dumped.
fn everything(writer: &mut Writer) -> Vec<u8> {
    let names: Vec<Vec<u8>> = writer.ask(&["KEYS", "*"]);
    let mut all = Vec::new();
    for name in names {
        all.extend_from_slice(&name);
        if let Ok(name) = std::str::from_utf8(&name) {
            all.extend(writer.dump(name));
        }
    }
    all
}

fn finds(all: &[u8], part: &str) -> bool {
    all.windows(part.len()).any(|window| window == part.as_bytes())
}

#[tokio::test]
async fn neither_redis_nor_a_log_is_told_who_may_do_what() {
    listen();
    let (server, directory, alice) = house();
    let granted = [Grant::new("invoice:read").via("role:clerk"), Grant::new("salary:approve")];
    directory.set(&alice, Grants::complete(granted).deny("vault:open"));
    server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    server.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
    let monitor = server.monitor();
    let keys = format!("{},{OTHER}", KEYS.1);
    let vars = [("AUTHZ_CACHE_KEYS", keys.as_str())];
    let (one, other) = (Process::of(&server, &directory, &vars).await, Process::of(&server, &directory, &vars).await);
    one.found_by(&other, &alice).await;
    let app = app(&other.authz, perm("invoice:read").tenant_param("org"));
    for (org, token) in [("acme-corp", "Bearer acme-corp/alice"), ("elsewhere", "Bearer acme-corp/alice/openid")] {
        send(&app, &format!("/orgs/{org}/invoices/1"), &[("authorization", token)]).await;
    }
    drop(one.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
    drop(one.authz.begin_change(Scope::Tenant(alice.tenant.clone())).await.unwrap().commit().await.unwrap());
    // What is wrong with an entry is told too.
    let name = one.fills(&server, &who("acme-corp", "mallory")).await;
    let mut writer = Writer::of(&server);
    writer.put(&name, b"forged");
    let _ = other.asked(&who("acme-corp", "mallory")).await;
    let held = everything(&mut writer);
    let slow = format!("{:?}", server.command(&["SLOWLOG", "GET", "-1"]));
    server.command(&["ECHO", "the end"]);
    let heard = RefCell::new(String::new());
    let all_is_heard = || {
        heard.borrow_mut().push_str(&monitor.said().join("\n"));
        heard.borrow().contains("the end")
    };
    until("everything was heard", all_is_heard).await;
    let said = heard.into_inner();
    let logged = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    // Each of them has what it should have.
    assert!(finds(&held, "auth:perms:{shop}:") && slow.contains("auth:perms:{shop}:"));
    assert!(said.contains("auth:perms:{shop}:") && logged.contains("authz_revoked"));
    let [old, new] = [KEYS.1, OTHER].map(|key| key.split_once(':').unwrap().1);
    for secret in [
        "acme-corp",
        "alice",
        "mallory",
        "elsewhere",
        "invoice:read",
        "role:clerk",
        "salary",
        "vault:open",
        old,
        new,
        "Bearer",
    ] {
        assert!(!finds(&held, secret) && !slow.contains(secret) && !said.contains(secret), "{secret} in Redis");
        // What was asked for, and where it comes from, is in the audit, which nobody sees above DEBUG.
        let mut lines = logged.lines().filter(|line| line.contains(secret));
        let audited = ["invoice:read", "role:clerk"].contains(&secret);
        assert!(lines.all(|line| audited && line.contains("DEBUG terrace::audit")), "{secret} in {logged}");
    }
}

#[tokio::test]
async fn deployments_that_share_a_redis_and_keys_have_nothing_in_common() {
    let (server, directory, alice) = house();
    let vars = [("CACHE_NAMESPACE", "staging")];
    let (shop, staging) = (Process::of(&server, &directory, &[]).await, Process::of(&server, &directory, &vars).await);
    let names = [shop.fills(&server, &alice).await, staging.fills(&server, &alice).await];
    let digest = |name: &String| name.rsplit_once(':').unwrap().1.to_owned();
    assert_ne!(digest(&names[0]), digest(&names[1]));
    for process in [&shop, &staging] {
        drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
        drop(process.authz.revoke(Scope::Tenant(alice.tenant.clone())).await.unwrap());
    }
    let mut writer = Writer::of(&server);
    let [shop, staging] = ["{shop}:ctl", "{staging}:ctl"].map(|control| -> BTreeSet<Vec<u8>> {
        let members: Vec<Vec<u8>> = writer.ask(&["ZRANGE", control, "0", "-1"]);
        members.into_iter().filter(|member| member.starts_with(b"h:")).collect()
    });
    assert_eq!((shop.len(), staging.len()), (2, 2));
    assert!(shop.is_disjoint(&staging), "by what one revokes nobody else can tell who it is");
    // And each name has the namespace in it.
    let all: Vec<String> = writer.ask(&["KEYS", "*"]);
    assert!(all.iter().all(|name| name.contains("{shop}") != name.contains("{staging}")), "{all:?}");
}

/// Names that mean something to Redis or to whoever separates by them are names like all others.
#[tokio::test]
async fn names_that_are_patterns_are_names() {
    let (server, directory, _) = house();
    let process = Process::of(&server, &directory, &[]).await;
    let odd = ["*", "?", "[a-z]*", "alice*", "a\\*", "{shop}", "acme:alice", "a\r\nDEL x", "h:*", "\u{0}s"];
    let all: Vec<Who> = odd
        .iter()
        .flat_map(|name| [("acme", *name), (*name, "alice")])
        .filter(|(tenant, subject)| Tenant::new(*tenant).is_ok() && Subject::new(*subject).is_ok())
        .map(|(tenant, subject)| who(tenant, subject))
        .chain([who("acme", "alice")])
        .collect();
    assert!(all.len() > 2 * odd.len() - 4);
    for who in &all {
        directory.set(who, Grants::complete(["invoice:read"]));
        process.fills(&server, who).await;
    }
    assert_eq!(names(&server).len(), all.len());
    // Who is revoked is who was named, and nobody else.
    for revoked in all.iter().filter(|who| who.tenant.as_str() == "acme" && who.subject.as_str() != "alice") {
        drop(process.authz.revoke(Scope::Subject(revoked.clone())).await.unwrap());
        for who in &all {
            let loads = directory.loads();
            assert!(process.reads(who).await);
            assert_eq!(directory.loads() - loads, usize::from(who == revoked), "{}", revoked.subject.as_str());
        }
        let refilled = || process.authz.stats().stores(Tier::L2, StoreResult::Ok);
        until("it is there again", || refilled() >= all.len() as u64).await;
        process.found_by(&process, revoked).await;
    }
}

/// Who does not exist, who may do nothing and who may do something else are refused alike, after the same work.
#[tokio::test]
async fn a_refusal_tells_nothing_of_whom_it_refuses() {
    let house = House::new();
    house.directory.set(&who("acme", "poor"), Grants::complete(Vec::<String>::new()));
    house.directory.set(&who("acme", "other"), Grants::complete(["user:read"]));
    house.directory.set(&who("acme", "denied"), Grants::complete(["invoice:read"]).deny("invoice:read"));
    for hidden in [false, true] {
        let requirement = perm("invoice:read");
        let requirement = if hidden { requirement.hide_as_not_found() } else { requirement };
        let app = app(&house.authz, requirement);
        let mut seen = Vec::new();
        for subject in ["poor", "other", "denied", "nobody"] {
            for _ in 0..2 {
                let token = format!("Bearer acme/{subject}");
                let response = send(&app, "/invoices", &[("authorization", &token)]).await;
                let head = format!("{} {:?}", response.status(), response.headers());
                seen.push((head, content(response).await));
            }
        }
        let absent = send(&app, "/nothing", &[BOB]).await;
        assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
        assert!(!hidden || (seen[0].0.starts_with("404") && seen[0].1 == content(absent).await));
    }
    // Four loads, and from then on from memory, each as often as the other.
    let stats = house.stats();
    let looked = |result| stats.lookups(Tier::L1, result);
    assert_eq!((house.directory.loads(), looked(LookupResult::Miss), looked(LookupResult::Hit)), (4, 4, 12));
}

/// How long an answer takes tells no more than the answer: who is refused costs the source, memory and Redis what who is
/// let in costs them. (For allocations see `allocations.rs`.)
#[tokio::test]
async fn who_is_refused_costs_the_same_work_as_who_is_let_in() {
    let (server, directory, alice) = house();
    directory.set(&who("acme-corp", "denied"), Grants::complete(["invoice:read"]).deny("invoice:read"));
    directory.set(&who("acme-corp", "other"), Grants::complete(["user:read"]));
    let nobody = who("nowhere", "nobody");
    let memory = [("AUTHZ_CACHE_L1_MAX_BYTES", "32MiB")];
    let (one, other) =
        (Process::of(&server, &directory, &memory).await, Process::of(&server, &directory, &memory).await);
    let work = |process: &Process| {
        let stats = process.authz.stats();
        let looks =
            [Tier::L1, Tier::L2].map(|tier| LookupResult::ALL.iter().map(|it| stats.lookups(tier, *it)).collect());
        let stores = [Tier::L1, Tier::L2].map(|tier| stats.stores(tier, StoreResult::Ok));
        let mut all: Vec<u64> = looks.into_iter().flat_map(|looks: Vec<u64>| looks).collect();
        all.extend(stores);
        all.push(directory.loads() as u64);
        all
    };
    let mut all = Vec::new();
    for who in [&alice, &who("acme-corp", "denied"), &who("acme-corp", "other"), &nobody] {
        let mut costs = Vec::new();
        // From the source, from Redis, and from memory.
        for process in [&one, &other, &other] {
            let (before, filled) = (work(process), one.authz.stats().stores(Tier::L2, StoreResult::Ok));
            let loads = directory.loads();
            let _ = process.reads(who).await;
            if directory.loads() > loads {
                until("it is in Redis", || one.authz.stats().stores(Tier::L2, StoreResult::Ok) > filled).await;
            }
            costs.push(work(process).iter().zip(before).map(|(after, before)| after - before).collect::<Vec<_>>());
        }
        all.push(costs);
    }
    assert!(all.iter().all(|costs| *costs == all[0]), "{all:?}");
    assert_eq!((directory.loads(), other.hits()), (4, 8));
}
