use super::tee::Tee;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// Response body of [`Cache`](crate::Cache): the inner service's, or a stored one.
    pub struct ResponseBody<B: Body<Data = Bytes>> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B: Body<Data = Bytes>> {
        Stored { content: Option<Bytes>, trailers: Option<Box<HeaderMap>> },
        Pieces { pieces: std::vec::IntoIter<Bytes>, left: u64 },
        Forward { #[pin] body: B },
        Tee { tee: Tee<B> },
    }
}

impl<B: Body<Data = Bytes>> ResponseBody<B> {
    pub(super) fn empty() -> Self {
        Self { inner: Inner::Stored { content: None, trailers: None } }
    }

    pub(super) fn stored(content: Bytes, trailers: Option<HeaderMap>) -> Self {
        let content = Some(content).filter(|content| !content.is_empty());
        Self { inner: Inner::Stored { content, trailers: trailers.map(Box::new) } }
    }

    pub(super) fn pieces(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { inner: Inner::Pieces { pieces: pieces.into_iter(), left } }
    }

    pub(super) fn forward(body: B) -> Self {
        Self { inner: Inner::Forward { body } }
    }

    pub(super) fn tee(tee: Tee<B>) -> Self {
        Self { inner: Inner::Tee { tee } }
    }
}

/// An empty body, for middleware that answers instead of the cache.
impl<B: Body<Data = Bytes>> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            InnerProj::Stored { content, trailers } => {
                let data = content.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(|fields| Frame::trailers(*fields))).map(Ok))
            }
            InnerProj::Pieces { pieces, left } => {
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            InnerProj::Forward { body } => body.poll_frame(cx),
            InnerProj::Tee { tee } => tee.poll_frame(cx),
        }
    }

    // A server polls a body only as far as it must, so what is known of its end matters.
    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Stored { content, trailers } => content.is_none() && trailers.is_none(),
            Inner::Pieces { left, .. } => *left == 0,
            Inner::Forward { body } => body.is_end_stream(),
            Inner::Tee { tee } => tee.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Stored { content, trailers } => {
                let len = content.as_ref().map_or(0, |content| content.len() as u64);
                match trailers {
                    None => SizeHint::with_exact(len),
                    // A server would make a Content-Length of it, and over HTTP/1 nothing can follow that.
                    Some(_) => at_least(len),
                }
            }
            Inner::Pieces { left, .. } => SizeHint::with_exact(*left),
            Inner::Forward { body } => body.size_hint(),
            Inner::Tee { tee } => tee.size_hint(),
        }
    }
}

fn at_least(len: u64) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(len);
    hint
}

impl<B: Body<Data = Bytes>> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Stored { .. } | Inner::Pieces { .. } => "ResponseBody::Stored",
            Inner::Forward { .. } => "ResponseBody::Forward",
            Inner::Tee { .. } => "ResponseBody::Tee",
        })
    }
}
