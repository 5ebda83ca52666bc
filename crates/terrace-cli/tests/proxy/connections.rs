//! Connections: versions, reuse, limits, and what ends them.

use crate::harness::{Body, Origin, PATIENCE, Proxy, Raw, full, no_store, raw_origin, within};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test]
async fn connections_to_the_origin_are_reused() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    // One is there again in its own time, perhaps after the next request has come.
    assert!(origin.connections() < 10);
}

#[tokio::test]
async fn connections_of_clients_are_kept() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    for _ in 0..10 {
        client.send(GET).await;
        assert_eq!(client.answer("GET").await.status, 200);
    }
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.answer("GET").await.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_http_1_0_connection_ends_unless_asked_to_stay() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.version, "HTTP/1.0");
    assert_eq!(client.rest().await, b"");

    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = client.answer("GET").await;
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    let requests = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    client.send(requests.collect::<Vec<_>>().concat()).await;
    for n in 0..20 {
        let answer = client.answer("GET").await;
        assert!(answer.text().starts_with(&format!("GET /{n} ")), "{}", answer.text());
    }
}

async fn h2(proxy: &Proxy) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn http_2_with_prior_knowledge_shares_the_port() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let client = h2(&proxy).await;
    let requests = (0..10).map(|n| {
        let mut client = client.clone();
        async move {
            let request = Request::post(format!("http://a.example/{n}"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(Full::from(format!("body {n}")))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
            assert_eq!(response.headers()["via"], "1.1 terrace");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.starts_with(&format!("POST /{n} HTTP/1.1\n")), "{text}");
            assert!(text.contains("\nhost: a.example\n"), "{text}");
            assert!(text.contains("\nvia: 2 terrace\n"), "{text}");
            assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
            assert!(text.ends_with(&format!("\nbody {n}")), "{text}");
        }
    });
    let tasks: Vec<_> = requests.map(tokio::spawn).collect();
    for task in tasks {
        within("an answer over HTTP/2", task).await.unwrap();
    }
    assert_eq!(proxy.get("/").await.status, 200, "HTTP/1 still works beside it");
}

#[tokio::test]
async fn an_http_2_request_cannot_name_two_hosts() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let request = Request::get("http://a.example/").header("host", "b.example");
    let request = request.body(Full::default()).unwrap();
    let response = h2(&proxy).await.send_request(request).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn clients_that_do_not_finish_a_head_are_disconnected() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &["--header-timeout", "5s"]);
    let address = proxy.address;
    let beginnings = ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: a.exa"];
    let clients = beginnings.map(|beginning| {
        tokio::spawn(async move {
            let mut client = Raw::connect(address).await;
            client.send(beginning).await;
            // The end of the stream is the event; only its absence would take long.
            assert_eq!(client.rest().await, b"", "{beginning:?}");
        })
    });
    for client in clients {
        client.await.unwrap();
    }
    let mut client = proxy.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer("GET").await.status, 200);
    client.send("GET / HT").await;
    assert_eq!(client.rest().await, b"", "also after a first request");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &["--max-header-size", "8KiB"]);
    let large = |bytes: usize| {
        let value = "x".repeat(bytes);
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Large: {value}\r\n\r\n")
    };
    assert_eq!(proxy.exchange(&large(6_000)).await.status, 200);
    assert_eq!(proxy.exchange(&large(9_000)).await.status, 431);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let (seen, mut order) = mpsc::unbounded_channel();
    let origin = Origin::start(move |request| {
        seen.send(request.uri().path().to_owned()).unwrap();
        async { no_store(full("ok")) }
    })
    .await;
    let proxy = Proxy::start(origin.address, &["--max-connections", "1"]);
    let mut first = proxy.connect().await;
    first.send("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    first.answer("GET").await;
    let mut second = proxy.connect().await;
    second.send("GET /second HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    for n in 2..50 {
        first.send(format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        first.answer("GET").await;
    }
    drop(first);
    assert_eq!(second.answer("GET").await.status, 200);
    for n in 1..50 {
        assert_eq!(order.recv().await.unwrap(), format!("/{n}"));
    }
    assert_eq!(order.recv().await.unwrap(), "/second");
}

/// Says that it was dropped.
struct Told(Option<oneshot::Sender<()>>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.take().map(|sender| sender.send(()));
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = Origin::start(move |_| {
        let (sender, dropped) = oneshot::channel();
        let told = Told(Some(sender));
        arrived.send(dropped).unwrap();
        async move {
            std::future::pending::<()>().await;
            drop(told);
            no_store(full(""))
        }
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n").await;
    let dropped = within("the request", arrivals.recv()).await.unwrap();
    drop(client);
    within("the origin to notice", dropped).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_response_along() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let origin = raw_origin(move |mut client, _| {
        let done = done.clone();
        async move {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n\r\nbeginning").await;
            client.rest().await;
            done.send(()).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let mut client = proxy.connect().await;
    client.send(GET).await;
    client.until("beginning").await;
    drop(client);
    within("the origin to notice", ended.recv()).await.unwrap();
}

#[tokio::test]
async fn a_safe_request_survives_a_connection_that_just_ended() {
    // Each connection answers once, and ends without a word when it gets a second request.
    let (seen, mut heads) = mpsc::unbounded_channel();
    let origin = raw_origin(move |mut client, number| {
        let seen = seen.clone();
        async move {
            seen.send(client.head().await).unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: no-store";
            client.send(format!("{head}\r\n\r\n{number:04}")).await;
            seen.send(client.head().await).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_eq!(proxy.get("/").await.text(), "0000");
    assert_eq!(proxy.get("/").await.text(), "0001");
    // It may be sent before a connection that was used is there again.
    let (start, mut posts) = (Instant::now(), HashSet::new());
    for number in 0_u32.. {
        let post = format!("POST /{number} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
        let status = proxy.exchange(&post).await.status;
        while let Ok(head) = heads.try_recv() {
            assert!(!head.starts_with("POST ") || posts.insert(head), "may have had an effect: not sent twice");
        }
        if status == 502 {
            break;
        }
        assert_eq!(status, 200);
        assert!(start.elapsed() < PATIENCE, "no connection is used again");
    }
}

#[tokio::test]
async fn requests_are_served_side_by_side() {
    const AT_ONCE: usize = 50;
    let gate = Arc::new(Semaphore::new(0));
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let open = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        let gate = Arc::clone(&open);
        let arrived = arrived.clone();
        async move {
            arrived.send(()).unwrap();
            gate.acquire().await.unwrap().forget();
            Response::<Body>::new(Empty::new().boxed_unsync())
        }
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let address = proxy.address;
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|n| {
            tokio::spawn(async move {
                let mut client = Raw::connect(address).await;
                client.send(format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
                client.answer("GET").await.status
            })
        })
        .collect();
    for _ in 0..AT_ONCE {
        within("all requests at once", arrivals.recv()).await.unwrap();
    }
    gate.add_permits(AT_ONCE);
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
}
