use super::body::ResponseBody;
use super::service::Unsafe;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
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
        Ready { result: Option<Result<R, S::Error>> },
        // A request that the cache has nothing to do with, until its response.
        Forward { #[pin] call: Call<S, B>, after: Option<Unsafe> },
        // Everything else.
        Drive { work: Pin<Box<dyn Future<Output = Result<R, S::Error>> + Send>> },
    }
}

pin_project! {
    // A call of a service that may not be ready yet.
    #[project = CallProj]
    enum Call<S, B>
    where
        S: Service<Request<B>>,
    {
        Waiting { inner: S, request: Option<Request<B>> },
        Called { #[pin] future: S::Future },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
    R: Body<Data = Bytes>,
{
    pub(super) fn ready(response: Response<ResponseBody<R>>) -> Self {
        Self { inner: Inner::Ready { result: Some(Ok(response)) } }
    }

    /// Calls `inner`, or what it was until now once that is ready.
    ///
    /// A service that is not ready may have been promised a place in a queue, so it is that one which waits, and its
    /// clone takes its place.
    pub(super) fn forward(inner: &mut S, request: Request<B>, after: Option<Unsafe>) -> Self
    where
        S: Clone,
    {
        let call = match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Call::Called { future: inner.call(request) },
            Poll::Ready(Err(error)) => return Self { inner: Inner::Ready { result: Some(Err(error)) } },
            Poll::Pending => {
                let clone = inner.clone();
                Call::Waiting { inner: replace(inner, clone), request: Some(request) }
            }
        };
        Self { inner: Inner::Forward { call, after } }
    }

    pub(super) fn drive(work: impl Future<Output = Result<R, S::Error>> + Send + 'static) -> Self {
        Self { inner: Inner::Drive { work: Box::pin(work) } }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<R, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.project() {
            InnerProj::Ready { result } => Poll::Ready(result.take().expect("polled after its end")),
            InnerProj::Forward { call, after } => {
                let response = ready!(call.poll(cx))?;
                if let Some(after) = after.take() {
                    after.apply(response.status(), response.headers());
                }
                Poll::Ready(Ok(response.map(ResponseBody::forward)))
            }
            InnerProj::Drive { work } => work.as_mut().poll(cx),
        }
    }
}

impl<S, B> Future for Call<S, B>
where
    S: Service<Request<B>>,
{
    type Output = std::result::Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                CallProj::Called { future } => return future.poll(cx),
                CallProj::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    inner.call(request.take().expect("a request is called once"))
                }
            };
            self.set(Call::Called { future });
        }
    }
}
