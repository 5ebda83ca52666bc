//! What a hit allocates. Apart from the times, for counting costs some.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use terrace_benches::app::BROWSER;
use terrace_benches::contenders::all;
use terrace_benches::measure::{Table, per, runtime};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TIMES: u32 = 6400;

fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

fn bytes() -> u64 {
    ALLOCATOR.stats().bytes_allocated as u64
}

fn main() {
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let mut table = Table::new(&["allocated by a hit", "allocations", "bytes"]);
    for mut contender in all(&runtime(), BROWSER, |_| true) {
        let count = per(contender.run(TIMES, allocations), TIMES);
        let bytes = per(contender.run(TIMES, bytes), TIMES);
        table.row(&[contender.name.to_owned(), format!("{count:.2}"), format!("{bytes:.0}")]);
    }
    table.print();
}
