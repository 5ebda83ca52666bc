use http::Request;
use pin_project_lite::pin_project;
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tower_service::Service;

pin_project! {
    /// A call of a service that may not be ready yet.
    #[project = CallProj]
    pub(super) enum Call<S, B>
    where
        S: Service<Request<B>>,
    {
        Waiting { inner: S, request: Option<Request<B>> },
        Called { #[pin] future: S::Future },
        Failed { error: Option<S::Error> },
    }
}

impl<S, B> Call<S, B>
where
    S: Service<Request<B>> + Clone,
{
    /// Calls `inner`, now if it is ready.
    ///
    /// A service that is not ready may have been promised a place in a queue, so it is that one which waits, and a
    /// clone takes its place.
    #[inline]
    pub(super) fn new(inner: &mut S, request: Request<B>) -> Self {
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Called { future: inner.call(request) },
            Poll::Ready(Err(error)) => Self::Failed { error: Some(error) },
            Poll::Pending => {
                let clone = inner.clone();
                Self::Waiting { inner: replace(inner, clone), request: Some(request) }
            }
        }
    }
}

impl<S, B> Future for Call<S, B>
where
    S: Service<Request<B>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                CallProj::Called { future } => return future.poll(cx),
                CallProj::Failed { error } => return Poll::Ready(Err(error.take().expect("polled after its end"))),
                CallProj::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    inner.call(request.take().expect("a request is called once"))
                }
            };
            self.set(Self::Called { future });
        }
    }
}
