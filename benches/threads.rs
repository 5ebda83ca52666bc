//! Whether two threads that answer from one store get in each other's way.

use axum::body::{Body, HttpBody};
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use clap::Parser;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use terrace::{CacheLayer, Store};
use terrace_benches::app::{BROWSER, plain, request, router};
use terrace_benches::measure::{Meter, Spread, Table, metered, nanoseconds, per, runtime};
use terrace_benches::process::thread_nanoseconds;
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// Measures hits by one thread and by two at once, each with its own URL.
#[derive(Parser)]
struct Options {
    /// How often one thread, then both, have their turn.
    #[arg(long, default_value_t = 400)]
    rounds: u32,
}

fn main() {
    let rounds = Options::parse().rounds;
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let cached = CacheLayer::new(Store::memory());
    let mut table = Table::new(&["two threads, each its URL", "÷ one, best of the rounds", "÷ one, by processor time"]);
    for (name, scale) in [
        ("terrace around axum", scale(&cached.layer(router()), rounds)),
        ("axum, no cache", scale(&router(), rounds)),
        ("plain service, no cache", scale(&plain(), rounds)),
    ] {
        table.row(&[name.to_owned(), format!("{:.2}", scale.best), format!("{:.2}", scale.by_processor_time)]);
    }
    table.print();
}

/// Throughput of two threads over that of one.
struct Scale {
    /// Each in its best round.
    best: f64,
    /// From the medians of the time that processors spent on a hit, which does not run while another program has the
    /// processor.
    by_processor_time: f64,
}

fn scale<S, P>(service: &S, rounds: u32) -> Scale
where
    S: Service<Request<Body>, Response = Response<P>, Error = Infallible> + Clone + Send,
    P: HttpBody<Data = Bytes>,
{
    let clock = measure(service, rounds, nanoseconds);
    let processor = measure(service, rounds, thread_nanoseconds);
    let best = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
    let median = |times: &[f64]| Spread::of(times.to_vec()).median;
    Scale {
        best: 2.0 * best(&clock.alone) / best(&clock.together),
        by_processor_time: 2.0 * median(&processor.alone) / median(&processor.together),
    }
}

/// Nanoseconds per hit in each round.
#[derive(Default)]
struct Bursts {
    alone: Vec<f64>,
    /// Of the slower thread.
    together: Vec<f64>,
}

fn measure<S, P>(service: &S, rounds: u32, meter: Meter) -> Bursts
where
    S: Service<Request<Body>, Response = Response<P>, Error = Infallible> + Clone + Send,
    P: HttpBody<Data = Bytes>,
{
    let meet = Meet(AtomicU32::new(0));
    let (meet, others) = (&meet, service.clone());
    thread::scope(|scope| {
        let other = scope.spawn(move || Worker::new(others, "/item/2", meter).work(rounds, meet, false));
        let mut bursts = Worker::new(service.clone(), "/item/1", meter).work(rounds, meet, true);
        let other = other.join().expect("it does not panic");
        for (slower, other) in bursts.together.iter_mut().zip(other.together) {
            *slower = slower.max(other);
        }
        bursts
    })
}

/// Where two threads wait for each other, spinning, so that both go on at the same moment and neither has to be woken.
struct Meet(AtomicU32);

impl Meet {
    fn wait(&self) {
        let both = (self.0.fetch_add(1, Ordering::AcqRel) / 2 + 1) * 2;
        while self.0.load(Ordering::Acquire) < both {
            std::hint::spin_loop();
        }
    }
}

struct Worker<S> {
    service: S,
    runtime: Rc<Runtime>,
    template: Request<()>,
    meter: Meter,
}

/// Requests of one thread in one turn.
const BURST: u32 = 1024;

impl<S, P> Worker<S>
where
    S: Service<Request<Body>, Response = Response<P>, Error = Infallible>,
    P: HttpBody<Data = Bytes>,
{
    fn new(service: S, path: &str, meter: Meter) -> Self {
        Self { service, runtime: runtime(), template: request(Method::GET, path, BROWSER), meter }
    }

    fn work(mut self, rounds: u32, meet: &Meet, works_alone: bool) -> Bursts {
        self.serve(self.requests());
        let mut bursts = Bursts::default();
        for _ in 0..rounds {
            let (alone, together) = (self.requests(), self.requests());
            meet.wait();
            if works_alone {
                bursts.alone.push(self.serve(alone));
            }
            meet.wait();
            bursts.together.push(self.serve(together));
        }
        bursts
    }

    fn requests(&self) -> Vec<Request<Body>> {
        (0..BURST).map(|_| self.template.clone().map(|()| Body::empty())).collect()
    }

    fn serve(&mut self, requests: Vec<Request<Body>>) -> f64 {
        per(metered(&self.runtime, &mut self.service, requests, self.meter), BURST)
    }
}
