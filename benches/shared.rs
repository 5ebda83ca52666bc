//! What a hit in Redis costs, beside a plain GET of the same value and beside the peers.

use clap::Parser;
use terrace_benches::askers::{Asker, GET, KEYS, all, calls};
use terrace_benches::measure::{Spread, Table, nanoseconds, per};
use terrace_benches::process::{process_nanoseconds, server_nanoseconds};
use terrace_redis_server::Server;
use tokio::runtime::Runtime;

/// Measures a GET of 1 KiB that Redis has, through the layer and its peers.
#[derive(Parser)]
struct Options {
    /// Only the peers whose name contains this; Redis itself and Terrace always take part.
    #[arg(long, default_value = "")]
    filter: String,
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 60)]
    rounds: u32,
    /// Requests in one turn of many at once; a tenth of it in a turn of one after the other.
    #[arg(long, default_value_t = 6400)]
    batch: u32,
    /// Requests that are under way at once.
    #[arg(long, default_value_t = 64)]
    at_once: u32,
    /// No table: only this contender, for one turn, for callgrind and its like.
    #[arg(long, value_name = "CONTENDER")]
    only: Option<String>,
}

fn main() {
    let options = Options::parse();
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let (server, runtime) = (Server::start(), Runtime::new().expect("a runtime"));
    // Under a profiler everything takes longer.
    let patience = if options.only.is_some() { "1m" } else { "30ms" };
    let mut contenders = runtime.block_on(all(&server, patience, |name| name.contains(&options.filter)));
    if let Some(only) = &options.only {
        contenders.retain(|contender| contender.name == only);
        let [contender] = contenders.as_slice() else { panic!("nobody is called {only:?}") };
        turn(&runtime, &server, contender, options.at_once, options.batch);
        return;
    }
    for (at_once, batch) in [(options.at_once, options.batch), (1, options.batch / 10)] {
        compare(&runtime, &server, &contenders, (at_once, batch, options.rounds));
    }
}

/// What one contender did in one round.
struct Turn {
    /// Nanoseconds for each request, all together.
    each: f64,
    /// The median of what each took from beginning to end.
    took: f64,
    /// Processor time for each, of this process and of the server.
    here: f64,
    there: f64,
}

fn turn(runtime: &Runtime, server: &Server, contender: &Asker, at_once: u32, batch: u32) -> Turn {
    let share = batch / at_once;
    // No two ask for the same key at once: they would wait for one look-up.
    let keys = |who: u32| (0..share).map(|nth| who + at_once * (nth % (KEYS / at_once))).collect::<Vec<_>>();
    let asked: Vec<_> = (0..at_once).map(|who| contender.ask(keys(who))).collect();
    let before = (process_nanoseconds(), server_nanoseconds(server), nanoseconds());
    let took = runtime.block_on(async {
        let tasks: Vec<_> = asked.into_iter().map(tokio::spawn).collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.expect("it does not panic"));
        }
        took
    });
    let all = nanoseconds() - before.2;
    let (here, there) = (process_nanoseconds() - before.0, server_nanoseconds(server) - before.1);
    let took = Spread::of(took.into_iter().map(|took| per(took, 1_u32)).collect()).median;
    let of = |total| per(total, share * at_once);
    Turn { each: of(all), took, here: of(here), there: of(there) }
}

fn compare(runtime: &Runtime, server: &Server, all: &[Asker], (at_once, batch, rounds): (u32, u32, u32)) {
    let mut turns: Vec<Vec<Turn>> = all.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        for nth in 0..all.len() {
            let who = (round + nth) % all.len();
            turn(runtime, server, &all[who], at_once, batch / 8);
            let before = calls();
            turns[who].push(turn(runtime, server, &all[who], at_once, batch));
            assert_eq!(calls(), before, "{} called the application", all[who].name);
        }
    }
    print(all, &turns, at_once);
}

fn print(all: &[Asker], turns: &[Vec<Turn>], at_once: u32) {
    let title = format!("from Redis, {at_once} at once");
    let mut table =
        Table::new(&[&title, "requests/s", "÷ GET", "p50, µs", "÷ GET", "here, µs each", "server, µs each"]);
    let get = all.iter().position(|one| one.name == GET).expect("it always takes part");
    for (who, one) in all.iter().enumerate() {
        let median = |of: fn(&Turn) -> f64| Spread::of(turns[who].iter().map(of).collect()).median;
        let ratio = |of: fn(&Turn) -> f64| {
            let rounds = turns[who].iter().zip(&turns[get]);
            Spread::of(rounds.map(|(one, get)| of(one) / of(get)).collect()).median
        };
        table.row(&[
            one.name.to_owned(),
            format!("{:.0}", 1e9 / median(|turn| turn.each)),
            format!("{:.2}", 1.0 / ratio(|turn| turn.each)),
            format!("{:.1}", median(|turn| turn.took) / 1e3),
            format!("{:.2}", ratio(|turn| turn.took)),
            format!("{:.1}", median(|turn| turn.here) / 1e3),
            format!("{:.1}", median(|turn| turn.there) / 1e3),
        ]);
    }
    table.print();
}
