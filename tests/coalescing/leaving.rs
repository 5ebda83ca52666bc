//! Leaders that leave.

use super::*;

#[tokio::test]
async fn when_the_leader_is_cancelled_before_the_head_a_waiter_leads() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 10).await;
    leader.abort();
    until("another leads", || gate.arrived() == 2).await;
    gate.open();
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn when_leader_after_leader_is_cancelled_the_last_waiter_still_gets_an_answer() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    // Who leads is known by its call: each call is told to end in turn.
    let mut tasks = vec![spawn(&service, get("/"))];
    until("the origin is asked", || gate.arrived() == 1).await;
    tasks.extend(waiters(&store, &service, 5).await);
    for led in 2..=6 {
        // Aborting all but the last in turn ends whoever leads sooner or later.
        tasks.remove(0).abort();
        until("nobody is missing", || gate.arrived() >= led.min(6) || tasks.len() < 6).await;
    }
    gate.open();
    assert_eq!(tasks.pop().unwrap().await.unwrap().text(), "x");
}

#[tokio::test]
async fn when_a_lone_leader_is_cancelled_the_next_request_does_not_wait() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(call(&service, get("/")).await.text(), "x");
    assert_eq!((waits(&store), store.stats().inflight_fills()), (0, 0));
}

#[tokio::test]
async fn when_a_lone_client_leaves_after_the_head_or_in_mid_body_the_fetch_ends() {
    for frames in 0..2 {
        let (feed, body) = fed();
        feed.send("a");
        let store = Store::memory();
        let service = cached(&store, &in_turn(&opened(), vec![respond(200, &[FRESH], body), text(&[FRESH], "b")]));
        let mut body = head(&service, get("/")).await.into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert!(feed.is_abandoned());
        assert_eq!(call(&service, get("/")).await.text(), "b");
        assert_eq!((waits(&store), store.stats().inflight_fills()), (0, 0));
    }
}

#[tokio::test]
async fn when_the_client_leaves_after_the_head_the_fetch_goes_on_for_those_who_wait() {
    let (store, service, feed, client, others) = streaming(10).await;
    drop(client);
    assert!(feed.send("on"));
    assert!(feed.send("e"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert!(call(&service, get("/")).await.is_hit());
    assert_eq!(store.stats().inflight_fills(), 0);
}

#[tokio::test]
async fn when_the_client_leaves_in_mid_body_the_fetch_goes_on_for_those_who_wait() {
    let (_, service, feed, client, others) = streaming(10).await;
    let mut body = client.into_body();
    assert!(feed.send("on"));
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(feed.send("e"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert_eq!(call(&service, get("/")).await.text(), "one");
}

#[tokio::test]
async fn when_all_have_left_the_fetch_ends() {
    for client_first in [true, false] {
        let (store, service, feed, client, others) = streaming(3).await;
        let mut client = Some(client);
        if client_first {
            client = None;
        }
        for other in others {
            assert!(!feed.is_abandoned());
            other.abort();
            let _ = other.await;
        }
        assert_eq!(feed.is_abandoned(), client_first);
        drop(client);
        assert!(feed.is_abandoned());
        assert_eq!(call(&service, get("/")).await.text(), "again");
        assert_eq!(store.stats().inflight_fills(), 0);
    }
}

#[tokio::test]
async fn a_stalled_client_does_not_stall_those_who_wait() {
    let (_, service, feed, client, others) = streaming(10).await;
    assert!(feed.send("one"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert!(call(&service, get("/")).await.is_hit());
    // And it still gets its own.
    assert_eq!(read(client).await.unwrap().text(), "one");
}

#[tokio::test]
async fn a_slow_client_gets_what_others_have_read_in_order() {
    let (_, _, feed, client, others) = streaming(1).await;
    let mut body = client.into_body();
    for (sent, piece) in ["a", "b", "c", "d"].into_iter().enumerate() {
        assert!(feed.send(piece));
        if sent % 2 == 1 {
            body.frame().await.unwrap().unwrap();
        }
        tokio::task::yield_now().await;
    }
    drop(feed);
    assert_eq!(answers(others).await[0].text(), "abcd");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "cd");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stalled_client_does_not_stall_those_who_wait_on_other_threads() {
    // The head arrives while others begin to wait, again and again.
    for _ in 0..500 {
        let (store, gate) = (Store::memory(), Gate::default());
        let origin = gate.before(|_| {
            let content = Mutex::new(Some(Bytes::from_static(b"one")));
            let body = scripted(move |_, _| Poll::Ready(content.lock().unwrap().take().map(|it| Ok(Frame::data(it)))));
            respond(200, &[FRESH], body)
        });
        let service = cached(&store, &origin);
        let (leading, first) = (service.clone(), tokio::sync::oneshot::channel());
        let leader = tokio::spawn(async move { first.0.send(head(&leading, get("/")).await).map_err(drop).unwrap() });
        until("the origin is asked", || gate.arrived() == 1).await;
        let others: Vec<_> = (0..4).map(|_| spawn(&service, get("/"))).collect();
        until("one waits", || waits(&store) > 0).await;
        gate.open();
        let stalled = first.1.await.unwrap();
        leader.await.unwrap();
        let all = tokio::time::timeout(secs(3), answers(others)).await.expect("nobody waits for the stalled client");
        assert!(all.iter().all(|answer| answer.text() == "one"));
        assert_eq!(origin.calls(), 1);
        drop(stalled);
    }
}
