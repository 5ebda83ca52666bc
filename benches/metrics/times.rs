//! What a hit costs while nobody listens, while a recorder is installed, and while spans are made: in processes of their own,
//! in turns.
//!
//! `bench-metrics [BARE]` prints a table, also of a program built without the features if it is named; `bench-metrics
//! --only WORD --iterations TIMES` does so many hits and prints the nanoseconds that each took.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::time::Instant;
use terrace_bench_metrics::{Listening, Shop};

const ROUNDS: usize = 40;
/// Hits in one turn of one process.
const TIMES: u32 = 100_000;
const BATCH: u32 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["--only", word, "--iterations", times] => match (Listening::named(word), times.parse()) {
            (Some(listening), Ok(times)) => println!("{}", one(listening, times)),
            _ => return usage(),
        },
        [] => table(None),
        [bare] => table(Some(Path::new(bare))),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let words: Vec<&str> = Listening::ALL.iter().map(|listening| listening.word()).collect();
    eprintln!("usage: bench-metrics [BARE], or bench-metrics --only {} --iterations TIMES", words.join("|"));
    ExitCode::from(2)
}

fn nanoseconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).expect("584 years")
}

/// The median over batches.
fn one(listening: Listening, times: u32) -> f64 {
    listening.begin();
    let mut shop = Shop::new();
    shop.hits(BATCH, nanoseconds);
    let batches = (0..times.div_ceil(BATCH)).map(|_| shop.hits(BATCH, nanoseconds));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = batches.map(|took| took as f64 / f64::from(BATCH)).collect();
    middle(each)[1]
}

/// The quartiles.
fn middle(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn table(bare: Option<&Path>) {
    let own = std::env::current_exe().expect("a program knows where it is");
    let mut all: Vec<(PathBuf, &str, String)> = Vec::new();
    if let Some(bare) = bare {
        all.push((bare.to_owned(), Listening::Built.word(), Listening::Built.to_string()));
    }
    all.extend(Listening::ALL.iter().map(|listening| (own.clone(), listening.word(), listening.to_string())));
    let mut times = vec![Vec::new(); all.len()];
    for round in 0..ROUNDS {
        for turn in 0..all.len() {
            let who = (round + turn) % all.len();
            times[who].push(measured(&all[who].0, all[who].1));
        }
    }
    let reference = all.iter().position(|(_, word, _)| *word == Listening::Nobody.word()).expect("it takes part");
    println!("| a hit, counted | ns | quartiles | ÷ no recorder | ns more |\n| --- | ---: | ---: | ---: | ---: |");
    for (who, (.., name)) in all.iter().enumerate() {
        let [low, median, high] = middle(times[who].clone());
        let rounds = || times[who].iter().zip(&times[reference]);
        let [_, ratio, _] = middle(rounds().map(|(one, other)| one / other).collect());
        let [_, more, _] = middle(rounds().map(|(one, other)| one - other).collect());
        println!("| {name} | {median:.0} | {low:.0} – {high:.0} | {ratio:.2} | {more:.0} |");
    }
    println!();
}

fn measured(program: &Path, word: &str) -> f64 {
    let output = Command::new(program)
        .args(["--only", word, "--iterations", &TIMES.to_string()])
        .output()
        .expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("{} said {text:?}", program.display()))
}
