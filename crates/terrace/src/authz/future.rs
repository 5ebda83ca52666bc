use super::answer::{AuthorizeBody, Refusal};
use super::drive::Passed;
use super::source::Boxed;
use crate::authorized::Guarded;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

pin_project! {
    /// Response future of [`Authorize`](super::Authorize).
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end it drops the call of the inner service with it. What it has asked of the source goes on.
    pub struct AuthorizeFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        inner: Inner<S, B>,
        marks: bool,
        label: Option<&'static str>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<S, B>
    where
        S: Service<Request<B>>,
    {
        Refused { refusal: Refusal },
        Called { #[pin] future: S::Future },
        Waiting { work: Boxed<'static, Result<Passed, Refusal>>, ready: S, body: Option<B> },
    }
}

impl<S, B> AuthorizeFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn refuse(refusal: Refusal) -> Self {
        Self { inner: Inner::Refused { refusal }, marks: false, label: None }
    }

    pub(super) fn call(future: S::Future, marks: bool, label: Option<&'static str>) -> Self {
        Self { inner: Inner::Called { future }, marks, label }
    }

    pub(super) fn drive(work: Boxed<'static, Result<Passed, Refusal>>, ready: S, body: B) -> Self {
        Self { inner: Inner::Waiting { work, ready, body: Some(body) }, marks: false, label: None }
    }
}

impl<S, B, R> Future for AuthorizeFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<AuthorizeBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.inner.as_mut().project() {
                InnerProj::Refused { refusal } => return Poll::Ready(Ok(refusal.response())),
                InnerProj::Called { future } => {
                    let response = ready!(future.poll(cx))?.map(AuthorizeBody::of);
                    return Poll::Ready(Ok(told(response, *this.marks, *this.label)));
                }
                InnerProj::Waiting { work, ready, body } => match ready!(work.as_mut().poll(cx)) {
                    Err(refusal) => Inner::Refused { refusal },
                    Ok(Passed { parts, marks, label }) => {
                        (*this.marks, *this.label) = (marks, label);
                        let body = body.take().expect("a request is called once");
                        Inner::Called { future: ready.call(Request::from_parts(parts, body)) }
                    }
                },
            };
            this.inner.set(next);
        }
    }
}

/// How the check was answered, where responses are to say so.
const DEBUG_HEADER: HeaderName = HeaderName::from_static("x-authz-cache");

fn told<R>(mut response: Response<R>, marks: bool, label: Option<&'static str>) -> Response<R> {
    if marks {
        response.extensions_mut().insert(Guarded);
    }
    if let Some(label) = label {
        response.headers_mut().insert(DEBUG_HEADER, HeaderValue::from_static(label));
    }
    response
}
