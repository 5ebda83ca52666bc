//! Bodies, trailers, and responses without either.

use crate::harness::{Body, Origin, Proxy, full, no_store, raw_origin, within};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Answers with what it was sent, in one chunk and with its trailers.
async fn echo() -> Origin {
    Origin::start(|request| async move {
        let trailer = request.headers().get("trailer").cloned();
        let expect = request.headers().get("expect").cloned();
        let framing = ["content-length", "transfer-encoding"]
            .map(|name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()));
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned();
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
        sender.send_data(body.to_bytes()).await.unwrap();
        if let Some(trailers) = trailers {
            sender.send_trailers(trailers).await.unwrap();
        }
        drop(sender);
        let mut response = no_store(channel.boxed_unsync());
        let headers = response.headers_mut();
        headers.insert("x-framing", HeaderValue::from_str(&format!("{framing:?}")).unwrap());
        if let Some(expect) = expect {
            headers.insert("x-expect", expect);
        }
        if let Some(trailer) = trailer {
            headers.insert("trailer", trailer);
        }
        response
    })
    .await
}

#[tokio::test]
async fn chunked_bodies_pass_both_ways() {
    let proxy = Proxy::start(echo().await.address, &[]);
    let answer = proxy
        .exchange(
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        )
        .await;
    assert_eq!(answer.text(), "hello world");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.header("x-framing"), Some(r#"[None, Some("chunked")]"#));
}

#[tokio::test]
async fn a_known_length_stays_known() {
    let proxy = Proxy::start(echo().await.address, &[]);
    let answer = proxy.exchange("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("x-framing"), Some(r#"[Some("5"), None]"#));
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let proxy = Proxy::start(echo().await.address, &[]);
    let answer = proxy
        .exchange("GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nquery\r\n0\r\n\r\n")
        .await;
    assert_eq!(answer.text(), "query");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let proxy = Proxy::start(echo().await.address, &[]);
    let answer = proxy
        .exchange(
            "POST / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn expect_continue_is_answered_when_the_origin_wants_the_body() {
    let proxy = Proxy::start(echo().await.address, &[]);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 Continue"));
    client.send("hi").await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.header("x-expect"), None, "it was answered here");
}

#[tokio::test]
async fn a_body_that_will_be_refused_is_not_asked_for() {
    let origin = echo().await;
    let proxy = Proxy::start(origin.address, &["--max-request-body", "1KiB"]);
    let answer = proxy
        .exchange("POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n")
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_413() {
    let proxy = Proxy::start(echo().await.address, &["--max-request-body", "8"]);
    let chunked = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = proxy.exchange(&format!("{chunked}8\r\n12345678\r\n0\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "the limit itself is allowed");
    let answer = proxy.exchange(&format!("{chunked}9\r\n123456789\r\n0\r\n\r\n")).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn responses_without_a_body_keep_their_head() {
    let origin = Origin::start(|request| async move {
        let response = Response::builder().header("cache-control", "no-store");
        let empty = || Empty::new().boxed_unsync();
        match (request.method().as_str(), request.uri().path()) {
            ("HEAD", _) => response.header("content-length", "1234").body(empty()),
            (_, "/204") => response.status(204).body(empty()),
            (_, "/304") => response.status(304).header("etag", "\"e\"").body(empty()),
            _ => response.body(full("body")),
        }
        .unwrap()
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    // On one connection: a body too many or too few would show in the next answer.
    for (method, path, status) in [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/", 200)] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        let answer = client.answer(method).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("transfer-encoding"), None, "{method} {path}");
        if method == "HEAD" {
            assert_eq!(answer.header("content-length"), Some("1234"));
        }
        if status == 304 {
            assert_eq!(answer.header("etag"), Some("\"e\""));
        }
    }
    // One is there again in its own time.
    assert!(origin.connections() < 4, "they are reused");
}

#[tokio::test]
async fn informational_responses_are_not_taken_for_the_answer() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client
            .send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    })
    .await;
    let answer = Proxy::start(origin, &[]).get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.header("link"), None);
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed() {
    // As a request: chunks count, and the connection ends so that nothing can be smuggled behind.
    let proxy = Proxy::start(echo().await.address, &[]);
    let mut client = proxy.connect().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
        )
        .await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("x-framing"), Some(r#"[None, Some("chunked")]"#));
    assert_eq!(client.rest().await, b"", "nothing after it was taken for a request");

    // As a response: chunks count, and the length does not pass.
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .await;
    })
    .await;
    let answer = Proxy::start(origin, &[]).get("/").await;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn what_an_origin_writes_too_much_is_nobody_s_answer() {
    let origin = raw_origin(|mut client, _| async move {
        for number in 0.. {
            client.head().await;
            // The second half comes at once, with the first, as a whole other response.
            let extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok {number}{extra}")).await;
        }
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    for _ in 0..20 {
        let answer = proxy.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok 0"));
    }
}

#[tokio::test]
async fn an_unknown_transfer_coding_ends_with_the_connection() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: something\r\nContent-Length: 2\r\n\r\nhello").await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    for _ in 0..3 {
        let answer = proxy.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
}

#[tokio::test]
async fn the_first_byte_does_not_wait_for_the_second() {
    let seen = Arc::new(Notify::new());
    let wait = Arc::clone(&seen);
    let origin = Origin::start(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
            tokio::spawn(async move {
                sender.send_data("first".into()).await.unwrap();
                wait.notified().await;
                sender.send_data("second".into()).await.unwrap();
            });
            Response::builder().header("cache-control", "max-age=60").body(body.boxed_unsync()).unwrap()
        }
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    client.until("first").await;
    seen.notify_one();
    client.until("second").await;
}

const MIB: usize = 1 << 20;

fn stream(mebibytes: usize) -> Body {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; MIB]);
        for _ in 0..mebibytes {
            if sender.send_data(chunk.clone()).await.is_err() {
                break;
            }
        }
    });
    body.boxed_unsync()
}

/// The most memory a process ever had, in KiB.
fn peak_kib(proxy: &Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_response_takes_little_memory() {
    const SIZE: usize = 1024;
    let origin = Origin::start(|_| async {
        Response::builder().header("cache-control", "max-age=60").body(stream(SIZE)).unwrap()
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
    client.head().await;
    let first = peak_kib(&proxy);
    let mut total = client.take(1).await.len();
    let mut buffer = vec![0; MIB];
    loop {
        use tokio::io::AsyncReadExt;
        match within("bytes", client.stream.read(&mut buffer)).await.unwrap() {
            0 => break,
            read => total += read,
        }
    }
    // `take` may have left some of the first read in its buffer.
    total += client.rest().await.len();
    assert_eq!(total, SIZE * MIB);
    let grown = peak_kib(&proxy) - first;
    assert!(grown < 24 * 1024, "grew by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_takes_little_memory() {
    const SIZE: usize = 256;
    let origin = Origin::start(|request| async move {
        let mut total = 0;
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            total += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        no_store(full(total.to_string()))
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    let length = SIZE * MIB;
    client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n")).await;
    let chunk = vec![b'x'; MIB];
    for _ in 0..SIZE {
        client.send(&chunk).await;
    }
    assert_eq!(client.answer("POST").await.text(), length.to_string());
    assert!(peak_kib(&proxy) < 64 * 1024, "{} KiB", peak_kib(&proxy));
}

#[tokio::test]
async fn an_early_answer_passes_while_the_upload_goes_on() {
    let (sender, mut pending) = mpsc::unbounded_channel();
    let origin = Origin::start(move |request| {
        // Kept, so that the connection is not closed over an unread body.
        sender.send(request.into_body()).unwrap();
        async { no_store(full("no need")) }
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n12345").await;
    assert_eq!(client.answer("POST").await.text(), "no need");
    drop(within("the body", pending.recv()).await.unwrap());
}

#[tokio::test]
async fn a_trailer_set_by_the_origin_alone_needs_te() {
    let origin = Origin::start(|_| async {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(2);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        sender.send_data("hi".into()).await.unwrap();
        sender.send_trailers(trailers).await.unwrap();
        drop(sender);
        let mut response = no_store(body.boxed_unsync());
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy.get("/").await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("hi", 0));
    let answer = proxy.exchange("GET / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\n\r\n").await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("hi", 1));
}
