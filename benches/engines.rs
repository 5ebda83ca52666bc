//! What the engines of the memory tier cost for one get, bare.

use clap::Parser;
use terrace_benches::gets::all;
use terrace_benches::measure::{Plan, Spread, Table, Times, alone};

/// Measures gets of entries that are there.
#[derive(Parser)]
struct Options {
    /// How often each engine has its turn.
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// Gets in one turn.
    #[arg(long, default_value_t = 1000)]
    batch: u32,
    /// No table: only this engine, for `--iterations` gets, for callgrind and its like.
    #[arg(long, value_name = "ENGINE")]
    only: Option<String>,
    /// For `--only`.
    #[arg(long, default_value_t = 1000)]
    iterations: u32,
}

fn main() {
    let options = Options::parse();
    let mut engines = all();
    if let Some(only) = options.only {
        alone(&mut engines, &only, options.iterations, options.batch);
        return;
    }
    let times = Times::measure(&mut engines, Plan { rounds: options.rounds, batch: options.batch });
    let mut table = Table::new(&["one get of 10,000 entries", "ns", "quartiles"]);
    for (who, engine) in engines.iter().enumerate() {
        let Spread { low, median, high } = times.of(who);
        table.row(&[engine.name.to_owned(), format!("{median:.0}"), format!("{low:.0} – {high:.0}")]);
    }
    table.print();
}
