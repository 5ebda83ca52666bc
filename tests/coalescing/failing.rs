//! Leaders that panic or fail.

use super::*;

#[tokio::test]
async fn when_the_service_panics_a_waiter_leads() {
    let (store, gate) = (Store::memory(), Gate::default());
    let calls = AtomicUsize::new(0);
    let origin = gate.before(move |_| {
        assert!(calls.fetch_add(1, SeqCst) > 0, "the first call panics");
        text(&[FRESH], "x")
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 10).await;
    gate.open();
    assert!(leader.await.unwrap_err().is_panic());
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn when_the_body_panics_its_client_sees_the_panic_and_a_waiter_leads() {
    for client_reads in [false, true] {
        let gate = Gate::default();
        let opened = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (go, wake) = (Arc::clone(&opened), Arc::new(Mutex::new(None::<std::task::Waker>)));
        let waker = Arc::clone(&wake);
        let body = scripted(move |polls, cx| match polls {
            0 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a"))))),
            _ if !go.load(SeqCst) => {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => panic!("the body panics"),
        });
        let origin = in_turn(&gate, vec![respond(200, &[FRESH], body), text(&[FRESH], "again")]);
        gate.open();
        let store = Store::memory();
        let service = cached(&store, &origin);
        let client = head(&service, get("/")).await;
        let mut client = Some(client);
        let reading = if client_reads { client.take() } else { None };
        let reading = reading.map(|client| tokio::spawn(async move { read(client).await.map(|_| ()) }));
        let others = waiters(&store, &service, 5).await;
        opened.store(true, SeqCst);
        wake.lock().unwrap().take().expect("somebody reads").wake();
        assert!(answers(others).await.iter().all(|answer| answer.text() == "again"));
        let reading = reading.unwrap_or_else(|| {
            let client = client.take().expect("it has not read yet");
            tokio::spawn(async move { read(client).await.map(|_| ()) })
        });
        assert!(reading.await.unwrap_err().is_panic());
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test]
async fn when_the_body_fails_a_waiter_leads() {
    let (_, service, feed, client, others) = streaming(5).await;
    feed.send("half");
    feed.fail("reset");
    assert!(answers(others).await.iter().all(|answer| answer.text() == "again"));
    assert!(read(client).await.is_err());
    assert!(call(&service, get("/")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_gets_a_503_nobody_hangs_and_each_asks_at_most_once() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| respond(503, &[], full("down")));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 100).await;
    gate.open();
    assert_eq!(leader.await.unwrap().status, 503);
    assert!(answers(others).await.iter().all(|answer| answer.status == 503));
    assert!(origin.calls() <= 101, "{} calls", origin.calls());
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_gets_an_error_nobody_hangs_and_each_asks_at_most_once() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let passing = clock.clone();
    let origin = Origin::new(move |_| {
        let clock = passing.clone();
        async move {
            // The store's clock and tokio's go together.
            clock.advance(secs(1));
            tokio::time::sleep(secs(1)).await;
            Err(Failure("refused"))
        }
    });
    let service = cached(&store, &origin);
    let started = tokio::time::Instant::now();
    let tasks = (0..101).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { tower::Service::call(&mut service, get("/")).await.map(|_| ()) })
    });
    for task in join_all(tasks.collect::<Vec<_>>()).await {
        assert_eq!(task.unwrap().unwrap_err(), Failure("refused"));
    }
    assert!(origin.calls() <= 101, "{} calls", origin.calls());
    // The time that a request may wait for others, and its own call.
    assert!(started.elapsed() <= secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn when_the_leader_fails_a_stale_response_answers_all_who_waited() {
    for with_status in [true, false] {
        let clock = FakeClock::new();
        let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
        let (calls, inside) = (AtomicUsize::new(0), gate.clone());
        let origin = Origin::new(move |_| {
            let (first, gate) = (calls.fetch_add(1, SeqCst) == 0, inside.clone());
            async move {
                gate.pass().await;
                match first {
                    true => Ok(text(&[("cache-control", "max-age=60, stale-if-error=60")], "good")),
                    false if with_status => Ok(respond(503, &[], full("bad"))),
                    false => Err(Failure("refused")),
                }
            }
        });
        let service = cached(&store, &origin);
        gate.admit(1);
        call(&service, get("/")).await;
        clock.advance(secs(61));
        let leader = spawn(&service, get("/"));
        until("the origin is asked", || gate.arrived() == 2).await;
        let others = waiters(&store, &service, 100).await;
        gate.open();
        assert_eq!(leader.await.unwrap().text(), "good");
        for answer in answers(others).await {
            assert_eq!(answer.text(), "good");
        }
        assert_eq!(origin.calls(), 2, "nobody asks a failing origin again who can have the stale response");
    }
}
