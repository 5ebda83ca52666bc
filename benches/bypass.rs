//! What the layer costs where it does not help: requests that pass it by, and misses.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use clap::Parser;
use std::rc::Rc;
use terrace::stats::Feature;
use terrace::{CacheLayer, Config, Store};
use terrace_benches::app::{BROWSER, request, router};
use terrace_benches::measure::{Contender, Plan, Spread, Table, Times, alone, nanoseconds, runtime};
use tokio::runtime::Runtime;
use tower::Layer;

/// Measures what the layer adds to requests that it does not answer.
#[derive(Parser)]
struct Options {
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 400)]
    rounds: u32,
    /// Requests in one turn.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// No table: only this one, for `--iterations` requests, for callgrind and its like.
    #[arg(long, value_name = "CONTENDER")]
    only: Option<String>,
    /// For `--only`.
    #[arg(long, default_value_t = 1000)]
    iterations: u32,
}

fn main() {
    let options = Options::parse();
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let mut contenders = contenders(&runtime());
    if let Some(only) = options.only {
        alone(&mut contenders, &only, options.iterations, options.batch);
        return;
    }
    // Until what has to be full is full.
    for contender in &mut contenders {
        contender.run(10_000, nanoseconds);
    }
    added(&mut contenders, Plan { rounds: options.rounds, batch: options.batch });
}

/// Each without the layer and with it.
fn contenders(runtime: &Rc<Runtime>) -> Vec<Contender> {
    let layer = |max_bytes| CacheLayer::new(Store::new(Config::default().l1_max_bytes(max_bytes)));
    let off = Store::memory();
    off.flags().set(Feature::Cache, false);
    let off = CacheLayer::new(off);
    let (room, full) = (layer(1 << 40), layer(4 << 20));
    vec![
        Contender::service("POST that succeeds", runtime, router(), post(1)),
        Contender::service("POST that succeeds, layer", runtime, layer(1 << 26).layer(router()), post(1)),
        Contender::service("POST that fails", runtime, router(), post(0)),
        Contender::service("POST that fails, layer", runtime, layer(1 << 26).layer(router()), post(0)),
        Contender::service("GET, switched off", runtime, router(), get("/item/1")),
        Contender::service("GET, switched off, layer", runtime, off.layer(router()), get("/item/1")),
        Contender::service("miss, room left", runtime, router(), next()),
        Contender::service("miss, room left, layer", runtime, room.layer(router()), next()),
        Contender::service("miss, memory full", runtime, router(), next()),
        Contender::service("miss, memory full, layer", runtime, full.layer(router()), next()),
    ]
}

fn get(path: &str) -> impl FnMut() -> Request<Body> + use<> {
    let template = request(Method::GET, path, BROWSER);
    move || template.clone().map(|()| Body::empty())
}

fn post(id: u32) -> impl FnMut() -> Request<Body> {
    let mut template = request(Method::POST, &format!("/item/{id}"), BROWSER);
    template.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    move || template.clone().map(|()| Body::empty())
}

/// A URL that nobody asked for before, each time.
fn next() -> impl FnMut() -> Request<Body> {
    let mut number = 0_u32;
    move || {
        number += 1;
        request(Method::GET, &format!("/item/{number}"), BROWSER).map(|()| Body::empty())
    }
}

fn added(contenders: &mut [Contender], plan: Plan) {
    let times = Times::measure(contenders, plan);
    let mut table = Table::new(&["added by the layer", "without, ns", "with, ns", "difference, ns", "quartiles"]);
    for without in (0..contenders.len()).step_by(2) {
        let Spread { low, median, high } = times.difference(without + 1, without);
        table.row(&[
            contenders[without].name.to_owned(),
            format!("{:.0}", times.of(without).median),
            format!("{:.0}", times.of(without + 1).median),
            format!("{median:.0}"),
            format!("{low:.0} – {high:.0}"),
        ]);
    }
    table.print();
}
