//! What comes first, a result or the end of a time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::task::yield_now;

/// The result of whichever is ready first; the left one where both are.
pub(super) async fn first<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> Result<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| match left.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => right.as_mut().poll(cx).map(Err),
    })
    .await
}

/// What is ready when the timer ends. A process that was kept from running, as where it may use only a share of a processor,
/// finds the timer at its end although the reply has come, unread: there is one turn to read it.
pub(super) async fn in_time<T>(work: impl Future<Output = T>, timer: impl Future<Output = ()>) -> Option<T> {
    let mut work = pin!(work);
    if let Ok(value) = first(work.as_mut(), timer).await {
        return Some(value);
    }
    yield_now().await;
    first(work, std::future::ready(())).await.ok()
}
