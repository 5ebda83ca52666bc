//! Hits that are compared with a fresh answer of the origin: a measurement, which is off unless somebody asks for it.

use super::call::Call;
use super::drive::{Job, unconditional};
use super::service::Shared;
use super::stored::{Cached, CachedResponse};
use crate::authorized::Outside;
use crate::observe::stats::{OriginOutcome, SampleResult};
use crate::store::{Entry, Standing};
use bytes::{Buf, Bytes};
use http::{Method, Request, Response};
use http_body::Body;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::Stored;
use tower_service::Service;

/// How long the origin may take for the whole answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the origin in the background for what has just been served, and counts whether that is the same. Does nothing
/// unless the request is a `GET` and a whole response is stored, while another is being compared, or where as many
/// refreshes run as may.
#[cold]
pub(super) fn compare<S, B, R>(job: Job<S, B>, entry: Arc<Entry<Cached>>)
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    let shared = Arc::clone(&job.shared);
    let limit = shared.tiers.settings().max_refreshes();
    let is_whole = matches!(entry.value(), Cached::Response(cached) if cached.facts().complete_len().is_some());
    if job.request.method() != Method::GET || !is_whole {
        return;
    }
    let (Some(turn), Some(place)) = (shared.samples.reserve(1), shared.store.refreshes().reserve(limit)) else {
        return;
    };
    let observe = shared.tiers.observe().clone();
    let work = observe.sampling().within(async move {
        if let Some(result) = result(job, &shared, &entry).await {
            shared.tiers.observe().sampled(result);
        }
        drop(turn);
    });
    place.run(observe.within_span(work));
}

/// `None` if what was served has been invalidated since: then the origin may differ.
async fn result<S, B, R>(job: Job<S, B>, shared: &Shared, entry: &Entry<Cached>) -> Option<SampleResult>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    let Cached::Response(served) = entry.value() else {
        return None;
    };
    let asked = tokio::time::timeout(PATIENCE, is_same(job, served)).await;
    match asked.unwrap_or(None) {
        None => Some(SampleResult::Error),
        Some(true) => Some(SampleResult::Match),
        Some(false) => {
            // Who changes something and then invalidates it does not do both at once, nor is it known everywhere at once.
            tokio::time::sleep(shared.tiers.settings().max_lag()).await;
            (entry.standing() == Standing::Current).then_some(SampleResult::Mismatch)
        }
    }
}

/// Whether the origin answers with the same status and content; `None` if it fails.
async fn is_same<S, B, R>(job: Job<S, B>, served: &CachedResponse) -> Option<bool>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    let Job { mut inner, mut request, shared, .. } = job;
    unconditional(request.headers_mut());
    Outside::mark(request.extensions_mut());
    let origin = shared.tiers.observe().origin_call();
    let called = Call::new(&mut inner, request).await;
    let status = called.as_ref().ok().map(Response::status);
    let failed = status.is_none_or(|status| status.is_server_error());
    let _ = origin.finish(if failed { OriginOutcome::ServerError } else { OriginOutcome::Ok });
    let expected = served.facts().status();
    if status != Some(expected) {
        return (!failed).then_some(false);
    }
    has_content(called.ok()?.into_body(), served.packed().content()).await
}

/// Whether this is the content of a body; `None` if it ends with an error. No more of it is read than is needed to tell.
async fn has_content<R: Body<Data = Bytes>>(body: R, mut content: Bytes) -> Option<bool> {
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if !content.starts_with(&data) {
                return Some(false);
            }
            content.advance(data.len());
        }
    }
    Some(content.is_empty())
}
