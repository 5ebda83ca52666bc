//! Connections that switch to another protocol.

use crate::harness::{Origin, Proxy, Raw, full, raw_origin, within};
use http::Response;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Agrees to switch, says hello, then returns every byte.
async fn echo() -> Origin {
    Origin::start(|mut request| async move {
        let headers = request.headers();
        assert_eq!(headers["connection"], "upgrade");
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["sec-websocket-version"], "13");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            stream.write_all(b"hello").await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.write_all(b"bye").await.unwrap();
            writer.shutdown().await.unwrap();
        });
        Response::builder()
            .status(101)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .body(full(""))
            .unwrap()
    })
    .await
}

async fn switched(proxy: &Proxy) -> Raw {
    let mut client = proxy.connect().await;
    client.send(UPGRADE).await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client
}

#[tokio::test]
async fn a_websocket_passes_bytes_both_ways() {
    use tokio::io::AsyncWriteExt;
    let proxy = Proxy::start(echo().await.address, &[]);
    let mut client = switched(&proxy).await;
    assert_eq!(client.take(5).await, b"hello");
    for n in 0..100_u8 {
        client.send([n, 0, 255]).await;
        assert_eq!(client.take(3).await, [n, 0, 255]);
    }
    // One direction may end before the other.
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"bye");
}

#[tokio::test]
async fn an_open_websocket_outlives_the_timeouts_of_requests() {
    let proxy = Proxy::start(
        echo().await.address,
        &["--header-timeout", "3s", "--first-byte-timeout", "3s", "--idle-timeout", "3s"],
    );
    let mut client = switched(&proxy).await;
    client.take(5).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    client.send("still here").await;
    assert_eq!(client.take(10).await, b"still here");
}

#[tokio::test]
async fn an_origin_that_goes_away_ends_the_client_s_connection() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nlast words",
            )
            .await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let mut client = switched(&proxy).await;
    assert_eq!(client.rest().await, b"last words");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_origin_s_connection() {
    let (done, mut ended) = mpsc::unbounded_channel();
    let origin = raw_origin(move |mut client, _| {
        let done = done.clone();
        async move {
            client.head().await;
            client
                .send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                )
                .await;
            done.send(client.rest().await).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let mut client = switched(&proxy).await;
    client.send("last words").await;
    drop(client);
    assert_eq!(within("the origin to notice", ended.recv()).await.unwrap(), b"last words");
}

#[tokio::test]
async fn an_origin_may_refuse_to_switch() {
    let origin = Origin::start(|_| async {
        let response = Response::builder().status(426).header("upgrade", "other/2");
        response.body(full("no")).unwrap()
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    let mut client = proxy.connect().await;
    for _ in 0..10 {
        client.send(UPGRADE).await;
        let answer = client.answer("GET").await;
        assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
        assert_eq!(answer.header("connection"), None);
    }
    // It is there again in its own time.
    assert!(origin.connections() < 10, "connections are not used up");
}

#[tokio::test]
async fn an_origin_that_is_down_is_502_for_a_websocket_too() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_eq!(proxy.exchange(UPGRADE).await.status, 502);
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status, 200);
    for name in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(answer.mirrored(name), Vec::<String>::new(), "{name}");
    }
}
