//! A response that streams to its client while it is kept for the store.

use super::body::ResponseBody;
use super::fill::Fill;
use crate::store::{Stream, Waiters};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The client's end. Its drop ends the response, unless others wait for it.
pub(super) struct Tee<B: Body<Data = Bytes>>(Arc<Shared<B>>);

/// What the client and those who wait for the same response have in common: whoever is polled reads on.
struct Shared<B: Body<Data = Bytes>> {
    state: Mutex<State<B>>,
    /// Apart from the state, for a body may wake while it is polled.
    client: Mutex<Option<Waker>>,
    waiters: Waiters,
}

struct State<B: Body<Data = Bytes>> {
    source: Option<Pin<Box<B>>>,
    /// Read, and not yet taken by the client.
    read: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// A panic of the source in a task that only waited, for the client's task to go on with.
    panic: Option<Box<dyn std::any::Any + Send>>,
    fill: Option<Fill>,
    client_is_gone: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A source that panics is caught; nothing else panics while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body for the client of a response that is stored with `fill` once it is complete.
pub(super) fn keep<B>(source: B, mut fill: Fill) -> ResponseBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    if source.is_end_stream() {
        // A server does not poll a body that is at its end already.
        fill.finish();
        return ResponseBody::forward(source);
    }
    if source.size_hint().lower() > fill.limit() {
        fill.too_large();
        return ResponseBody::forward(source);
    }
    let mut source = Box::pin(source);
    // If nothing is here yet, whoever polls next leaves a waker.
    let polled = poll(source.as_mut(), Waker::noop());
    // Most content is all here already, and then there is nothing to share with those who wait.
    if let Ok(Poll::Ready(Some(Ok(frame)))) = &polled
        && let Some(data) = frame.data_ref().filter(|_| source.is_end_stream())
    {
        let data = data.clone();
        if fill.take(frame) {
            fill.finish();
        } else {
            fill.too_large();
        }
        return ResponseBody::stored(data, None);
    }
    let waiters = fill.waiters();
    let mut state =
        State { source: Some(source), read: VecDeque::new(), panic: None, fill: Some(fill), client_is_gone: false };
    let first = state.was(polled);
    state.read.extend(first);
    ResponseBody::tee(Tee::new(state, waiters))
}

/// What polling a source came to; it may have panicked.
type Polled<E> = std::thread::Result<Poll<Option<Result<Frame<Bytes>, E>>>>;

fn poll<B: Body<Data = Bytes>>(source: Pin<&mut B>, waker: &Waker) -> Polled<B::Error> {
    catch_unwind(AssertUnwindSafe(|| source.poll_frame(&mut Context::from_waker(waker))))
}

impl<B> Tee<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    fn new(mut state: State<B>, waiters: Waiters) -> Self {
        let fill = state.fill.take();
        let shared = Arc::new(Shared { state: Mutex::new(state), client: Mutex::new(None), waiters });
        if let Some(fill) = fill {
            // Those who wait may begin to read at once, on other threads: not before there is a fill to read for.
            let mut state = lock(&shared.state);
            fill.streams(Arc::clone(&shared) as Arc<dyn Stream>);
            state.fill = Some(fill);
        }
        Self(shared)
    }
}

impl<B: Body<Data = Bytes>> Tee<B> {
    pub(super) fn is_end_stream(&self) -> bool {
        let state = lock(&self.0.state);
        state.is_over() && state.read.is_empty() && state.panic.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.0.state);
        let rest = state.source.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let read: u64 = state.read.iter().flatten().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> Tee<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let shared = &self.0;
        register(&mut lock(&shared.client), cx.waker());
        let mut state = lock(&shared.state);
        let mut frame = state.read.pop_front();
        if frame.is_none() && state.panic.is_none() {
            frame = state.read_on(&Waker::from(Arc::clone(shared)));
        }
        if frame.is_some() {
            return Poll::Ready(frame);
        }
        if let Some(panic) = state.panic.take() {
            drop(state);
            resume_unwind(panic);
        }
        if state.source.is_none() { Poll::Ready(None) } else { Poll::Pending }
    }
}

fn register(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) if known.will_wake(waker) => {}
        _ => *slot = Some(waker.clone()),
    }
}

impl<B: Body<Data = Bytes>> State<B> {
    fn is_over(&self) -> bool {
        self.source.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl<B> State<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    /// Reads a frame, if there is one now.
    fn read_on(&mut self, waker: &Waker) -> Option<Result<Frame<Bytes>, B::Error>> {
        let polled = poll(self.source.as_mut()?.as_mut(), waker);
        self.was(polled)
    }

    /// The frame that the source was polled for, if there is one.
    fn was(&mut self, polled: Polled<B::Error>) -> Option<Result<Frame<Bytes>, B::Error>> {
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(None)) => {
                self.ended();
                None
            }
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                self.took(&frame);
                Some(Ok(frame))
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                self.broken();
                Some(Err(error))
            }
            Err(panic) => {
                self.panic = Some(panic);
                self.broken();
                None
            }
        }
    }

    fn took(&mut self, frame: &Frame<Bytes>) {
        // Nothing follows trailers, and a server may not ask whether anything does.
        let ends = frame.is_trailers() || self.is_over();
        if let Some(fill) = self.fill.take_if(|fill| !fill.take(frame)) {
            fill.too_large();
        }
        if ends {
            self.finish();
        }
    }

    fn ended(&mut self) {
        self.source = None;
        self.finish();
    }

    fn finish(&mut self) {
        if let Some(fill) = self.fill.take() {
            fill.finish();
        }
    }

    /// What comes after an error is not asked for, and nothing is stored.
    fn broken(&mut self) {
        self.source = None;
        if let Some(fill) = self.fill.take() {
            fill.broken();
        }
    }
}

/// Wakes all who take part, or whoever polls last would be the only one.
impl<B> Wake for Shared<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    fn wake(self: Arc<Self>) {
        let client = lock(&self.client).take();
        client.into_iter().for_each(Waker::wake);
        self.waiters.wake();
    }
}

impl<B> Stream for Shared<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    /// Reads ahead of the client, for those who wait. Bounded by what the fill may hold.
    fn pump(self: Arc<Self>) {
        let mut state = lock(&self.state);
        let ahead = state.read.len();
        while state.fill.is_some()
            && let Some(frame) = state.read_on(&Waker::from(Arc::clone(&self)))
        {
            if !state.client_is_gone {
                state.read.push_back(frame);
            }
        }
        // Its end, too, may show to us alone: who has it need not wake anybody.
        if state.read.len() > ahead || state.source.is_none() {
            drop(state);
            let client = lock(&self.client).take();
            client.into_iter().for_each(Waker::wake);
        }
    }

    fn forsaken(&self) {
        let mut state = lock(&self.state);
        if state.client_is_gone {
            let (source, fill) = (state.source.take(), state.fill.take());
            drop(state);
            stop(source, fill);
        }
    }
}

/// Ends a response that nobody reads on, outside of any lock: the fill's end wakes others.
///
/// A server over HTTP/1 drops a body after the last byte of its Content-Length and never sees the end. That is not
/// taken for the end before, because trailers may follow.
fn stop<B>(source: B, fill: Option<Fill>) {
    drop(source);
    if let Some(fill) = fill.filter(Fill::has_all_declared) {
        fill.finish();
    }
}

impl<B: Body<Data = Bytes>> Drop for Tee<B> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.client_is_gone = true;
        state.read.clear();
        let awaited = state.fill.as_ref().is_some_and(|fill| fill.is_awaited() && !fill.has_all_declared());
        if !awaited {
            let (source, fill) = (state.source.take(), state.fill.take());
            drop(state);
            stop(source, fill);
        }
    }
}
