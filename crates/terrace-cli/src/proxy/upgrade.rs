//! WebSocket and other protocols that a connection switches to (RFC 9110 7.8).

use super::body::{OriginBody, RequestBody};
use super::origin::{Origin, OriginError};
use super::server::Slot;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Passes a request to switch to `protocol` to the origin, and every byte both ways once the origin agreed.
///
/// The bytes are copied by a task that keeps `slot`, so that the connection goes on counting against the limit and a
/// shutdown waits for it.
pub(crate) async fn pass(
    origin: &Origin,
    mut request: Request<RequestBody>,
    protocol: HeaderValue,
    slot: Slot,
) -> Result<Response<OriginBody>, OriginError> {
    let client = on(&mut request);
    ask(request.headers_mut(), protocol);
    let mut response = origin.switch(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(origin.receive(response));
    }
    tokio::spawn(copy(client, on(&mut response), slot));
    let agreed = response.headers().get(UPGRADE).cloned();
    let mut response = origin.receive(response);
    if let Some(protocol) = agreed {
        ask(response.headers_mut(), protocol);
    }
    Ok(response)
}

fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

async fn copy(client: OnUpgrade, origin: OnUpgrade, slot: Slot) {
    let Ok((client, origin)) = tokio::try_join!(client, origin) else {
        return;
    };
    // Either side may just go away; there is nobody left to tell.
    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(origin)).await;
    drop(slot);
}
