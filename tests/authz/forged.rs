//! What somebody puts into Redis who has no key: it is a miss, it is counted, and the source is asked.

use super::process::{Process, Writer, house, names};
use super::*;
use terrace::CacheLayer;
use terrace::stats::RejectReason;
use terrace_redis_server::Server;
use terrace_tests::until;
use tower::ServiceBuilder;

/// Where the parts of a sealed entry begin: magic, version, flags, schema (2), nonce (24), digest of the name (16), length
/// of the key's id, id.
const VERSION: usize = 1;
const FLAGS: usize = 2;
const SCHEMA: usize = 3;
const DIGEST: std::ops::Range<usize> = 29..45;

/// Where what alice may do is in Redis.
struct Scene {
    server: Server,
    directory: Directory,
    alice: Who,
    process: Process,
    name: String,
    writer: Writer,
    sealed: Vec<u8>,
}

impl Scene {
    async fn new() -> Self {
        let (server, directory, alice) = house();
        let process = Process::of(&server, &directory, &[]).await;
        let name = process.fills(&server, &alice).await;
        let mut writer = Writer::of(&server);
        let sealed = writer.get(&name);
        Self { server, directory, alice, process, name, writer, sealed }
    }
}

#[tokio::test]
async fn no_bit_of_an_entry_can_be_changed_and_none_left_out_or_added() {
    let Scene { server: _server, directory, alice, process, name, mut writer, sealed } = Scene::new().await;
    // Nothing is stored from here on.
    directory.mode(Mode::Fails);
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        writer.put(&name, &forged);
        process.disbelieves(&directory, &alice, &format!("bit {bit}")).await;
    }
    for len in 1..sealed.len() {
        writer.put(&name, &sealed[..len]);
        process.disbelieves(&directory, &alice, &format!("{len} bytes")).await;
    }
    for added in [1, 16, 1000] {
        writer.put(&name, &[&sealed[..], &vec![0; added]].concat());
        process.disbelieves(&directory, &alice, &format!("{added} more")).await;
    }
    writer.put(&name, &sealed);
    assert_eq!((process.asked(&alice).await, process.shared_hits()), (Some(true), 1), "as it was it is found");
}

#[tokio::test]
async fn bytes_of_anybodys_making_are_no_rights() {
    let Scene { server: _server, directory, alice, process, name, mut writer, sealed } = Scene::new().await;
    directory.mode(Mode::Fails);
    let head = &sealed[..DIGEST.end];
    let id = |len: u8, rest: &[u8]| [head, &[len], rest].concat();
    let all: [&[u8]; 10] = [
        br#"{"permissions":["invoice:read"],"allowed":true}"#,
        b"invoice:read",
        b"1",
        &[0xC7],
        &[0; 300],
        &[0xff; 300],
        // Of a key that nobody has; of none; of one that would be longer than all.
        &id(2, b"k9 and something that may be sealed"),
        &id(0, &[7; 200]),
        &id(255, b"k1"),
        &id(2, b"k1"),
    ];
    for forged in all {
        writer.put(&name, forged);
        process.disbelieves(&directory, &alice, &format!("{forged:?}")).await;
    }
    // What is not even text is nothing at all.
    for words in [["HSET", &name, "a", "b"], ["ZADD", &name, "1", "b"]] {
        let _: i64 = writer.ask(&["DEL", &name]);
        let _: i64 = writer.ask(&words);
        assert_eq!(process.asked(&alice).await, None);
    }
    assert_eq!(process.shared_hits(), 0);
}

/// An entry that is not sealed, or of another version, is not read in another way.
#[tokio::test]
async fn nobody_chooses_how_an_entry_is_read() {
    let Scene { server: _server, directory, alice, process, name, mut writer, sealed } = Scene::new().await;
    directory.mode(Mode::Fails);
    for (at, value, reason) in [
        (VERSION, 0, RejectReason::Schema),
        (VERSION, 2, RejectReason::Schema),
        (VERSION, 255, RejectReason::Schema),
        (FLAGS, 4, RejectReason::Schema),
        // Not sealed, perhaps compressed; or sealed and compressed.
        (FLAGS, 0, RejectReason::Seal),
        (FLAGS, 1, RejectReason::Seal),
        (FLAGS, 3, RejectReason::Seal),
        (SCHEMA, 1, RejectReason::Seal),
        (SCHEMA + 1, 0, RejectReason::Seal),
        (SCHEMA + 1, 2, RejectReason::Seal),
    ] {
        let mut forged = sealed.clone();
        forged[at] = value;
        writer.put(&name, &forged);
        let before = process.rejected(reason);
        process.disbelieves(&directory, &alice, &format!("{value} at {at}")).await;
        assert_eq!(process.rejected(reason), before + 1, "{value} at {at}");
    }
}

/// A response is an entry too, and where responses are not sealed anybody can write one.
#[tokio::test]
async fn an_entry_of_another_kind_is_no_rights() {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[]).await;
    let name = process.fills(&server, &alice).await;
    let cached = ServiceBuilder::new().layer(CacheLayer::new(process.store.clone()));
    let answer = async || ([("cache-control", "max-age=600")], "invoice:read");
    let app = Router::new().route("/", axum::routing::get(answer).route_layer(cached));
    assert_eq!(content(send(&app, "/", &[]).await).await, "invoice:read");
    let responses = || -> Vec<String> { ::redis::from_redis_value(server.command(&["KEYS", "{shop}:e:*"])).unwrap() };
    until("the response is there", || responses().len() == 1).await;
    directory.mode(Mode::Fails);
    server.command(&["COPY", &responses()[0], &name, "REPLACE"]);
    let before = process.rejected(RejectReason::Seal);
    process.disbelieves(&directory, &alice, "a response").await;
    assert_eq!(process.rejected(RejectReason::Seal), before + 1);
}

/// Of another subject, of another tenant, of another source and of another deployment with the same keys.
#[tokio::test]
async fn an_entry_opens_under_its_own_name_alone() {
    let (server, directory, alice) = house();
    let shop = Process::of(&server, &directory, &[]).await;
    let staging = Process::of(&server, &directory, &[("CACHE_NAMESPACE", "staging")]).await;
    let other = Process::with_source(&server, &directory, "another").await;
    let hers = shop.fills(&server, &alice).await;
    let (mallory, elsewhere) = (who("acme-corp", "mallory"), who("other", "alice"));
    let theirs = [(&shop, &mallory), (&shop, &elsewhere), (&staging, &mallory), (&other, &alice), (&staging, &alice)];
    let mut writer = Writer::of(&server);
    for (process, who) in theirs {
        directory.mode(Mode::Answers);
        let name = process.fills(&server, who).await;
        let own = writer.get(&name);
        assert!(name != hers);
        directory.mode(Mode::Fails);
        server.command(&["COPY", &hers, &name, "REPLACE"]);
        process.disbelieves(&directory, who, "copied").await;
        let dumped = writer.dump(&hers);
        writer.restore(&name, &dumped);
        process.disbelieves(&directory, who, "restored").await;
        // With what shows which name it is for, which everybody can compute.
        let mut readdressed = writer.get(&hers);
        readdressed[DIGEST].copy_from_slice(&own[DIGEST]);
        let before = process.rejected(RejectReason::Seal);
        writer.put(&name, &readdressed);
        process.disbelieves(&directory, who, "readdressed").await;
        assert_eq!(process.rejected(RejectReason::Seal), before + 1);
        writer.put(&name, &own);
        let hits = process.shared_hits();
        let _ = process.asked(who).await;
        assert_eq!(process.shared_hits(), hits + 1, "their own is found");
    }
    assert_eq!(names(&server).len(), 6);
}

/// What is larger than any set of permissions is not read: not even brought here.
#[tokio::test]
async fn a_huge_value_is_not_read() {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[]).await;
    let name = process.fills(&server, &alice).await;
    let sent = || server.info("stats", "total_net_output_bytes").parse::<u64>().unwrap();
    directory.mode(Mode::Fails);
    // From the first byte that is too much to the most that Redis takes.
    for last in [64 << 10, 1 << 20, (512 << 20) - 1] {
        server.command(&["SETRANGE", &name, &last.to_string(), "x"]);
        let (before, sizes) = (sent(), process.rejected(RejectReason::Size));
        process.disbelieves(&directory, &alice, &format!("{last} bytes")).await;
        assert_eq!(process.rejected(RejectReason::Size), sizes + 1);
        assert!(sent() - before < 1 << 18, "{} bytes sent", sent() - before);
    }
}
