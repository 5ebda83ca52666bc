use super::body::ResponseBody;
use super::call::Call;
use super::service::Unsafe;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

type Result<R, E> = std::result::Result<Response<ResponseBody<R>>, E>;

pin_project! {
    /// Response future of [`Cache`](crate::Cache).
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end it drops the call of the inner service with it, as without a cache. Requests that wait
    /// for the same response notice, and one of them asks instead.
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
        R: Body<Data = Bytes>,
    {
        #[pin]
        inner: Inner<S, B, R>,
        // What a forwarded request leaves to do.
        after: Option<Unsafe>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<S, B, R>
    where
        S: Service<Request<B>>,
        R: Body<Data = Bytes>,
    {
        // A hit in memory: nothing to wait for, nothing boxed.
        Ready { response: Option<Response<ResponseBody<R>>> },
        // A request that the cache has nothing to do with, until its response.
        Forward { #[pin] call: Call<S, B> },
        // Everything else.
        Drive { work: Pin<Box<dyn Future<Output = Result<R, S::Error>> + Send>> },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
    R: Body<Data = Bytes>,
{
    pub(super) fn ready(response: Response<ResponseBody<R>>) -> Self {
        Self { inner: Inner::Ready { response: Some(response) }, after: None }
    }

    pub(super) fn forward(call: Call<S, B>, after: Option<Unsafe>) -> Self {
        Self { inner: Inner::Forward { call }, after }
    }

    pub(super) fn drive(work: impl Future<Output = Result<R, S::Error>> + Send + 'static) -> Self {
        Self { inner: Inner::Drive { work: Box::pin(work) }, after: None }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<R, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.project() {
            InnerProj::Ready { response } => Poll::Ready(Ok(response.take().expect("polled after its end"))),
            InnerProj::Forward { call } => {
                let response = ready!(call.poll(cx))?;
                if let Some(after) = this.after.take() {
                    after.apply(response.status(), response.headers());
                }
                Poll::Ready(Ok(response.map(ResponseBody::forward)))
            }
            InnerProj::Drive { work } => work.as_mut().poll(cx),
        }
    }
}
