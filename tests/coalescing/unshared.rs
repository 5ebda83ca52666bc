//! What cannot be shared.

use super::*;

/// Sends `n` requests to an origin that holds them all, and says how many were in it at once.
async fn at_once(
    store: &Store,
    gate: &Gate,
    service: &Cache<Origin>,
    n: usize,
    request: fn() -> Request<Body>,
) -> usize {
    let (arrived, waited) = (gate.arrived(), waits(store));
    let tasks: Vec<_> = (0..n).map(|_| spawn(service, request())).collect();
    let here = || gate.arrived() - arrived;
    until("each is in the origin or waits", || here() + usize::try_from(waits(store) - waited).unwrap() == n).await;
    let at_once = here();
    gate.admit(n);
    answers(tasks).await;
    // Nothing is left over for those who come next.
    gate.admit(0);
    at_once
}

#[tokio::test]
async fn what_turns_out_uncacheable_is_fetched_by_all_who_waited_side_by_side() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[("cache-control", "no-store")], "mine"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 50).await;
    gate.admit(1);
    leader.await.unwrap();
    until("all are in the origin at once", || gate.arrived() == 51).await;
    gate.open();
    answers(others).await;
    assert_eq!(origin.calls(), 51);
}

#[tokio::test]
async fn what_is_uncacheable_is_remembered_for_the_time_that_is_set() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default().hit_for_miss(secs(7)), &clock);
    let gate = Gate::default();
    let service = cached(&store, &gate.before(|_| text(&[("cache-control", "private")], "mine")));
    let request = || get("/");
    assert_eq!(at_once(&store, &gate, &service, 1, request).await, 1);
    assert_eq!(at_once(&store, &gate, &service, 20, request).await, 20);
    clock.advance(secs(6));
    assert_eq!(at_once(&store, &gate, &service, 20, request).await, 20);
    clock.advance(secs(7));
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, get("/"))).collect();
    until("the others wait", || waits(&store) == 19).await;
    gate.open();
    answers(tasks).await;
}

#[tokio::test]
async fn without_hit_for_miss_nothing_is_remembered() {
    let gate = Gate::default();
    let store = Store::new(Config::default().hit_for_miss(Duration::ZERO));
    let service = cached(&store, &gate.before(|_| text(&[("cache-control", "private")], "mine")));
    assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, get("/"))).collect();
    until("the others wait", || waits(&store) == 19).await;
    gate.open();
    answers(tasks).await;
}

#[tokio::test]
async fn what_becomes_cacheable_is_stored_though_it_was_remembered_as_uncacheable() {
    let gate = opened();
    let no_store = || text(&[("cache-control", "no-store")], "x");
    let origin = in_turn(&gate, vec![no_store(), no_store(), text(&[FRESH], "y")]);
    let service = cached(&Store::memory(), &origin);
    for _ in 0..3 {
        call(&service, get("/")).await;
    }
    assert!(call(&service, get("/")).await.is_hit());
}

#[tokio::test]
async fn a_body_over_the_limit_is_remembered_as_uncacheable() {
    for declared in [true, false] {
        let (store, gate) = (Store::new(Config::default().max_body_bytes(10)), Gate::default());
        let origin = gate.before(move |_| {
            let mut polls = vec![Bytes::from_static(b"0123456789"), Bytes::from_static(b"x")].into_iter();
            let body = scripted(move |_, _| Poll::Ready(polls.next().map(|data| Ok(Frame::data(data)))));
            if declared { text(&[FRESH], "0123456789x") } else { respond(200, &[FRESH], body) }
        });
        let service = cached(&store, &origin);
        assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
        assert_eq!(at_once(&store, &gate, &service, 20, || get("/")).await, 20, "length declared: {declared}");
    }
}

#[tokio::test]
async fn a_response_with_too_many_tags_is_remembered_as_uncacheable() {
    let (store, gate) = (Store::memory(), Gate::default());
    store.settings().set("CACHE_MAX_TAGS", "1").unwrap();
    let service = cached(&store, &gate.before(|_| text(&[FRESH, ("cache-tag", "a b")], "x")));
    assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
    assert_eq!(at_once(&store, &gate, &service, 20, || get("/")).await, 20);
}

#[tokio::test]
async fn an_uncacheable_answer_to_a_post_keyed_by_its_body_is_remembered() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[("cache-control", "no-store")], "x"));
    let service = BodyDigestLayer::new().layer(CacheLayer::new(store.clone()).layer(Adapted(origin)));
    let post = || ask(Method::POST, "/", &[]).map(|_| full("question"));
    let first = spawn(&service, post());
    gate.admit(1);
    first.await.unwrap();
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, post())).collect();
    until("each is in the origin or waits", || gate.arrived() - 1 + usize::try_from(waits(&store)).unwrap() == 20)
        .await;
    assert_eq!(gate.arrived(), 21, "all are in the origin at once");
    gate.open();
    answers(tasks).await;
}

/// Takes the bodies that [`BodyDigestLayer`] hands on.
#[derive(Clone)]
struct Adapted(Origin);

impl tower::Service<Request<terrace::Replay<Body>>> for Adapted {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = <Origin as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<terrace::Replay<Body>>) -> Self::Future {
        self.0.call(request.map(BodyExt::boxed_unsync))
    }
}

#[tokio::test]
async fn nobody_gets_the_personal_response_of_a_leader() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|request| {
        let who = request.headers.get("cookie").map_or("nobody", |cookie| cookie.to_str().unwrap());
        text(&[FRESH], who.to_owned())
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get_with("/", &[("cookie", "anne")]));
    until("the origin is asked", || gate.arrived() == 1).await;
    let names = ["ben", "cleo", "dora"];
    let others: Vec<_> = names.iter().map(|name| spawn(&service, get_with("/", &[("cookie", name)]))).collect();
    until("all wait", || waits(&store) == 3).await;
    gate.open();
    assert_eq!(leader.await.unwrap().text(), "anne");
    assert_eq!(answers(others).await.iter().map(Answer::text).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn heads_ranges_and_only_if_cached_do_not_wait() {
    let (store, gate) = (Store::memory(), Gate::default());
    let service = cached(&store, &gate.before(|_| text(&[FRESH], "x")));
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let at_once = call(&service, get_with("/", &[("cache-control", "only-if-cached")])).await;
    assert_eq!(at_once.status, 504);
    let head = spawn(&service, ask(Method::HEAD, "/", &[]));
    let range = spawn(&service, get_with("/", &[("range", "bytes=0-0")]));
    until("both are in the origin", || gate.arrived() == 3).await;
    gate.open();
    answers(vec![leader, head, range]).await;
    assert_eq!(waits(&store), 0);
}

#[tokio::test]
async fn variants_that_wait_for_one_flight_each_get_their_own() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|request| {
        let wanted = request.headers["x-variant"].to_str().unwrap().to_owned();
        text(&[FRESH, ("vary", "x-variant")], wanted)
    });
    let service = cached(&store, &origin);
    let variant = |name: &str| spawn(&service, get_with("/", &[("x-variant", name)]));
    let leader = variant("a");
    until("the origin is asked", || gate.arrived() == 1).await;
    let wanted = ["b", "a", "c", "b", "a", "c"];
    let others: Vec<_> = wanted.iter().map(|name| variant(name)).collect();
    until("all wait", || waits(&store) == 6).await;
    gate.open();
    assert_eq!(leader.await.unwrap().text(), "a");
    assert_eq!(answers(others).await.iter().map(Answer::text).collect::<Vec<_>>(), wanted);
    assert_eq!(origin.calls(), 3, "one call for each variant");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_goes_itself_when_its_time_is_up() {
    let store = Store::new(Config::default().fill_wait(secs(3)));
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let stuck = calls.fetch_add(1, SeqCst) == 0;
        async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            Ok(text(&[FRESH], "x"))
        }
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || origin.calls() == 1).await;
    let started = tokio::time::Instant::now();
    let others = waiters(&store, &service, 10).await;
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(started.elapsed().as_secs(), 3);
    assert!(call(&service, get("/")).await.is_hit(), "what they fetched is stored, whoever leads");
    leader.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_does_not_hold_those_who_wait_for_longer() {
    let (_, _, feed, client, others) = streaming(1).await;
    feed.send("and then nothing");
    let started = tokio::time::Instant::now();
    assert_eq!(answers(others).await[0].text(), "again");
    assert_eq!(started.elapsed().as_secs(), 5);
    drop(client);
}
