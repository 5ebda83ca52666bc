//! Messages of programs that do not use the library, over a real Redis.

use std::time::{Duration, Instant};
use terrace::stats::{BridgeChannel, BridgeResult, CacheStatus, CoherenceState, ErrorKind, L2Op, PrewarmResult};
use terrace::{Cache, CacheLayer, Prewarms, Rules, Store};
use terrace_redis_server::{Proxy, Server};
use terrace_tests::{Answer, Origin, call, get};
use tower::Layer;

const FRESH: (&str, &str) = ("cache-control", "max-age=600");

/// Nothing here takes this long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what other processes and servers do, of which nobody here is told.
async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// A process of a fleet.
struct Process {
    store: Store,
    service: Cache<Origin>,
}

impl Process {
    async fn new(vars: &[(&str, &str)], origin: &Origin) -> Self {
        let store = Store::from_vars(vars.iter().copied()).unwrap();
        let rules = Rules::new().stale_while_revalidate(Duration::from_secs(60));
        let service = CacheLayer::new(store.clone()).rules(rules).layer(origin.clone());
        let process = Self { store, service };
        eventually("it has joined", async || process.store.stats().coherence() == Some(CoherenceState::Coherent)).await;
        process
    }

    async fn at(server: &Server, origin: &Origin) -> Self {
        Self::new(&[("REDIS_URL", &server.url())], origin).await
    }

    async fn get(&self, path: &str) -> Answer {
        call(&self.service, get(path)).await
    }

    /// Asks until the answer is a stored one.
    async fn hit(&self, path: &str) -> Answer {
        eventually("it is stored", async || self.get(path).await.is_hit()).await;
        self.get(path).await
    }

    async fn listens(&self) {
        eventually("it listens", async || self.store.stats().bridge_is_connected()).await;
    }

    fn heard(&self, channel: BridgeChannel, result: BridgeResult) -> u64 {
        self.store.stats().bridge_messages(channel, result)
    }
}

/// Publishes like any client of Redis, and says how many heard it.
fn publish(server: &Server, channel: &str, text: &str) -> u64 {
    let reply = format!("{:?}", server.command(&["PUBLISH", channel, text]));
    reply.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

async fn next(prewarms: &mut Prewarms) -> Vec<String> {
    let list = tokio::time::timeout(PATIENCE, prewarms.next()).await;
    list.expect("a list arrives").expect("somebody listens")
}

#[tokio::test]
async fn what_another_program_publishes_is_gone_in_every_process() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH, ("cache-tag", "tenant:42")]));
    let (one, other) = (Process::at(&server, &origin).await, Process::at(&server, &origin).await);
    let _listener = one.store.listen().unwrap();
    one.listens().await;
    for message in [
        r#"{"keys": ["https://example.com/products/1"]}"#,
        r#"{"patterns": ["/products/*"], "at": 1700000000}"#,
        r#"{"tags": "tenant:42"}"#,
        r#""/products/1""#,
        r#"["/elsewhere", "*"]"#,
    ] {
        let before = [one.hit("/products/1").await, other.hit("/products/1").await];
        assert_eq!(publish(&server, "cache:invalidate", message), 1);
        for (process, before) in [&one, &other].into_iter().zip(before) {
            eventually(message, async || process.get("/products/1").await.text() != before.text()).await;
        }
    }
    assert_eq!(one.heard(BridgeChannel::Invalidate, BridgeResult::Ok), 5);
}

#[tokio::test]
async fn what_is_updated_is_served_stale_while_it_is_fetched() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let process = Process::at(&server, &origin).await;
    let _listener = process.store.listen().unwrap();
    process.listens().await;
    let before = process.hit("/a").await;
    let position = process.store.stats().position();
    publish(&server, "cache:update", r#"{"keys": ["/a"]}"#);
    eventually("it is carried out", async || process.store.stats().position() > position).await;
    let stale = process.get("/a").await;
    assert_eq!((stale.text(), process.store.stats().requests(CacheStatus::Stale)), (before.text(), 1), "{stale:?}");
    eventually("it is fetched anew", async || process.get("/a").await.text() != before.text()).await;
}

#[tokio::test]
async fn bad_messages_are_counted_and_end_nothing() {
    use BridgeChannel::{Invalidate, Prewarm, Update};
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let process = Process::at(&server, &origin).await;
    let (_listener, mut prewarms) = process.store.listen_and_prewarm().unwrap();
    process.listens().await;
    let large = format!(r#"{{"keys": ["/{}"]}}"#, "a".repeat(1 << 20));
    for (channel, text, result) in [
        (Invalidate, "/not/json", BridgeResult::Syntax),
        (Invalidate, large.as_str(), BridgeResult::TooLarge),
        (Update, "42", BridgeResult::Shape),
        (Update, "{}", BridgeResult::Empty),
        (Invalidate, r#"{"keys": ["product:1"]}"#, BridgeResult::Item),
        (Invalidate, r#"{"keys": ["/a", "product:1"]}"#, BridgeResult::Partial),
        (Invalidate, r#"{"keys": ["/a"], "namespace": "other"}"#, BridgeResult::Foreign),
        (Prewarm, r#"{"patterns": ["/a/*"]}"#, BridgeResult::Item),
    ] {
        assert_eq!(publish(&server, &format!("cache:{}", channel.as_str()), text), 1);
        eventually("it is counted", async || process.heard(channel, result) == 1).await;
    }
    let position = process.store.stats().position();
    publish(&server, "cache:invalidate", r#"{"keys": ["/b"]}"#);
    eventually("it still listens", async || process.store.stats().position() > position).await;
    publish(&server, "cache:prewarm", r#"{"keys": ["/b"]}"#);
    assert_eq!(next(&mut prewarms).await, ["/b"]);
    assert_eq!(process.store.stats().bridge_gaps(), 0);
}

#[tokio::test]
async fn of_several_processes_one_is_given_what_is_to_be_warmed() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let (one, other) = (Process::at(&server, &origin).await, Process::at(&server, &origin).await);
    let (_a, ours) = one.store.listen_and_prewarm().unwrap();
    let (_b, theirs) = other.store.listen_and_prewarm().unwrap();
    one.listens().await;
    other.listens().await;
    let (given, mut lists) = tokio::sync::mpsc::unbounded_channel();
    for mut prewarms in [ours, theirs] {
        let given = given.clone();
        tokio::spawn(async move {
            while let Some(list) = prewarms.next().await {
                given.send(list).expect("the test reads");
            }
        });
    }
    let results = |process: &Process| {
        let stats = process.store.stats();
        [PrewarmResult::Claimed, PrewarmResult::Elsewhere].map(|result| stats.bridge_prewarms(result))
    };
    // The same words again are another message.
    for round in 1..=3 {
        assert_eq!(publish(&server, "cache:prewarm", r#"["/a", "https://example.com/b?c=d"]"#), 2);
        let both = async || {
            let (one, other) = (results(&one), results(&other));
            one[0] + other[0] == round && one[1] + other[1] == round
        };
        eventually("both have asked", both).await;
        let list = tokio::time::timeout(PATIENCE, lists.recv()).await.expect("one of them is given it").unwrap();
        assert_eq!(list, ["/a", "https://example.com/b?c=d"]);
        assert!(lists.try_recv().is_err(), "given twice");
    }
    let (one, other) = (results(&one), results(&other));
    assert!([one, other].contains(&[3, 0]), "{one:?} {other:?}");
}

/// Another process that listens may be as much behind: what is warmed before it has invalidated is lost again.
#[tokio::test]
async fn what_is_to_be_warmed_is_given_once_the_invalidations_before_it_have_settled() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let process = Process::at(&server, &origin).await;
    let (_listener, mut prewarms) = process.store.listen_and_prewarm().unwrap();
    process.listens().await;
    let published = Instant::now();
    publish(&server, "cache:prewarm", r#"["/a"]"#);
    assert_eq!(next(&mut prewarms).await, ["/a"]);
    let waited = published.elapsed();
    assert!(waited >= Duration::from_millis(100), "{waited:?}");
}

#[tokio::test]
async fn whose_a_list_is_is_asked_again_while_redis_is_slow_and_everybody_warms_once_it_is_gone() {
    let (mut server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let process = Process::at(&server, &origin).await;
    let (_listener, mut prewarms) = process.store.listen_and_prewarm().unwrap();
    process.listens().await;
    let heard = async |list: &str| {
        let before = process.heard(BridgeChannel::Prewarm, BridgeResult::Ok);
        assert_eq!(publish(&server, "cache:prewarm", list), 1);
        eventually("it is heard", async || process.heard(BridgeChannel::Prewarm, BridgeResult::Ok) > before).await;
    };
    let failed = || ErrorKind::ALL.iter().map(|kind| process.store.stats().l2_errors(L2Op::Lock, *kind)).sum::<u64>();

    heard(r#"["/slow"]"#).await;
    server.pause();
    let resumed = async {
        eventually("it has asked in vain", async || failed() > 0).await;
        server.resume();
    };
    let (list, ()) = tokio::join!(next(&mut prewarms), resumed);
    assert_eq!(list, ["/slow"]);
    assert_eq!(process.store.stats().bridge_prewarms(PrewarmResult::Claimed), 1);

    heard(r#"["/gone"]"#).await;
    server.kill();
    assert_eq!(next(&mut prewarms).await, ["/gone"]);
    assert_eq!(process.store.stats().bridge_prewarms(PrewarmResult::Unclaimed), 1);
}

#[tokio::test]
async fn after_a_restart_of_redis_it_hears_again_and_says_that_there_was_a_gap() {
    let origin = Origin::counting(&[FRESH]);
    let mut server = Server::start();
    let process = Process::at(&server, &origin).await;
    let _listener = process.store.listen().unwrap();
    process.listens().await;
    server.kill();
    eventually("it notices", async || !process.store.stats().bridge_is_connected()).await;
    server.restart();
    process.listens().await;
    assert_eq!(process.store.stats().bridge_gaps(), 1);
    process.hit("/a").await;
    let position = process.store.stats().position();
    assert_eq!(publish(&server, "cache:invalidate", r#""/a""#), 1);
    eventually("it is carried out", async || process.store.stats().position() > position).await;
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_replaced() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let proxy = Proxy::to(server.port());
    let port = proxy.port().to_string();
    let process = Process::new(&[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)], &origin).await;
    let _listener = process.store.listen().unwrap();
    process.listens().await;
    proxy.hang();
    eventually("it listens on another", async || process.store.stats().bridge_gaps() > 0).await;
    publish(&server, "cache:invalidate", r#""/a""#);
    eventually("it hears", async || process.heard(BridgeChannel::Invalidate, BridgeResult::Ok) > 0).await;
}

#[tokio::test]
async fn it_follows_the_sentinels_to_the_next_primary() {
    let origin = Origin::counting(&[FRESH]);
    let mut primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut sentinels = [(); 3].map(|()| Server::sentinel_of(&primary, 2, ""));
    for sentinel in &mut sentinels {
        // The other two, in any order, and the replica before or after them.
        sentinel.wait_for("+sentinel sentinel");
        sentinel.wait_for("+sentinel sentinel");
    }
    let list = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
    let list = list.collect::<Vec<_>>().join(",");
    let process = Process::new(&[("REDIS_SENTINELS", &list), ("REDIS_MASTER_NAME", "main")], &origin).await;
    let _listener = process.store.listen().unwrap();
    process.listens().await;
    primary.kill();
    eventually("it listens to the next", async || process.store.stats().bridge_gaps() > 0).await;
    eventually("it hears", async || publish(&replica, "cache:invalidate", r#""/a""#) > 0).await;
    eventually("it carries it out", async || {
        process.heard(BridgeChannel::Invalidate, BridgeResult::Ok) > 0 && process.store.stats().position() > 0
    })
    .await;
}

#[tokio::test]
async fn while_the_tier_is_off_nobody_listens() {
    let (server, origin) = (Server::start(), Origin::counting(&[FRESH]));
    let url = server.url();
    let process = Process::new(&[("REDIS_URL", &url)], &origin).await;
    let listener = process.store.listen().unwrap();
    process.listens().await;
    let listeners = || publish(&server, "cache:invalidate", r#""/a""#);
    process.store.flags().set(terrace::stats::Feature::L2, false);
    eventually("it is gone", async || listeners() == 0).await;
    assert!(!process.store.stats().bridge_is_connected());
    process.store.flags().set(terrace::stats::Feature::L2, true);
    eventually("it is back", async || listeners() == 1).await;
    drop(listener);
    eventually("it is gone for good", async || listeners() == 0).await;
}

#[tokio::test]
async fn a_store_without_redis_has_nothing_to_listen_to() {
    let error = Store::memory().listen().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("REDIS_URL"), "{error}");
}
