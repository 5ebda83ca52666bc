//! Bodies on their way through: limited, timed, and counted elsewhere.

use super::cache::CachedBody;
use super::idle::Idle;
use super::origin::OriginError;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use terrace::admin::AdminBody;
use tokio::time::Instant;

/// A client's body on its way to the origin.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None` when it is known to be empty.
    inner: Option<Incoming>,
    /// How many bytes may still come.
    allowance: u64,
    idle: Idle,
    progress: Option<Arc<Progress>>,
}

impl RequestBody {
    /// Fails with [`RequestBodyError`] after more than `limit` bytes, or when nothing arrives for `idle`.
    pub(crate) fn new(inner: Incoming, limit: Option<u64>, idle: Duration) -> Self {
        let inner = Some(inner).filter(|body| !body.is_end_stream());
        Self {
            progress: inner.is_some().then(Arc::default),
            inner,
            allowance: limit.unwrap_or(u64::MAX),
            idle: Idle::new(idle),
        }
    }

    /// The same body again, if it is empty.
    pub(crate) fn empty_copy(&self) -> Option<Self> {
        self.inner.is_none().then(|| Self {
            inner: None,
            allowance: 0,
            idle: Idle::new(Duration::ZERO),
            progress: None,
        })
    }

    /// How the upload goes; `None` when there is nothing to upload.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    fn take(&mut self, bytes: usize) -> Result<(), RequestBodyError> {
        let left = self.allowance.checked_sub(bytes as u64);
        self.allowance = left.ok_or(RequestBodyError::TooLarge)?;
        Ok(())
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            if let Some(progress) = &this.progress {
                progress.wait_for_client();
            }
            ready!(this.idle.poll_elapsed(cx));
            return Poll::Ready(Some(Err(RequestBodyError::Idle)));
        };
        this.idle.moved();
        if let Some(progress) = &this.progress {
            progress.moved();
        }
        let frame = frame.map(|frame| {
            let frame = frame.map_err(RequestBodyError::Client)?;
            this.take(frame.data_ref().map_or(0, Bytes::len))?;
            Ok(frame)
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// Why a client's body ended early.
#[derive(Debug)]
pub(crate) enum RequestBodyError {
    /// It is larger than allowed.
    TooLarge,
    /// The client sent nothing for too long.
    Idle,
    /// The client's connection failed.
    Client(hyper::Error),
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the request body is larger than allowed"),
            Self::Idle => f.write_str("the client stopped sending the request body"),
            Self::Client(error) => write!(f, "the client's connection failed: {error}"),
        }
    }
}

impl Error for RequestBodyError {}

/// When an upload last moved, so that waiting for an origin's answer starts when the origin has the request.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    /// Milliseconds after `start`, or [`Progress::CLIENT`].
    moved: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { start: Instant::now(), moved: AtomicU64::new(0) }
    }
}

impl Progress {
    /// The upload waits for the client.
    const CLIENT: u64 = u64::MAX;

    fn wait_for_client(&self) {
        self.moved.store(Self::CLIENT, Ordering::Relaxed);
    }

    fn moved(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis());
        self.moved.store(millis.unwrap_or(Self::CLIENT - 1), Ordering::Relaxed);
    }

    /// How long the origin still has of the `limit` it is given; `None` when it used that up.
    pub(crate) fn remaining(&self, limit: Duration) -> Option<Duration> {
        match self.moved.load(Ordering::Relaxed) {
            Self::CLIENT => Some(limit),
            moved => (self.start + Duration::from_millis(moved) + limit)
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero()),
        }
    }
}

/// An origin's body on its way to the cache and the client.
#[derive(Debug)]
pub(crate) struct OriginBody {
    inner: Incoming,
    idle: Idle,
}

impl OriginBody {
    /// Fails when the origin sends nothing for `idle` while somebody wants to read.
    pub(crate) fn new(inner: Incoming, idle: Duration) -> Self {
        Self { inner, idle: Idle::new(idle) }
    }
}

impl http_body::Body for OriginBody {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.idle.poll_elapsed(cx));
            let error = OriginError::body_timeout();
            error.report();
            return Poll::Ready(Some(Err(error)));
        };
        this.idle.moved();
        let frame = frame.map(|frame| frame.map_err(OriginError::body));
        Poll::Ready(frame.map(|frame| frame.inspect_err(OriginError::report)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// What a client is sent.
    #[project = BodyProj]
    pub(crate) enum Body {
        /// Went through the cache.
        Cached { #[pin] body: CachedBody },
        /// Came straight from the origin.
        Direct { body: OriginBody },
        /// Made here.
        Whole { body: Bytes },
        /// Made by the library's admin routes.
        Admin { body: AdminBody },
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        match self.project() {
            BodyProj::Cached { body } => body.poll_frame(cx),
            BodyProj::Direct { body } => Pin::new(body).poll_frame(cx),
            BodyProj::Admin { body } => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            BodyProj::Whole { body } if body.is_empty() => Poll::Ready(None),
            BodyProj::Whole { body } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Cached { body } => body.is_end_stream(),
            Self::Direct { body } => body.is_end_stream(),
            Self::Admin { body } => body.is_end_stream(),
            Self::Whole { body } => body.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Cached { body } => body.size_hint(),
            Self::Direct { body } => body.size_hint(),
            Self::Admin { body } => body.size_hint(),
            Self::Whole { body } => SizeHint::with_exact(body.len() as u64),
        }
    }
}
