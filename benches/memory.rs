//! What entries cost in memory, and whether the limit holds. Each measurement in a process of its own.

use axum::body::Body;
use axum::http::{HeaderName, Method};
use clap::{Parser, Subcommand};
use mini_moka::sync::Cache;
use std::process::Command;
use std::sync::Arc;
use terrace::{CacheLayer, Config, Store};
use terrace_benches::app::{BROWSER, CONTENT_LEN, PRODUCT_HEAD, answer, product, products, request};
use terrace_benches::gets::{Unhashed, key, quick_cache};
use terrace_benches::measure::{Table, per, runtime};
use terrace_benches::process::resident;
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

/// A cached application, and how to ask it for a product.
struct Shop {
    store: Store,
    ask: Box<dyn FnMut(u32)>,
}

impl Shop {
    fn new(max_bytes: u64) -> Self {
        let store = Store::new(Config::default().l1_max_bytes(max_bytes));
        let (runtime, mut service) = (runtime(), CacheLayer::new(store.clone()).layer(products()));
        let mut ask = move |number: u32| {
            let request = request(Method::GET, &product(number), BROWSER).map(|()| Body::empty());
            assert_eq!(runtime.block_on(answer(&mut service, request)), CONTENT_LEN);
        };
        // What the first request makes stays.
        ask(0);
        Self { store, ask: Box::new(ask) }
    }
}

const ENTRIES: u32 = 100_000;

fn fill() {
    let Shop { store, mut ask } = Shop::new(1 << 40);
    let (before, counted_before) = (resident(), store.stats().size_bytes());
    (1..=ENTRIES).for_each(&mut ask);
    let (stored, counted) = (resident() - before, store.stats().size_bytes() - counted_before);
    (1..=ENTRIES).for_each(&mut ask);
    let read = resident() - before;
    assert_eq!(store.stats().entries(), u64::from(ENTRIES) + 1, "everything is there");

    let body = CONTENT_LEN as u64;
    let payload = body + key_and_head();
    let mut table = Table::new(&["100,000 entries of 1 KiB", "bytes an entry", "÷ body", "÷ body, key and head"]);
    for (what, bytes) in [
        ("body", body * u64::from(ENTRIES)),
        ("body, key and head as text", payload * u64::from(ENTRIES)),
        ("resident, stored", stored),
        ("resident, then each read once", read),
        ("counted by the store", counted),
    ] {
        let of = |payload: u64| format!("{:.2}", per(bytes, payload * u64::from(ENTRIES)));
        table.row(&[what.to_owned(), format!("{:.0}", per(bytes, ENTRIES)), of(body), of(payload)]);
    }
    table.print();
}

/// What an entry has to keep beside the body, as HTTP/1.1 writes it.
fn key_and_head() -> u64 {
    let line = |(name, value): &(HeaderName, &str)| name.as_str().len() + value.len() + ": \r\n".len();
    let head: usize = PRODUCT_HEAD.iter().map(line).sum();
    (head + "shop.example.com".len() + product(0).len()) as u64
}

/// The greatest and the last of a row of values.
#[derive(Default)]
struct Level {
    most: u64,
    last: u64,
}

impl Level {
    fn note(&mut self, value: u64) {
        (self.most, self.last) = (self.most.max(value), value);
    }

    /// Both as shares of the limit.
    fn row(&self, what: &str) -> [String; 3] {
        let share = |bytes| format!("{:.3}", per(bytes, LIMIT));
        [what.to_owned(), share(self.most), share(self.last)]
    }
}

const LIMIT: u64 = 64 << 20;
/// Ten times as many as the limit has room for, if each is as small as its body.
const DIFFERENT: u32 = 10 * (64 << 10);

fn churn() {
    let Shop { store, mut ask } = Shop::new(LIMIT);
    let before = resident();
    let (mut counted, mut held) = (Level::default(), Level::default());
    for number in 1..=DIFFERENT {
        ask(number);
        // One in eight asks for the latest once more, one for what stays popular.
        match number % 8 {
            0 => ask(number - 3),
            4 => ask(number % 500),
            _ => {}
        }
        if number % 16 == 0 {
            counted.note(store.stats().size_bytes());
            held.note(resident() - before);
        }
    }
    let title = format!("{DIFFERENT} entries of 1 KiB through 64 MiB");
    let mut table = Table::new(&[&title, "most, ÷ limit", "at the end, ÷ limit"]);
    table.row(&counted.row("counted by the store"));
    table.row(&held.row("resident"));
    table.print();
}

fn engine() {
    let mut table = Table::new(&["beside its value, 100,000 entries", "bytes an entry"]);
    let mini_moka = Cache::builder().max_capacity(u64::MAX).weigher(|_, _| 1000);
    let mini_moka = mini_moka.build_with_hasher(Unhashed::default());
    table.row(&["mini-moka".to_owned(), kept(|key, value| mini_moka.insert(key, value))]);
    let quick_cache = quick_cache(ENTRIES);
    table.row(&["quick_cache".to_owned(), kept(|key, value| quick_cache.insert(key, value))]);
    table.print();
}

fn kept(insert: impl Fn(u64, Arc<()>)) -> String {
    let (value, before) = (Arc::new(()), resident());
    (0..ENTRIES).for_each(|number| insert(key(number), Arc::clone(&value)));
    format!("{:.0}", per(resident() - before, ENTRIES))
}
