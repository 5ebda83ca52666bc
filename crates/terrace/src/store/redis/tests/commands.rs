use super::*;
use crate::observe::stats::RejectReason;
use crate::store::race::first;
use std::time::SystemTime;
use terrace_redis_server::Proxy;

const LIFE: Duration = Duration::from_secs(60);

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn an_entry_is_found_with_what_proves_it_valid() {
    let server = Server::start();
    let tier = at(server.port());
    let now = tier.current().await.unwrap();
    assert_eq!(now.position, 0);
    tier.store(tier.entry(b"key").0, value("body"), LIFE).await.unwrap();
    let at_a = tier.invalidate(&[hard(A), soft(B)]).await.unwrap();
    assert_eq!((at_a.epoch.clone(), at_a.position), (now.epoch.clone(), 1));

    let found = tier.lookup(&now.epoch, 0, tier.entry(b"key")).await.unwrap();
    assert_eq!(found.entry.as_deref(), Some(&b"body"[..]));
    let life = tier.life(b"key").await.unwrap().unwrap();
    assert!(life <= LIFE && life + PATIENCE > LIFE, "{life:?}");
    let (one, none) = (Mark::At(1), Mark::Unmarked);
    let news = |marks| Polled::Changes { marks, position: 1, floor: 0 };
    assert_eq!(found.news, news(vec![(hard(A), one), (soft(B), one)]));
    let tags = [A, B, TagName::EVERYTHING];
    let positions = tier.positions(&now.epoch, &tags).await.unwrap().unwrap();
    assert_eq!((positions.position, positions.floor), (1, 0));
    assert_eq!(positions.marks, [(one, none), (none, one), (none, none)]);

    let other = tier.lookup(&now.epoch, 0, tier.entry(b"other")).await.unwrap();
    assert_eq!((other.entry, other.news), (None, found.news));
    assert_eq!(
        tier.lookup(&now.epoch, 1, tier.entry(b"key")).await.unwrap().news,
        news(vec![]),
        "what is known is not told again"
    );
}

#[tokio::test]
async fn a_lookup_is_one_round_trip() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let tier = &tier_with(&[("REDIS_URL", &url), ("REDIS_MAX_CONNECTIONS", "1")]);
    let epoch = tier.current().await.unwrap().epoch;
    tier.store(tier.entry(b"key").0, value("body"), LIFE).await.unwrap();
    // Connections that are still being made have round trips of their own.
    let has =
        |many| until_ok(move || async move { if connections(tier) == many { Ok(()) } else { Err(Fault::Other) } });
    has(3).await;
    let before = proxy.round_trips();
    for _ in 0..100 {
        assert!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().entry.is_some());
    }
    assert_eq!(proxy.round_trips() - before, 100);
    tier.invalidate(&[hard(A)]).await.unwrap();
    has(4).await;
    let before = proxy.round_trips();
    for _ in 0..10 {
        tier.invalidate(&[hard(A)]).await.unwrap();
    }
    assert_eq!(proxy.round_trips() - before, 10);
}

#[tokio::test]
async fn lookups_at_the_same_time_share_round_trips_and_each_gets_its_own_entry() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let tier = Arc::new(at(proxy.port()));
    let epoch = tier.current().await.unwrap().epoch;
    tier.store(tier.entry(&[0]).0, value("zero"), LIFE).await.unwrap();
    tier.store(tier.entry(&[99]).0, value("ninety-nine"), LIFE).await.unwrap();
    let before = proxy.round_trips();
    let lookups: Vec<_> = (0..100_u8)
        .map(|key| {
            let (tier, epoch) = (Arc::clone(&tier), epoch.clone());
            tokio::spawn(async move { tier.lookup(&epoch, 0, tier.entry(&[key])).await.unwrap().entry })
        })
        .collect();
    for (key, lookup) in lookups.into_iter().enumerate() {
        let expected = [(0, "zero"), (99, "ninety-nine")].into_iter().find(|(has, _)| *has == key);
        let found = lookup.await.unwrap();
        assert_eq!(found.as_deref(), expected.map(|(_, text)| text.as_bytes()), "{key}");
    }
    // Two alone, and the others with them; some more for connections that are still being made.
    assert!(proxy.round_trips() - before < 50, "{} round trips", proxy.round_trips() - before);
}

#[tokio::test]
async fn what_is_long_is_read_whole_though_asked_for_together_with_others() {
    let server = Server::start();
    let tier = Arc::new(at(server.port()));
    let epoch = tier.current().await.unwrap().epoch;
    let long = |key: u8| Bytes::from(vec![key; (64 << 10) + usize::from(key)]);
    for key in 0..40 {
        tier.store(tier.entry(&[key]).0, long(key), LIFE).await.unwrap();
    }
    let lookups: Vec<_> = (0..40_u8)
        .map(|key| {
            let (tier, epoch) = (Arc::clone(&tier), epoch.clone());
            tokio::spawn(async move { tier.lookup(&epoch, 0, tier.entry(&[key])).await.unwrap().entry })
        })
        .collect();
    for (key, lookup) in (0..40).zip(lookups) {
        assert!(lookup.await.unwrap() == Some(long(key)), "{key}");
    }
}

#[tokio::test]
async fn whoever_asks_for_others_may_leave() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    server.pause();
    let mut all: Vec<_> = (0..10).map(|_| tier.lookup(&epoch, 0, tier.entry(b"key"))).collect();
    for lookup in &mut all {
        assert!(first(lookup, std::future::ready(())).await.is_err(), "the server hangs");
    }
    // The first ones have asked, the others wait for them.
    drop(all.drain(..5));
    server.resume();
    for lookup in all {
        assert_eq!(tokio::time::timeout(PATIENCE, lookup).await.unwrap().unwrap().entry, None);
    }
}

#[tokio::test]
async fn lookups_of_different_epochs_do_not_go_together() {
    let server = Server::start();
    let tier = Arc::new(at(server.port()));
    let old = tier.current().await.unwrap().epoch;
    server.command(&["DEL", "{test}:ctl"]);
    let new = tier.current().await.unwrap().epoch;
    let lookups: Vec<_> = (0..10)
        .map(|number| {
            let (tier, epoch) = (Arc::clone(&tier), if number % 2 == 0 { old.clone() } else { new.clone() });
            tokio::spawn(async move { tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().news })
        })
        .collect();
    for (number, lookup) in lookups.into_iter().enumerate() {
        assert_eq!(lookup.await.unwrap() == Polled::OtherEpoch, number % 2 == 0, "{number}");
    }
}

#[tokio::test]
async fn what_is_no_entry_is_a_miss_and_hides_no_position() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let name = |key: &[u8]| String::from_utf8(tier.names.entry(key)).unwrap();
    server.command(&["RPUSH", &name(b"list"), "x"]);
    server.command(&["SET", &name(b"empty"), "", "PX", "60000"]);
    for key in [&b"list"[..], b"empty"] {
        let found = tier.lookup(&epoch, 0, tier.entry(key)).await.unwrap();
        assert_eq!((found.entry, found.news), (None, Polled::Changes { marks: vec![], position: 0, floor: 0 }));
    }
    // And a fill takes its place.
    tier.store(tier.entry(b"list").0, value("body"), LIFE).await.unwrap();
    assert!(tier.lookup(&epoch, 0, tier.entry(b"list")).await.unwrap().entry.is_some());
    tier.store(tier.entry(b"dead").0, value("body"), Duration::from_micros(1)).await.unwrap();
    assert_eq!(tier.lookup(&epoch, 0, tier.entry(b"dead")).await.unwrap().entry, None);
    tier.store(tier.entry(b"long").0, value("body"), Duration::MAX).await.unwrap();
    assert!(tier.lookup(&epoch, 0, tier.entry(b"long")).await.unwrap().entry.is_some());
}

#[tokio::test]
async fn of_what_is_larger_than_an_entry_no_more_is_read_than_tells_so() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let name = String::from_utf8(tier.names.entry(b"key")).unwrap();
    server.command(&["SETRANGE", &name, &(64 << 20).to_string(), "x"]);
    server.command(&["PEXPIRE", &name, "60000"]);
    let sent = || server.info("stats", "total_net_output_bytes").parse::<usize>().unwrap();
    let before = sent();
    let bytes = tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().entry.unwrap();
    assert!(sent() - before < MAX_BYTES + (64 << 10), "{} bytes", sent() - before);
    assert_eq!(tier.open.decode(b"key", bytes).err(), Some(RejectReason::Size));
    // What is as large as an entry may be is read whole.
    let whole = Bytes::from(vec![1; MAX_BYTES]);
    tier.store(tier.entry(b"key").0, whole.clone(), LIFE).await.unwrap();
    assert!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().entry.unwrap() == whole);
}

#[tokio::test]
async fn a_lease_that_is_asked_for_again_by_its_holder_is_still_its() {
    let server = Server::start();
    let tier = at(server.port());
    let (one, other) = (Token::new(), Token::new());
    // As when the first reply was lost.
    for _ in 0..2 {
        assert!(tier.lease(b"key", &one, LIFE).await.unwrap());
        assert!(!tier.lease(b"key", &other, LIFE).await.unwrap());
    }
    assert!(tier.release(b"key", &one).await.unwrap());
    assert!(tier.lease(b"key", &other, LIFE).await.unwrap());
}

#[tokio::test]
async fn the_servers_clock_is_known_from_the_first_poll_on() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    assert_eq!(tier.time(), None);
    tier.poll(&epoch, 0).await.unwrap();
    let since_1970 = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let (before, told, after) = (since_1970(), tier.time().unwrap(), since_1970());
    // The server has the same clock; the poll took some time. Milliseconds are whole.
    assert!(
        before <= u128::from(told.latest) + 2 && u128::from(told.earliest) <= after + 2,
        "{before} {told:?} {after}"
    );
    assert!(
        told.earliest <= told.latest && u128::from(told.latest - told.earliest) <= PATIENCE.as_millis(),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_lost_control_record_is_another_epoch() {
    let server = Server::start();
    let tier = at(server.port());
    let first = tier.invalidate(&[hard(A)]).await.unwrap();
    server.command(&["DEL", "{test}:ctl"]);
    let nothing = Polled::Changes { marks: vec![], position: 1, floor: 0 };
    assert_eq!(
        tier.lookup(&first.epoch, 1, tier.entry(b"key")).await.unwrap().news,
        nothing,
        "nothing was invalidated since"
    );
    server.command(&["DEL", "{test}:latest"]);
    assert_eq!(tier.lookup(&first.epoch, 1, tier.entry(b"key")).await.unwrap().news, Polled::OtherEpoch);
    assert_eq!(tier.poll(&first.epoch, first.position).await.unwrap(), Polled::OtherEpoch);
    let second = tier.current().await.unwrap();
    assert_ne!(second.epoch, first.epoch);
    assert_eq!(second.position, 0);
    assert_eq!(tier.current().await.unwrap(), second);
    server.command(&["FLUSHALL"]);
    let third = tier.invalidate(&[hard(A)]).await.unwrap();
    assert!(third.epoch != second.epoch && third.position == 1);
    assert_eq!(tier.current().await.unwrap(), third);
}

#[tokio::test]
async fn what_lookups_read_of_the_record_may_be_lost_and_is_written_again() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.invalidate(&[hard(A)]).await.unwrap().epoch;
    let told = async |since| tier.lookup(&epoch, since, tier.entry(b"key")).await.unwrap().news;
    let all = Polled::Changes { marks: vec![(hard(A), Mark::At(1))], position: 1, floor: 0 };
    assert_eq!(told(0).await, all);
    let garbled = format!("{:016}{}", 1, "x".repeat(80));
    for command in [
        &["DEL", "{test}:latest"][..],
        &["LPUSH", "{test}:latest", "x"],
        &["SET", "{test}:latest", "x"],
        &["SET", "{test}:latest", &garbled],
    ] {
        server.command(&["DEL", "{test}:latest"]);
        server.command(command);
        // What is there is no proof of anything; the position is still the right one.
        assert_eq!(told(0).await, Polled::TooMany { position: 1 }, "{command:?}");
        assert_eq!(told(1).await, Polled::TooMany { position: 1 }, "{command:?}");
    }
    tier.poll(&epoch, 1).await.unwrap();
    assert_eq!(told(0).await, Polled::TooMany { position: 1 }, "what happened before is not told again");
    assert_eq!(told(1).await, Polled::Changes { marks: vec![], position: 1, floor: 0 });
    tier.invalidate(&[soft(B)]).await.unwrap();
    assert_eq!(told(1).await, Polled::Changes { marks: vec![(soft(B), Mark::At(2))], position: 2, floor: 0 });
}

#[tokio::test]
async fn lookups_are_told_the_latest_changes_and_when_there_were_more() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let told = async |since| tier.lookup(&epoch, since, tier.entry(b"key")).await.unwrap().news;
    let tag = |number: u128| TagName((number << 100 | 1).to_be_bytes());
    for number in 1..=20 {
        tier.invalidate(&[hard(tag(number))]).await.unwrap();
    }
    let marks = (5..=20).map(|number| (hard(tag(number.into())), Mark::At(number))).collect();
    assert_eq!(told(4).await, Polled::Changes { marks, position: 20, floor: 0 });
    assert_eq!(told(3).await, Polled::TooMany { position: 20 });
    // Too many at once for any to be told, and everything, and a change that is open.
    let many: Vec<Marker> = (1..=17).map(|number| hard(tag(number))).collect();
    tier.invalidate(&many).await.unwrap();
    assert_eq!(told(20).await, Polled::TooMany { position: 21 });
    tier.invalidate(&[soft(TagName::EVERYTHING)]).await.unwrap();
    let (change, everything) = (Token::new(), (soft(TagName::EVERYTHING), Mark::At(22)));
    tier.hold(&change, &[A], LIFE).await.unwrap();
    let changes = |marks, position| Polled::Changes { marks, position, floor: 0 };
    assert_eq!(told(21).await, changes(vec![everything, (hard(A), Mark::Held)], 23));
    tier.hold(&change, &[A], LIFE).await.unwrap();
    assert_eq!(told(23).await, changes(vec![], 23), "a hold that goes on is no change");
    tier.end(&change, &[A]).await.unwrap();
    assert_eq!(told(23).await, changes(vec![(hard(A), Mark::At(24))], 24));
    assert_eq!(told(25).await, Polled::WentBack, "that has not happened here");
}

#[tokio::test]
async fn a_poll_sees_what_happened_since() {
    let server = Server::start();
    let tier = at(server.port());
    let Receipt { epoch, position } = tier.current().await.unwrap();
    let nothing = Polled::Changes { marks: vec![], position: 0, floor: 0 };
    assert_eq!(tier.poll(&epoch, position).await.unwrap(), nothing);
    tier.invalidate(&[hard(A)]).await.unwrap();
    tier.invalidate(&[soft(B), soft(TagName::EVERYTHING)]).await.unwrap();
    let Polled::Changes { mut marks, position, floor } = tier.poll(&epoch, 0).await.unwrap() else { panic!() };
    marks.sort_by_key(|(marker, mark)| (format!("{mark:?}"), marker.tag.0));
    let two = Mark::At(2);
    assert_eq!(marks, [(hard(A), Mark::At(1)), (soft(TagName::EVERYTHING), two), (soft(B), two)]);
    assert_eq!((position, floor), (2, 0));
    let later = Polled::Changes { marks: vec![], position: 2, floor: 0 };
    assert_eq!(tier.poll(&epoch, 2).await.unwrap(), later);
}

#[tokio::test]
async fn a_record_that_went_back_is_given_a_new_epoch() {
    let server = Server::start();
    let tier = at(server.port());
    let last = tier.invalidate(&[hard(A)]).await.unwrap();
    server.command(&["ZADD", "{test}:ctl", "0", "\0s"]);
    assert_eq!(tier.poll(&last.epoch, last.position).await.unwrap(), Polled::WentBack);
    assert_ne!(tier.current().await.unwrap().epoch, last.epoch);
}

#[tokio::test]
async fn more_than_one_poll_reads_counts_as_forgotten() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let tags: Vec<Marker> = (0..10_000_u128).map(|tag| hard(TagName((tag + 1).to_be_bytes()))).collect();
    tier.invalidate(&tags[1..]).await.unwrap();
    // 9999 markers and the sequence.
    assert_eq!(tier.poll(&epoch, 0).await.unwrap(), Polled::TooMany { position: 1 });
    assert!(matches!(tier.poll(&epoch, 1).await.unwrap(), Polled::Changes { position: 1, .. }));
    // A marker of a kind that is not known yet invalidates who knows what.
    server.command(&["ZADD", "{test}:ctl", "2", "x:1", "2", "\0s"]);
    assert_eq!(tier.poll(&epoch, 1).await.unwrap(), Polled::TooMany { position: 2 });
}

#[tokio::test]
async fn forgotten_markers_raise_the_floor() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let token = Token::new();
    tier.hold(&token, &[B], LIFE).await.unwrap();
    let tags = |from: u128, many: u128| -> Vec<Marker> {
        (from..from + many).map(|tag| hard(TagName(tag.to_be_bytes()))).collect()
    };
    tier.invalidate(&tags(1, 10)).await.unwrap();
    for ten in 0..10 {
        tier.invalidate(&tags(1_000_000 * (ten + 1), 9_999)).await.unwrap();
    }
    // 100000 markers with the hold and its marker: the two oldest are gone, which were of position 2.
    let positions = tier.positions(&epoch, &[TagName(1_u128.to_be_bytes()), B]).await.unwrap().unwrap();
    assert_eq!((positions.position, positions.floor), (12, 2));
    assert_eq!(positions.marks, [(Mark::Unmarked, Mark::Unmarked), (Mark::Held, Mark::Unmarked)]);
}

#[tokio::test]
async fn markers_of_changes_are_forgotten_too_and_never_too_many_at_once() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let members = || -> i64 { redis::from_redis_value(server.command(&["ZCARD", "{test}:ctl"])).unwrap() };
    for ten in 0..10 {
        let tags = |tag: u128| hard(TagName((1_000_000 * (ten + 1) + tag).to_be_bytes()));
        tier.invalidate(&(0..10_000).map(tags).collect::<Vec<_>>()).await.unwrap();
    }
    assert_eq!(members(), 3 + 100_000);
    for change in 1..=3_u128 {
        let (token, tags) = (Token::new(), [TagName((change << 64).to_be_bytes())]);
        tier.hold(&token, &tags, LIFE).await.unwrap();
        tier.end(&token, &tags).await.unwrap();
        assert_eq!(members(), 3 + 100_000, "{change}");
    }
    assert!(tier.positions(&epoch, &[]).await.unwrap().unwrap().floor >= 1);
    // As those of a program that forgets nothing.
    let surplus: Vec<String> = (0..3_000).flat_map(|tag| ["16".into(), format!("h:{tag:016}")]).collect();
    let add: Vec<&str> = ["ZADD", "{test}:ctl"].into_iter().chain(surplus.iter().map(String::as_str)).collect();
    server.command(&add);
    tier.invalidate(&[hard(A)]).await.unwrap();
    let first = members();
    assert!((3 + 101_900..3 + 102_100).contains(&first), "{first}");
    for _ in 0..3 {
        tier.invalidate(&[hard(A)]).await.unwrap();
    }
    assert_eq!(members(), 3 + 100_000);
}

#[tokio::test]
async fn a_change_holds_until_its_end_and_everything_before_stays_dead() {
    let server = Server::start();
    let tier = at(server.port());
    let begun = tier.invalidate(&[hard(A)]).await.unwrap();
    let (one, other) = (Token::new(), Token::new());
    tier.hold(&one, &[A, B], LIFE).await.unwrap();
    tier.hold(&other, &[A], LIFE).await.unwrap();
    let held = |marks: Vec<(Marker, Mark)>| {
        let mut held: Vec<Marker> =
            marks.into_iter().filter(|(_, mark)| *mark == Mark::Held).map(|(tag, _)| tag).collect();
        held.sort_by_key(|marker| marker.tag.0);
        held
    };
    let poll = async |since| match tier.poll(&begun.epoch, since).await.unwrap() {
        Polled::Changes { marks, position, .. } => (held(marks), position),
        other => panic!("{other:?}"),
    };
    assert_eq!(poll(1).await, (vec![hard(A), hard(B)], 3));
    // A plain invalidation releases nobody's hold.
    assert_eq!(tier.invalidate(&[hard(A)]).await.unwrap().position, 4);
    let marks = tier.positions(&begun.epoch, &[A]).await.unwrap().unwrap().marks;
    assert_eq!(marks, [(Mark::Held, Mark::Unmarked)]);
    // The end of one releases what only it held.
    assert_eq!(tier.end(&one, &[A, B]).await.unwrap().position, 5);
    assert_eq!(poll(4).await, (vec![hard(A)], 5));
    assert_eq!(tier.end(&other, &[A]).await.unwrap().position, 6);
    let marks = tier.positions(&begun.epoch, &[A, B]).await.unwrap().unwrap().marks;
    assert_eq!(marks, [(Mark::At(6), Mark::Unmarked), (Mark::At(5), Mark::Unmarked)]);
}

#[tokio::test]
async fn a_change_that_nobody_renews_is_swept_by_whoever_polls() {
    let server = Server::start();
    let (dead, living) = (at(server.port()), at(server.port()));
    let epoch = dead.current().await.unwrap().epoch;
    dead.hold(&Token::new(), &[A], Duration::from_millis(1)).await.unwrap();
    let swept = || async {
        let polled = living.poll(&epoch, 0).await?;
        let Polled::Changes { marks, .. } = polled else { panic!("{polled:?}") };
        if marks == [(hard(A), Mark::At(2))] { Ok(()) } else { Err(Fault::Other) }
    };
    until_ok(swept).await;
}

#[tokio::test]
async fn open_changes_are_bounded() {
    let server = Server::start();
    let tier = at(server.port());
    let tags: Vec<TagName> = (1..=1024_u128).map(|tag| TagName(tag.to_be_bytes())).collect();
    let token = Token::new();
    tier.hold(&token, &tags, LIFE).await.unwrap();
    assert_eq!(tier.hold(&Token::new(), &[A], LIFE).await.unwrap_err(), Fault::Other);
    tier.hold(&token, &tags, LIFE).await.expect("a renewal adds nothing");
    tier.end(&token, &tags).await.unwrap();
    tier.hold(&Token::new(), &[A], LIFE).await.unwrap();
}

#[tokio::test]
async fn a_change_of_more_tags_than_can_be_held_holds_none() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let of = |range: std::ops::Range<u128>| range.map(|tag| TagName(tag.to_be_bytes())).collect::<Vec<_>>();
    for tags in [of(1..1026), of(1..5002)] {
        assert_eq!(tier.hold(&Token::new(), &tags, LIFE).await.unwrap_err(), Fault::Other);
    }
    let nothing = Polled::Changes { marks: vec![], position: 0, floor: 0 };
    assert_eq!(tier.poll(&epoch, 0).await.unwrap(), nothing);
    // Those of all changes together, and of one that grows.
    let (one, other) = (Token::new(), Token::new());
    tier.hold(&one, &of(1..1001), LIFE).await.unwrap();
    assert_eq!(tier.hold(&other, &of(1..26), LIFE).await.unwrap_err(), Fault::Other);
    tier.hold(&other, &of(1..25), LIFE).await.unwrap();
    assert_eq!(tier.hold(&one, &of(1..1002), LIFE).await.unwrap_err(), Fault::Other);
    tier.hold(&one, &of(1..1001), LIFE).await.expect("a renewal adds nothing");
}

#[tokio::test]
async fn a_lease_has_one_holder_and_is_given_back_only_by_it() {
    let server = Server::start();
    let tier = at(server.port());
    let (one, other) = (Token::new(), Token::new());
    assert!(tier.lease(b"key", &one, LIFE).await.unwrap());
    assert!(!tier.lease(b"key", &other, LIFE).await.unwrap());
    assert!(!tier.release(b"key", &other).await.unwrap());
    assert!(!tier.lease(b"key", &other, LIFE).await.unwrap());
    assert!(tier.release(b"key", &one).await.unwrap());
    assert!(!tier.release(b"key", &one).await.unwrap(), "it is nobody's any more");
    assert!(tier.lease(b"key", &other, LIFE).await.unwrap());
}

#[tokio::test]
async fn the_bell_rings_for_what_others_invalidate() {
    let server = Server::start();
    let (tier, other) = (at(server.port()), at(server.port()));
    // It rings when it begins to listen, for what may have happened before.
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    other.current().await.unwrap();
    for _ in 0..3 {
        other.invalidate(&[hard(A)]).await.unwrap();
        tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    }
    // And again after the connection was lost.
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    other.invalidate(&[hard(A)]).await.unwrap();
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
}

#[tokio::test]
async fn the_bell_tells_the_end_of_a_lease_from_an_invalidation() {
    let server = Server::start();
    let (tier, other) = (at(server.port()), at(server.port()));
    other.current().await.unwrap();
    let rung = || async { tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap() };
    assert_eq!(rung().await, Rung::News, "it begins to listen");
    let ends = async || {
        let token = Token::new();
        assert!(other.lease(b"key", &token, LIFE).await.unwrap());
        assert!(other.release(b"key", &token).await.unwrap());
    };
    ends().await;
    assert_eq!(rung().await, Rung::Lease);
    // A connection that is new to the server, and its control record is not.
    at(server.port()).current().await.unwrap();
    assert_eq!(rung().await, Rung::Lease);
    other.invalidate(&[hard(A)]).await.unwrap();
    ends().await;
    let mut told = vec![rung().await];
    if told == [Rung::Lease] {
        told.push(rung().await);
    }
    assert!(told.contains(&Rung::News), "what comes together is not less than each");
}

#[tokio::test]
async fn namespaces_do_not_meet() {
    let server = Server::start();
    let tier = at(server.port());
    let other = tier_of(Names::new("other", "node"), &[("REDIS_URL", &server.url())]);
    tier.store(tier.entry(b"key").0, value("body"), LIFE).await.unwrap();
    tier.invalidate(&[hard(A)]).await.unwrap();
    let now = other.current().await.unwrap();
    assert_eq!(now.position, 0);
    assert_eq!(other.lookup(&now.epoch, 0, other.entry(b"key")).await.unwrap().entry, None);
}
