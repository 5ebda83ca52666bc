//! Origins and clients that fail.

use crate::harness::{Answer, Origin, Proxy, full, no_store, raw_origin, within};
use http_body_util::BodyExt;
use std::time::Duration;
use terrace_redis_server::Port;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

fn assert_failed(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let said = answer.header("proxy-status");
    assert_eq!(said, Some(format!("terrace; error={error}").as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_origin_that_is_down_is_502() {
    let nobody = Port::free();
    let proxy = Proxy::start(([127, 0, 0, 1], nobody.number()).into(), &[]);
    assert_failed(&proxy.get("/").await, 502, "connection_refused");
}

#[tokio::test]
async fn an_origin_without_an_address_is_502() {
    let proxy = Proxy::start_at("http://no-such-host.invalid", &[]);
    assert_failed(&proxy.get("/").await, 502, "destination_unavailable");
}

#[tokio::test]
async fn an_origin_that_accepts_and_never_answers_is_504() {
    let origin = raw_origin(|mut client, _| async move {
        client.rest().await;
    })
    .await;
    let proxy = Proxy::start(origin, &["--first-byte-timeout", "200ms"]);
    assert_failed(&proxy.get("/").await, 504, "http_response_timeout");
}

#[tokio::test]
async fn an_origin_that_does_not_accept_is_504() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Once the queue of a listener that accepts nothing is full, a connection is not even refused.
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(stream);
    }
    let proxy = Proxy::start(address, &["--connect-timeout", "200ms"]);
    assert_failed(&proxy.get("/").await, 504, "connection_timeout");
}

#[tokio::test]
async fn an_origin_that_does_not_speak_http_is_502() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client.send("220 mail.example ESMTP\r\n").await;
        client.rest().await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_failed(&proxy.get("/").await, 502, "http_protocol_error");
}

#[tokio::test]
async fn an_origin_that_hangs_up_is_502() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_failed(&proxy.get("/").await, 502, "connection_terminated");
}

#[tokio::test]
async fn an_origin_that_switches_protocols_unasked_is_502() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        client.rest().await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_failed(&proxy.get("/").await, 502, "http_upgrade_failed");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_made_whole() {
    let origin = raw_origin(|mut client, _| async move {
        let head = client.head().await;
        let framing = if head.starts_with("GET /chunked") {
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        } else {
            "Content-Length: 10\r\n\r\nabc"
        };
        client.send(format!("HTTP/1.1 200 OK\r\n{framing}")).await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    for (path, whole) in [("/chunked", "0\r\n\r\n"), ("/length", "abc1234567")] {
        let mut client = proxy.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        client.head().await;
        let body = String::from_utf8(client.rest().await).unwrap();
        assert!(body.contains("abc"), "{body:?}");
        assert!(!body.ends_with(whole), "{body:?}");
    }
}

#[tokio::test]
async fn a_response_that_stands_still_is_ended() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
        client.rest().await;
    })
    .await;
    let proxy = Proxy::start(origin, &["--idle-timeout", "500ms"]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    client.head().await;
    assert_eq!(client.rest().await, b"abc");
}

#[tokio::test]
async fn a_request_that_stands_still_is_408() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &["--idle-timeout", "200ms"]);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("proxy-status"), None, "not the origin's fault");
}

#[tokio::test]
async fn a_slow_upload_is_not_the_origin_s_delay() {
    let (first, mut halves) = mpsc::unbounded_channel();
    let origin = Origin::start(move |request| {
        let first = first.clone();
        async move {
            let mut body = request.into_body();
            let frame = body.frame().await.unwrap().unwrap();
            first.send(frame.into_data().unwrap()).unwrap();
            let rest = body.collect().await.unwrap().to_bytes();
            no_store(full(rest))
        }
    })
    .await;
    let proxy = Proxy::start(origin.address, &["--first-byte-timeout", "3s"]);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\nabc").await;
    within("the first half", halves.recv()).await.unwrap();
    // Longer than the origin's whole time: the time is what is tested, not waited for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    client.send("def").await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "def"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_let_go() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let origin = raw_origin(move |mut client, _| {
        let done = done.clone();
        async move {
            use tokio::io::AsyncWriteExt;
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n\r\n").await;
            let chunk = vec![b'x'; 1 << 20];
            while client.stream.write_all(&chunk).await.is_ok() {}
            done.send(()).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(origin, &["--idle-timeout", "300ms"]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    client.head().await;
    within("the origin to be released", ended.recv()).await.unwrap();
    drop(client);
}
