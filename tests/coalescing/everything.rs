//! Everything at once.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mixture_of_cancelling_failing_and_purging_leaves_anybody_hanging() {
    let store = Store::new(Config::default().fill_wait(secs(600)));
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let n = calls.fetch_add(1, SeqCst);
        async move {
            for _ in 0..n % 7 {
                tokio::task::yield_now().await;
            }
            let slow = scripted(move |polls, cx| {
                if polls % 2 == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready((polls < 5).then(|| Ok(Frame::data(Bytes::from_static(b"piece")))))
            });
            match n % 11 {
                0 => Err(Failure("refused")),
                1 => Ok(text(&[("cache-control", "no-store")], "x")),
                2 => Ok(respond(503, &[], full("x"))),
                3 => Ok(text(&[("cache-control", "max-age=0")], "x")),
                4 => Ok(respond(200, &[("cache-control", "max-age=60"), ("content-length", "99")], slow)),
                _ => Ok(respond(200, &[FRESH], slow)),
            }
        }
    });
    let service = cached(&store, &origin);
    let tasks = (0..4000_u64).map(|n| {
        let (mut service, store) = (service.clone(), store.clone());
        tokio::spawn(async move {
            if n % 13 == 0 {
                let _ = store.purge_all().await.unwrap();
            }
            let path = format!("/{}", n % 5);
            let request = async {
                if let Ok(response) = tower::Service::call(&mut service, get(&path)).await {
                    let mut body = response.into_body();
                    let frames = n % 4;
                    for _ in 0..if frames == 3 { 100 } else { frames } {
                        match body.frame().await {
                            Some(Ok(_)) => {}
                            _ => break,
                        }
                    }
                }
            };
            if n % 3 == 0 {
                // Leaves after a few turns.
                let patience = async {
                    for _ in 0..n % 17 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { () = request => {} () = patience => {} }
            } else {
                request.await;
            }
        })
    });
    let all = join_all(tasks.collect::<Vec<_>>());
    for task in tokio::time::timeout(secs(60), all).await.expect("nobody hangs") {
        task.unwrap();
    }
    assert_eq!(store.stats().inflight_fills(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_purge_returned_no_thread_is_answered_with_what_was_fetched_before_it() {
    // The origin's answer is the version that was current when it was asked; a purge follows each change.
    let version = Arc::new(AtomicUsize::new(0));
    let current = Arc::clone(&version);
    let origin = Origin::new(move |_| {
        let version = current.load(SeqCst);
        async move {
            tokio::task::yield_now().await;
            let control = "max-age=60, stale-while-revalidate=60";
            Ok(text(&[("cache-control", control), ("cache-tag", "t"), ("vary", "x-v")], version.to_string()))
        }
    });
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).rules(Rules::new().early_refresh(1.0)).layer(origin);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // What the purges have promised so far.
    let promised = Arc::new(AtomicUsize::new(0));
    let reads = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..8)
        .map(|n| {
            let (service, done, promised) = (service.clone(), Arc::clone(&done), Arc::clone(&promised));
            let reads = Arc::clone(&reads);
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    let at_least = promised.load(SeqCst);
                    let answer = call(&service, get_with("/", &[("x-v", if n % 2 == 0 { "a" } else { "b" })])).await;
                    let seen: usize = answer.text().parse().unwrap();
                    assert!(seen >= at_least, "version {seen} after {at_least} was promised");
                    reads.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for change in 1.. {
        let failed = readers.iter().any(JoinHandle::is_finished);
        if failed || (change > 2000 && reads.load(SeqCst) > 2000) {
            break;
        }
        version.store(change, SeqCst);
        let _ = match change % 3 {
            0 => store.purge_tag("t").await,
            1 => store.purge_url("/").await,
            _ => store.purge_all().await,
        }
        .unwrap();
        promised.store(change, SeqCst);
        for _ in 0..change % 5 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}
