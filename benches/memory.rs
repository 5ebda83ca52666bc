//! What entries cost in memory, and whether the limit holds. Each measurement in a process of its own.

use axum::body::Body;
use axum::http::Method;
use clap::{Parser, Subcommand};
use mini_moka::sync::Cache;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use terrace::stats::EvictionReason;
use terrace::{CacheLayer, Config, Store};
use terrace_benches::app::{BROWSER, CONTENT_LEN, PRODUCT_HEAD, answer, product, products, request};
use terrace_benches::gets::{Unhashed, key};
use terrace_benches::measure::{Table, per, runtime};
use terrace_benches::process::resident;
use tokio::runtime::Runtime;
use tower::Layer;

/// Measures memory: all three parts if none is named.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Subcommand)]
enum Part {
    /// 100,000 entries of 1 KiB, in resident memory.
    Fill,
    /// Ten times as many entries as the limit allows, with hits between them.
    Churn,
    /// What the engine keeps for an entry beside its value.
    Engine,
}

fn main() {
    match Options::parse().part {
        Some(Part::Fill) => fill(),
        Some(Part::Churn) => churn(),
        Some(Part::Engine) => engine(),
        None => ["fill", "churn", "engine"].iter().for_each(|part| alone(part)),
    }
}

fn alone(part: &str) {
    let program = std::env::current_exe().expect("the name of this program");
    let status = Command::new(program).arg(part).status().expect("this program can be started again");
    assert!(status.success(), "{part}: {status}");
}

/// A cached application, and those who ask it.
struct Shop<S> {
    store: Store,
    service: S,
    runtime: Rc<Runtime>,
}

fn shop(
    max_bytes: u64,
) -> Shop<
    impl tower::Service<
        axum::http::Request<Body>,
        Response = axum::http::Response<impl axum::body::HttpBody<Data = bytes::Bytes>>,
    >,
> {
    let store = Store::new(Config::default().l1_max_bytes(max_bytes));
    Shop { service: CacheLayer::new(store.clone()).layer(products()), store, runtime: runtime() }
}

impl<S, P> Shop<S>
where
    S: tower::Service<axum::http::Request<Body>, Response = axum::http::Response<P>>,
    P: axum::body::HttpBody<Data = bytes::Bytes>,
{
    fn ask(&mut self, number: u32) {
        let request = request(Method::GET, &product(number), BROWSER).map(|()| Body::empty());
        let (len, _) = self.runtime.block_on(answer(&mut self.service, request));
        assert_eq!(len, CONTENT_LEN);
    }
}

const ENTRIES: u32 = 100_000;

fn fill() {
    let mut shop = shop(1 << 40);
    shop.ask(0);
    let before = resident();
    (1..=ENTRIES).for_each(|number| shop.ask(number));
    let (stored, accounted) = (resident() - before, shop.store.stats().size_bytes());
    (1..=ENTRIES).for_each(|number| shop.ask(number));
    let read = resident() - before;
    assert_eq!(shop.store.stats().entries(), u64::from(ENTRIES) + 1, "everything is there");

    let head: usize = PRODUCT_HEAD.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    let key = "shop.example.com".len() + product(0).len();
    let (body, whole) = (CONTENT_LEN, CONTENT_LEN + key + head);
    let mut table = Table::new(&["100,000 entries of 1 KiB", "bytes an entry", "÷ body", "÷ body, key and head"]);
    let mut row = |what: &str, bytes: f64| {
        let by = |payload: usize| format!("{:.2}", bytes / payload as f64);
        table.row(&[what.to_owned(), format!("{bytes:.0}"), by(body), by(whole)]);
    };
    row("body", body as f64);
    row("body, key and head as text", whole as f64);
    row("resident, stored", per(stored, ENTRIES));
    row("resident, then each read once", per(read, ENTRIES));
    row("counted by the store", per(accounted, ENTRIES + 1));
    table.print();
}

/// The greatest and the last of a row of values.
#[derive(Default)]
struct Level {
    most: u64,
    last: u64,
}

impl Level {
    fn note(&mut self, value: u64) {
        self.most = self.most.max(value);
        self.last = value;
    }
}

const LIMIT: u64 = 64 << 20;

fn churn() {
    let mut shop = shop(LIMIT);
    shop.ask(0);
    let before = resident();
    let (mut counted, mut held, mut entries) = (Level::default(), Level::default(), 0);
    let mut last = 1;
    // A tenth of the requests are for the latest, a tenth for a small set that stays popular.
    while entries == 0 || last < 10 * entries {
        last += 1;
        shop.ask(last);
        match last % 8 {
            0 => shop.ask(last - 3),
            4 => shop.ask(last % 500),
            _ => {}
        }
        if last % 16 == 0 {
            let stats = shop.store.stats();
            counted.note(stats.size_bytes());
            held.note(resident() - before);
            if entries == 0 && stats.evictions(EvictionReason::Size) > 0 {
                entries = u32::try_from(stats.entries()).expect("a few ten thousand");
            }
        }
    }
    let of_limit = |bytes: u64| format!("{:.3}", bytes as f64 / LIMIT as f64);
    let mut table = Table::new(&["churn: bytes ÷ limit of 64 MiB", "most", "at the end"]);
    table.row(&["counted by the store".to_owned(), of_limit(counted.most), of_limit(counted.last)]);
    table.row(&["resident".to_owned(), of_limit(held.most), of_limit(held.last)]);
    table.print();
    println!("{} entries fit; {last} different ones were stored.\n", entries);
}

fn engine() {
    let value = Arc::new(());
    let mut table = Table::new(&["mini-moka beside its values, entries", "bytes an entry"]);
    for entries in [10_000, 20_000, 50_000, 100_000, 200_000] {
        let before = resident();
        let cache: Cache<u64, Arc<()>, Unhashed> =
            Cache::builder().max_capacity(u64::MAX).weigher(|_, _| 1000).build_with_hasher(Unhashed::default());
        (0..entries).for_each(|number| cache.insert(key(number), Arc::clone(&value)));
        table.row(&[entries.to_string(), format!("{:.0}", per(resident() - before, entries))]);
        // Kept, so that the next one's memory is new.
        std::mem::forget(cache);
    }
    table.print();
}
