//! What a hit allocates, whoever listens. Apart from the times, for counting costs some.
//!
//! `bench-metrics-allocations` prints a table, `bench-metrics-allocations WORD` one row of it.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::process::Command;
use terrace_bench_metrics::{Listening, Shop};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TIMES: u32 = 6400;

fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

fn main() {
    if let Some(listening) = std::env::args().nth(1).and_then(|word| Listening::named(&word)) {
        listening.begin();
        let mut shop = Shop::new();
        shop.hits(TIMES, allocations);
        let count = f64::from(u32::try_from(shop.hits(TIMES, allocations)).unwrap_or(u32::MAX)) / f64::from(TIMES);
        println!("| {listening} | {count:.2} |");
        return;
    }
    println!("| allocated by a hit | allocations |\n| --- | ---: |");
    let own = std::env::current_exe().expect("a program knows where it is");
    // A scrape allocates too, in another thread.
    for listening in Listening::ALL.iter().filter(|listening| **listening != Listening::Scraped) {
        let output = Command::new(&own).arg(listening.word()).output().expect("it can be started");
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    println!();
}
