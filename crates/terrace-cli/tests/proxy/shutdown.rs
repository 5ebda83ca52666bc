//! Ending in good order.

use crate::harness::{Origin, PATIENCE, Proxy, Raw, full, no_store, within};
use http::Response;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

/// An origin that says when a request arrived and answers when told to.
async fn held() -> (Origin, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let origin = Origin::start(move |_| {
        let wait = Arc::clone(&wait);
        arrived.send(()).unwrap();
        async move {
            wait.notified().await;
            no_store(full("finished"))
        }
    })
    .await;
    (origin, arrivals, release)
}

async fn health(proxy: &Proxy) -> u16 {
    let mut client = Raw::connect(proxy.admin).await;
    client.send("GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    client.answer("GET").await.status
}

/// Waits until the proxy refuses connections, which is when it knows that it is to end.
async fn refusing(proxy: &Proxy) {
    let start = Instant::now();
    while TcpStream::connect(proxy.address).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "still accepting");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let (origin, mut arrivals, release) = held().await;
        let proxy = Proxy::start(origin.address, &[]);
        assert_eq!(health(&proxy).await, 200);
        let mut idle = proxy.connect().await;
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        within("the request", arrivals.recv()).await.unwrap();

        proxy.signal(signal);
        refusing(&proxy).await;
        assert_eq!(health(&proxy).await, 503, "a load balancer is told");
        assert_eq!(idle.rest().await, b"", "an idle connection ends at once");

        release.notify_one();
        let answer = client.answer("GET").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "finished"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.rest().await, b"");
        assert_eq!(proxy.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn what_never_ends_is_cut_off() {
    let (origin, mut arrivals, _release) = held().await;
    let proxy = Proxy::start(origin.address, &["--drain-timeout", "300ms"]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    within("the request", arrivals.recv()).await.unwrap();
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_websocket_is_waited_for() {
    let origin = Origin::start(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let stream = TokioIo::new(upgrade.await.unwrap());
            let (mut reader, mut writer) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        let response = Response::builder().status(101);
        let response = response.header("connection", "upgrade").header("upgrade", "echo");
        response.body(full("")).unwrap()
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(client.answer("GET").await.status, 101);
    proxy.signal(Signal::TERM);
    refusing(&proxy).await;
    client.send("ping").await;
    assert_eq!(client.take(4).await, b"ping");
    drop(client);
    assert_eq!(proxy.ended().await.code(), Some(0));
}
