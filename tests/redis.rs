//! A whole store over a real Redis, as an application has it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};
use terrace::stats::{
    BreakerName, BreakerState, CacheStatus, CoherenceState, EpochChange, ErrorKind, Feature, L2Op, PollResult,
    RejectReason, SampleResult, StoreResult, Tier,
};
use terrace::{Cache, CacheLayer, Store, Switch};
use terrace_redis_server::{PATIENT, Proxy, Server};
use terrace_tests::{Answer, Origin, call, get, text, until};
use tower::Layer;

const FRESH: (&str, &str) = ("cache-control", "max-age=600");

/// A process of a fleet.
struct Process {
    store: Store,
    service: Cache<Origin>,
}

impl Process {
    fn new(server: &Server, origin: &Origin, more: &[(&str, &str)]) -> Self {
        let url = server.url();
        let vars = PATIENT.into_iter().chain([("REDIS_URL", url.as_str())]).chain(more.iter().copied());
        let store = Store::from_vars(vars).unwrap();
        let service = CacheLayer::new(store.clone()).layer(origin.clone());
        Self { store, service }
    }

    /// Waits until it follows what the others do.
    async fn joined(self) -> Self {
        until("it has joined", || self.store.stats().coherence() == Some(CoherenceState::Coherent)).await;
        self
    }

    async fn get(&self, path: &str) -> Answer {
        call(&self.service, get(path)).await
    }

    async fn get_stored(&self, path: &str) -> Answer {
        let before = self.store.stats().stores(Tier::L2, StoreResult::Ok);
        let answer = self.get(path).await;
        until("it is stored", || self.store.stats().stores(Tier::L2, StoreResult::Ok) > before).await;
        answer
    }
}

#[tokio::test]
async fn processes_share_what_they_fetched_and_what_they_purged() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let one = Process::new(&server, &origin, &[]).joined().await;
    let other = Process::new(&server, &origin, &[]).joined().await;
    assert_eq!(one.get_stored("/").await.text(), "1");
    assert_eq!(other.get("/").await.text(), "1");
    assert_eq!(other.store.stats().requests(CacheStatus::L2CacheHit), 1);
    assert!(other.get("/").await.is_hit());
    let receipt = one.store.purge_url("/").await.unwrap();
    assert!(receipt.position() > 0);
    let position = other.store.stats().position();
    until("the other one knows", || other.store.stats().position() > position).await;
    assert_eq!(other.get("/").await.text(), "2");
}

/// Also of an entry that was there before the process, and of one whose tags only the entry tells.
#[tokio::test]
async fn a_lookup_is_one_round_trip() {
    let server = Server::start();
    let origin = Origin::counting(&[FRESH, ("cache-tag", "a, b")]);
    let before = Process::new(&server, &origin, &[]).joined().await;
    before.get_stored("/").await;
    let _receipt = before.store.purge_tag("c").await.unwrap();
    let proxy = Proxy::to(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    // Nothing is asked for but what is counted.
    let quiet = [
        ("CACHE_L1_ENABLED", "off"),
        ("CACHE_POLL_INTERVAL", "5m"),
        ("REDIS_MAX_CONNECTIONS", "1"),
        ("CACHE_FLEET_SWITCHES", "off"),
    ];
    let vars = PATIENT.into_iter().chain([("REDIS_URL", url.as_str())]).chain(quiet);
    let store = Store::from_vars(vars).unwrap();
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    let process = Process { store, service }.joined().await;
    process.get("/").await;
    let (hits, trips) = (process.store.stats().requests(CacheStatus::L2CacheHit), proxy.round_trips());
    for _ in 0..100 {
        assert_eq!(process.get("/").await.text(), "1");
    }
    assert_eq!(process.store.stats().requests(CacheStatus::L2CacheHit) - hits, 100);
    // Connections that are still being made have some of their own.
    let trips = proxy.round_trips() - trips;
    assert!((100..150).contains(&trips), "{trips}");
}

/// As where processes may use only a share of a processor, and stand still until they have the next.
#[tokio::test]
async fn what_redis_has_said_in_time_counts_though_the_process_stood_still_meanwhile() {
    const BUDGET: Duration = Duration::from_millis(30);
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    Process::new(&server, &origin, &[]).joined().await.get_stored("/").await;
    let (url, budget) = (server.url(), format!("{}ms", BUDGET.as_millis()));
    // A proof holds for longer than the machine may stand still.
    let vars = [("CACHE_L2_READ_BUDGET", &*budget), ("CACHE_L1_ENABLED", "off"), ("CACHE_L1_MAX_LAG", "1m")];
    let store = Store::from_vars([("REDIS_URL", url.as_str())].into_iter().chain(vars)).unwrap();
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    let process = Process { store, service }.joined().await;
    let told = || {
        let stats = process.store.stats();
        (stats.requests(CacheStatus::L2CacheHit), stats.l2_errors(L2Op::Get, ErrorKind::Timeout))
    };
    for stands_still in [2, 4, 8, 16].map(|turns| BUDGET * turns) {
        // Where the machine itself has stood still before the answer was there, nothing is shown.
        let (mut was_in_time, mut rounds) = (false, 0);
        while !was_in_time {
            rounds += 1;
            assert!(rounds <= 100, "the machine never runs for {BUDGET:?}");
            let standing_still = async {
                let begun = Instant::now();
                // Until the question is sent.
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                // It answers in turn: after the second answer the question was answered too.
                for _ in 0..2 {
                    server.command(&["PING"]);
                }
                was_in_time = begun.elapsed() < BUDGET / 2;
                std::thread::sleep(stands_still);
            };
            let (hits, timeouts) = told();
            let (answer, ()) = tokio::join!(process.get("/"), standing_still);
            assert!(!was_in_time || told() == (hits + 1, timeouts), "after {stands_still:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_purge_may_wait_for_replicas_as_long_as_there_is_time() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    // The first replica begins a new history, and thereby an epoch.
    let _replica = Server::replica_of(&server);
    let process = Process::new(&server, &origin, &[]).joined().await;
    process.get_stored("/").await;
    let receipt = process.store.purge_url("/").replicated(1, Duration::MAX).await.unwrap();
    assert_eq!(receipt.replicas(), Some(1));
    // And it is over when this process has heard of it as the others do.
    until("it has", || process.store.stats().position() >= receipt.position()).await;
    assert_eq!(process.get_stored("/").await.text(), "2");
    let answer = process.get("/").await;
    assert!(answer.is_hit(), "{answer:?}");
}

#[tokio::test]
async fn what_one_process_fetches_makes_no_other_look_for_invalidations() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let busy = Process::new(&server, &origin, &[]).joined().await;
    let idle = Process::new(&server, &origin, &[]).joined().await;
    let polls = || idle.store.stats().polls(PollResult::Ok);
    let (begun, before) = (Instant::now(), polls());
    for number in 0..200 {
        busy.get_stored(&format!("/{number}")).await;
    }
    let (polls, due) = (polls() - before, begun.elapsed().as_millis() / 250 + 2);
    println!("{polls} polls while another process fetched 200 responses, of {due} by the clock");
    assert!(u128::from(polls) <= due, "{polls} polls, {due} by the clock");
}

#[tokio::test]
async fn with_redis_down_it_starts_serves_and_joins_when_redis_comes() {
    let origin = Origin::counting(&[FRESH]);
    let mut server = Server::start();
    server.kill();
    let process = Process::new(&server, &origin, &[]);
    assert_eq!(process.get("/").await.text(), "1");
    assert_eq!(process.get("/").await.text(), "1", "from memory");
    server.restart();
    let process = process.joined().await;
    process.get_stored("/new").await;
    let other = Process::new(&server, &origin, &[]).joined().await;
    assert_eq!(other.get("/new").await.text(), process.get("/new").await.text());
}

#[tokio::test]
async fn switched_off_it_has_no_connection_at_the_start_and_none_later() {
    async fn stays_alone(server: &Server, process: &Process) {
        let received = || server.info("stats", "total_connections_received").parse::<u64>().unwrap();
        let before = received();
        for number in 0..10 {
            process.get(&format!("/{number}")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(received(), before + 1, "this one itself");
    }
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let process = Process::new(&server, &origin, &[("CACHE_L2_ENABLED", "off")]);
    stays_alone(&server, &process).await;
    assert_eq!(process.store.stats().coherence(), Some(CoherenceState::Alone));
    process.store.flags().set(Feature::L2, true);
    let process = process.joined().await;
    process.get_stored("/shared").await;
    process.store.flags().set(Feature::L2, false);
    // Whoever asks has one.
    until("its connections are closed", || server.info("clients", "connected_clients") == "1").await;
    stays_alone(&server, &process).await;
    let stats = process.store.stats();
    assert_eq!((stats.coherence(), stats.proof_age()), (Some(CoherenceState::Alone), Some(Duration::ZERO)));
}

/// Else an alert about an outage went on until somebody asked for something.
#[tokio::test]
async fn when_a_server_that_hung_goes_on_both_breakers_close_without_a_request() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let url = server.url();
    let vars = [("REDIS_URL", url.as_str()), ("CACHE_L2_READ_BUDGET", "200ms"), ("CACHE_L2_WRITE_BUDGET", "200ms")];
    let store = Store::from_vars(vars).unwrap();
    let service = CacheLayer::new(store.clone()).layer(origin);
    let process = Process { store, service }.joined().await;
    let are = |state: fn(Option<BreakerState>) -> bool| {
        let stats = process.store.stats();
        BreakerName::ALL.iter().all(|breaker| state(stats.breaker(*breaker)))
    };
    server.pause();
    for number in 0..10 {
        process.get(&format!("/{number}")).await;
    }
    until("nobody is asked", || are(|state| state != Some(BreakerState::Closed))).await;
    server.resume();
    until("both are closed", || are(|state| state == Some(BreakerState::Closed))).await;
}

#[tokio::test]
async fn what_is_sealed_is_read_with_the_key_and_with_no_other() {
    const OLD: &str = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const BOTH: &str =
        "two:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let server = Server::start();
    let origin = Origin::answering(|_| text(&[FRESH], "a secret that nobody else may read"));
    let sealed = Process::new(&server, &origin, &[("CACHE_KEYS", OLD)]).joined().await;
    sealed.get_stored("/jane").await;
    let dump = format!("{:?}", server.command(&["KEYS", "*"]));
    let entry = dump.split('\'').find(|key| key.contains(":e:")).expect("an entry").to_owned();
    let value = format!("{:?}", server.command(&["GET", &entry]));
    assert!(!value.contains("secret") && !dump.contains("jane") && !value.contains("jane"), "{dump} {value}");
    for (keys, reads) in [(OLD, true), (BOTH, true), (&BOTH[..48], false), ("none", false)] {
        let process = Process::new(&server, &origin, &[("CACHE_KEYS", keys)]).joined().await;
        process.get("/jane").await;
        assert_eq!(process.store.stats().requests(CacheStatus::L2CacheHit), u64::from(reads), "{keys}");
        assert_eq!(process.store.stats().rejected(Tier::L2, RejectReason::Key) == 0, reads, "{keys}");
        if !reads {
            // It has overwritten what it could not read.
            until("it is stored", || process.store.stats().stores(Tier::L2, StoreResult::Ok) > 0).await;
            let _receipt = sealed.store.purge_all().await.unwrap();
            sealed.get_stored("/jane").await;
        }
    }
}

#[tokio::test]
async fn what_is_compressed_is_smaller_and_reads_the_same() {
    let server = Server::start();
    let origin = Origin::answering(|_| text(&[FRESH], "terrace ".repeat(2000)));
    let process = Process::new(&server, &origin, &[("CACHE_L2_COMPRESS_ABOVE", "1KiB")]).joined().await;
    process.get_stored("/").await;
    assert!(server.info("memory", "used_memory_dataset").parse::<u64>().unwrap() > 0);
    let plain = Process::new(&server, &origin, &[]).joined().await;
    assert_eq!(plain.get("/").await.text(), "terrace ".repeat(2000));
    assert_eq!(plain.store.stats().requests(CacheStatus::L2CacheHit), 1);
    let keys = format!("{:?}", server.command(&["KEYS", "*:e:*"]));
    let entry = keys.split('\'').find(|key| key.contains(":e:")).unwrap();
    let len = format!("{:?}", server.command(&["STRLEN", entry]));
    let len: u64 = len.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    assert!(len < 2000, "{len} bytes of 16,000");
}

#[tokio::test]
async fn namespaces_of_one_redis_do_not_meet() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let one = Process::new(&server, &origin, &[("CACHE_NAMESPACE", "one")]).joined().await;
    let two = Process::new(&server, &origin, &[("CACHE_NAMESPACE", "two")]).joined().await;
    one.get_stored("/").await;
    assert_eq!(two.get_stored("/").await.text(), "2");
    let _receipt = one.store.purge_all().await.unwrap();
    assert!(two.get("/").await.is_hit());
}

#[tokio::test]
async fn every_key_expires_but_the_control_record_and_what_is_switched() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH, ("vary", "accept-language")]));
    let process = Process::new(&server, &origin, &[]).joined().await;
    process.get_stored("/").await;
    let _receipt = process.store.purge_tag("a").await.unwrap();
    let change = process.store.begin_change(["b"]).await.unwrap();
    process.store.switch(Feature::Swr, Switch::Off, "alice", "").await.unwrap();
    let keys = format!("{:?}", server.command(&["KEYS", "*"]));
    let keys: BTreeSet<&str> = keys.split('\'').filter(|key| key.contains(':')).collect();
    assert!(keys.len() >= 2, "{keys:?}");
    for key in keys {
        let expires = format!("{:?}", server.command(&["PTTL", key])) != "int(-1)";
        let stays = [":ctl", ":latest", ":switches"].iter().any(|end| key.ends_with(end));
        assert_eq!(expires, !stays, "{key}");
    }
    let _receipt = change.commit().await.unwrap();
}

/// Sixty-four changes, and the last of each feature.
#[tokio::test]
async fn what_is_switched_is_dated_by_the_server_and_stays_small() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let one = Process::new(&server, &origin, &[]).joined().await;
    // Put there by somebody else.
    for forged in ["7 telepathy on mallory x\n".repeat(10_000), "x".repeat(100), String::new()] {
        server.command(&["SET", "{default}:switches", &forged]);
        one.store.switch(Feature::L2, Switch::Off, "bob", "first").await.unwrap();
        assert_eq!(one.store.switches().await.unwrap().len(), 1);
    }
    server.command(&["DEL", "{default}:switches"]);
    server.command(&["LPUSH", "{default}:switches", "x"]);
    one.store.switch(Feature::L2, Switch::Off, "bob", "first").await.unwrap();
    for number in 0..100 {
        let to = if number % 2 == 0 { Switch::On } else { Switch::Off };
        one.store.switch(Feature::Cache, to, "alice", &number.to_string()).await.unwrap();
    }
    let told = one.store.switches().await.unwrap();
    assert_eq!(told.len(), 65);
    assert_eq!((told[0].feature, &*told[0].by, &*told[64].why), (Feature::L2, "bob", "99"));
    let age = SystemTime::now().duration_since(told[64].at).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?}");
    let other = Process::new(&server, &origin, &[]).joined().await;
    until("it is switched", || !other.store.flags().is_on(Feature::Cache)).await;
    until("and the other", || !other.store.flags().is_on(Feature::L2)).await;
}

#[tokio::test]
async fn a_store_says_what_is_wrong_with_its_variables_and_never_shows_a_password() {
    for (vars, expected) in [
        (&[("REDIS_URL", "redis://:hunter2@localhost:x")][..], "REDIS_URL"),
        (&[("REDIS_HOST", "localhost"), ("REDIS_PASSWORD", "hunter2"), ("REDIS_DB", "x")], "REDIS_DB"),
        (&[("REDIS_HOST", "localhost"), ("CACHE_KEYS", "hunter2")], "CACHE_KEYS"),
        (&[("REDIS_HOST", "localhost"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], "REDIS_PORT"),
    ] {
        let error = Store::from_vars(vars.iter().copied()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
        assert!(error.is_config());
    }
}

fn epoch_changes(store: &Store) -> [u64; 3] {
    [EpochChange::Restart, EpochChange::Failover, EpochChange::Lost].map(|reason| store.stats().epoch_changes(reason))
}

#[tokio::test]
async fn a_server_that_was_there_and_took_the_place_of_another_is_a_failover() {
    let mut primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut sentinel = Server::sentinel_of(&primary, 1, "");
    sentinel.wait_for("+slave slave");
    let sentinels = format!("127.0.0.1:{}", sentinel.port());
    let vars =
        [("REDIS_SENTINELS", sentinels.as_str()), ("REDIS_MASTER_NAME", "main"), ("CACHE_L2_READ_BUDGET", "10s")];
    let store = Store::from_vars(vars).unwrap();
    let coherent = || store.stats().coherence() == Some(CoherenceState::Coherent);
    until("it follows", coherent).await;
    // Longer than the last proof is old when the other is gone, by more than what is rounded.
    until("the replica has been there for a while", || {
        replica.info("server", "uptime_in_seconds").parse::<u64>().unwrap() >= 4 && coherent()
    })
    .await;
    assert_eq!(epoch_changes(&store), [0; 3]);
    primary.kill();
    until("it follows the other", || epoch_changes(&store) != [0; 3]).await;
    assert_eq!(replica.info("replication", "role"), "master");
    assert_eq!(epoch_changes(&store), [0, 1, 0]);
}

/// Also of one that saves what it has, and therefore knows what it was called before.
#[tokio::test]
async fn a_server_that_is_started_anew_is_a_restart() {
    for saves in [false, true] {
        let mut server = Server::start();
        let replica = saves.then(|| Server::replica_of(&server));
        let process = Process::new(&server, &Origin::counting(&[FRESH]), &[]).joined().await;
        let uptime = || server.info("server", "uptime_in_seconds").parse::<u64>().unwrap();
        until("it has been there for a while", || uptime() >= 3).await;
        if saves {
            server.command(&["SAVE"]);
        }
        server.kill();
        server.restart();
        until("it follows again", || epoch_changes(&process.store) != [0; 3]).await;
        assert_eq!(epoch_changes(&process.store), [1, 0, 0], "saves: {saves}");
        drop(replica);
    }
}

#[tokio::test]
async fn what_another_process_stored_is_compared_too() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let one = Process::new(&server, &origin, &[]).joined().await;
    let sampling = [("CACHE_CONSISTENCY_SAMPLE", "1"), ("CACHE_L1_MAX_LAG", "10s")];
    let other = Process::new(&server, &origin, &sampling).joined().await;
    assert_eq!(one.get_stored("/").await.text(), "1");
    assert_eq!(other.get("/").await.text(), "1");
    assert_eq!(other.store.stats().requests(CacheStatus::L2CacheHit), 1);
    // Within this time a difference is nobody's fault. The comparison asks for it when it has found one.
    other.store.settings().set("CACHE_L1_MAX_LAG", "50ms").unwrap();
    let mismatches = || other.store.stats().consistency_samples(SampleResult::Mismatch);
    until("it is compared", || mismatches() == 1).await;
}
