//! Requests that are sent when they are due, whether or not those before are answered, and timed from when they were due:
//! a stall delays all that it would delay for users, instead of the first one alone.

use crate::clock::{milliseconds, now};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Memory,
    /// From memory, which says that it is not proven to be current.
    Unproven,
    Shared,
    Origin,
    /// From the origin, by another request's trip.
    Collapsed,
    Failed,
}

/// One request and its answer. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) due: u64,
    pub(crate) done: u64,
    pub(crate) way: Way,
    /// Until the app had the response.
    pub(crate) inside: u64,
    /// What the origin took of that.
    pub(crate) origin: u64,
    /// When the origin made the response.
    pub(crate) made: u64,
}

impl Sample {
    /// What the client has waited beyond the origin's work.
    pub(crate) fn waited(&self) -> u64 {
        (self.done - self.due).saturating_sub(self.origin)
    }

    /// What the app took beyond the origin's work.
    pub(crate) fn overhead(&self) -> u64 {
        self.inside.saturating_sub(self.origin)
    }
}

pub(crate) type Web = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn web() -> Web {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Nothing takes this long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests on their way and answered.
pub(crate) struct Load {
    samples: Arc<Mutex<Vec<Sample>>>,
    ends: Arc<AtomicBool>,
    sender: JoinHandle<()>,
}

impl Load {
    /// Sends `rate` requests a second on average, at random, to the app that listens on `port`.
    pub(crate) fn start(runtime: &Handle, port: u16, rate: u32) -> Self {
        let (samples, ends) = (Arc::<Mutex<Vec<Sample>>>::default(), Arc::<AtomicBool>::default());
        let (web, all, over, runtime) = (web(), Arc::clone(&samples), Arc::clone(&ends), runtime.clone());
        let sender = std::thread::spawn(move || {
            let (mut due, mut number) = (now(), 0);
            while !over.load(SeqCst) {
                due += pause(rate);
                std::thread::sleep(Duration::from_nanos(due.saturating_sub(now())));
                number += 1;
                let (web, all, url) = (web.clone(), Arc::clone(&all), url(port, number));
                drop(runtime.spawn(async move {
                    let sample = ask(&web, &url, due).await;
                    all.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }));
            }
        });
        Self { samples, ends, sender }
    }

    /// Whether a request that was due after `since` was answered from Redis.
    pub(crate) fn is_shared_since(&self, since: u64) -> bool {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples
            .iter()
            .rev()
            .take_while(|sample| sample.done > since)
            .any(|sample| sample.way == Way::Shared && sample.due > since)
    }

    /// Waits for the last answers, and returns all in the order in which they were due.
    pub(crate) fn finish(self) -> Vec<Sample> {
        self.ends.store(true, SeqCst);
        self.sender.join().expect("the sender does not panic");
        let until = now() + milliseconds(1) * 12_000;
        // Each request has a clone until it is answered.
        while Arc::strong_count(&self.samples) > 1 && now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_unstable_by_key(|sample| sample.due);
        samples
    }
}

/// Until the next request is due: independent users come at random.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some microseconds, and not negative")]
fn pause(rate: u32) -> u64 {
    (-(1.0 - fastrand::f64()).ln() / f64::from(rate) * 1e9) as u64
}

/// Six of ten ask for what memory has, three for one of too many things for memory, one for what nobody has asked for.
fn url(port: u16, number: u64) -> String {
    let path = match fastrand::u8(..10) {
        0..6 => format!("hot/{}", fastrand::u8(..64)),
        6..9 => format!("shared/{}", fastrand::u16(..600)),
        _ => format!("once/{number}"),
    };
    format!("http://127.0.0.1:{port}/{path}")
}

async fn ask(web: &Web, url: &str, due: u64) -> Sample {
    let answer = tokio::time::timeout(PATIENCE, answer(web, url, due)).await.ok().flatten();
    answer.unwrap_or(Sample { due, done: now(), way: Way::Failed, inside: 0, origin: 0, made: 0 })
}

/// `None` for anything but the whole of the right answer.
async fn answer(web: &Web, url: &str, due: u64) -> Option<Sample> {
    let answer = web.get(url.parse().ok()?).await.ok()?;
    let (head, body) = answer.into_parts();
    let length = body.collect().await.ok()?.to_bytes().len();
    if head.status != StatusCode::OK || length != 1024 {
        return None;
    }
    let (way, number) = (way(&head.headers)?, |name| head.headers.get(name)?.to_str().ok()?.parse().ok());
    let (origin, made, inside) = (number("x-origin")?, number("x-made")?, number("x-inside")?);
    let origin = if matches!(way, Way::Origin | Way::Collapsed) { origin } else { 0 };
    Some(Sample { due, done: now(), way, inside, origin, made })
}

fn way(headers: &HeaderMap) -> Option<Way> {
    let status = headers.get("cache-status").and_then(|status| status.to_str().ok())?;
    Some(match status {
        hit if hit.contains("detail=l2") => Way::Shared,
        hit if hit.contains("detail=unproven") => Way::Unproven,
        hit if hit.contains("; hit") => Way::Memory,
        other if other.contains("; collapsed") => Way::Collapsed,
        _ => Way::Origin,
    })
}
