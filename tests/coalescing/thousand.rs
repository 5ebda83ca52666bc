//! Many requests, one call.

use super::*;

async fn a_thousand_requests_cause_one_call() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "one"));
    let service = cached(&store, &origin);
    let first = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 999).await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "one");
    for answer in answers(others).await {
        assert_eq!(answer.text(), "one");
        assert!(answer.field("cache-status").contains("collapsed"), "{answer:?}");
    }
    assert_eq!(origin.calls(), 1);
    let stats = store.stats();
    assert_eq!((stats.requests(CacheStatus::Miss), stats.requests(CacheStatus::Coalesced)), (1, 999));
}

#[tokio::test]
async fn a_thousand_requests_cause_one_call_on_one_thread() {
    a_thousand_requests_cause_one_call().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_cause_one_call_on_several_threads() {
    a_thousand_requests_cause_one_call().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_through_a_router_cause_one_call_though_the_body_is_slow() {
    use axum::{Router, routing::get as on_get};
    let (store, calls) = (Store::memory(), Arc::new(AtomicUsize::new(0)));
    let (feed, body) = fed();
    let body = Arc::new(Mutex::new(Some(body.map_err(|_| std::io::Error::other("broken")))));
    let counter = Arc::clone(&calls);
    let handler = async move || {
        counter.fetch_add(1, SeqCst);
        ([FRESH], axum::body::Body::new(body.lock().unwrap().take().expect("called once")))
    };
    let app = Router::new().route("/slow/{id}", on_get(handler)).layer(CacheLayer::new(store.clone()));
    let ask = || {
        let request = Request::get("/slow/1").body(axum::body::Body::empty()).unwrap();
        tokio::spawn(tower::ServiceExt::oneshot(app.clone(), request))
    };
    let first = ask();
    until("the handler runs", || calls.load(SeqCst) == 1).await;
    let others: Vec<_> = (0..999).map(|_| ask()).collect();
    until("all wait", || waits(&store) >= 999).await;
    for piece in ["o", "n", "e"] {
        assert!(feed.send(piece));
        tokio::task::yield_now().await;
    }
    drop(feed);
    for task in std::iter::once(first).chain(others) {
        assert_eq!(read(task.await.unwrap().unwrap()).await.unwrap().text(), "one");
    }
    assert_eq!(calls.load(SeqCst), 1);
}
