//! What a hit costs, beside the application without a cache and beside the peers.

use clap::{Parser, ValueEnum};
use std::rc::Rc;
use terrace_benches::app::{BROWSER, HOST};
use terrace_benches::contenders::{BARE, TERRACE, all};
use terrace_benches::measure::{Contender, Plan, Spread, Table, Times, alone, runtime};
use tokio::runtime::Runtime;

/// Measures a cached GET of 1 KiB.
#[derive(Parser)]
struct Options {
    /// Only the contenders whose name contains this; the one without a cache and Terrace always take part.
    #[arg(long, default_value = "")]
    filter: String,
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Requests in one turn.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// What the requests carry.
    #[arg(long)]
    fields: Option<Fields>,
    /// No table: only this contender, for `--iterations` requests, for callgrind and its like.
    #[arg(long, value_name = "CONTENDER")]
    only: Option<String>,
    /// For `--only`.
    #[arg(long, default_value_t = 1000)]
    iterations: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Fields {
    /// The nine fields of a browser.
    Browser,
    /// `Host` alone.
    Host,
}

impl Fields {
    fn text(self) -> &'static str {
        match self {
            Self::Browser => BROWSER,
            Self::Host => HOST,
        }
    }
}

fn main() {
    let options = Options::parse();
    // On, as in production: the recorder takes what the layer counts.
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let runtime = runtime();
    if let Some(only) = &options.only {
        let fields = options.fields.unwrap_or(Fields::Browser);
        let mut contenders = all(&runtime, fields.text(), |name| name == only);
        alone(&mut contenders, only, options.iterations, options.batch);
        return;
    }
    for fields in options.fields.map_or(vec![Fields::Browser, Fields::Host], |fields| vec![fields]) {
        compare(&runtime, fields, &options);
    }
}

fn compare(runtime: &Rc<Runtime>, fields: Fields, options: &Options) {
    let wanted = |name: &str| name == BARE || name == TERRACE || name.contains(&options.filter);
    let mut contenders = all(runtime, fields.text(), wanted);
    let times = Times::measure(&mut contenders, Plan { rounds: options.rounds, batch: options.batch });
    let at = |name: &str| position(&contenders, name);
    let count = fields.text().lines().count();
    let title = format!("hit, {count} request field{}", if count == 1 { "" } else { "s" });
    let mut table = Table::new(&[&title, "ns", "quartiles", "÷ axum, no cache", "÷ terrace around axum"]);
    for (who, contender) in contenders.iter().enumerate() {
        let Spread { low, median, high } = times.of(who);
        table.row(&[
            contender.name.to_owned(),
            format!("{median:.0}"),
            format!("{low:.0} – {high:.0}"),
            format!("{:.2}", times.ratio(who, at(BARE)).median),
            format!("{:.2}", times.ratio(who, at(TERRACE)).median),
        ]);
    }
    table.print();
}

fn position(contenders: &[Contender], name: &str) -> usize {
    contenders.iter().position(|contender| contender.name == name).expect("it always takes part")
}
