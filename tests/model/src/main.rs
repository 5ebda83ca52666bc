//! `terrace-model`: explores the protocol and its mutants, and shows what came out.

use std::process::ExitCode;
use std::time::Instant;
use terrace_model::cases::{Case, Size, mutants, scenarios};
use terrace_model::explore::{Outcome, Verdict};

const USAGE: &str = "usage: terrace-model [--large | --full] [--trace] [NAME]

  --large  also what takes minutes and up to 4 GB of memory
  --full   also what takes ten minutes and up to 7 GB
  --trace  show the shortest way to each broken promise
  NAME     only cases and rules whose name contains this";

struct Options {
    size: Size,
    trace: bool,
    name: String,
}

fn options() -> Option<Options> {
    let mut options = Options { size: Size::Quick, trace: false, name: String::new() };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--large" => options.size = Size::Large,
            "--full" => options.size = Size::Huge,
            "--trace" => options.trace = true,
            name if !name.starts_with('-') && options.name.is_empty() => options.name = argument,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut cases = scenarios();
    cases.extend(mutants());
    cases.retain(|case| case.size <= options.size && describe(case).contains(&options.name));
    if cases.is_empty() {
        eprintln!("no case is named like {:?}", options.name);
        return ExitCode::from(2);
    }
    let unexpected = cases.iter().filter(|case| !run(case, options.trace)).count();
    println!("{} cases, {unexpected} not as expected", cases.len());
    if unexpected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn describe(case: &Case) -> String {
    let without = case.dropped.map(|rule| format!(" without {}", rule.name()));
    format!("{}{}", case.name, without.unwrap_or_default())
}

/// Explores and prints a case. Whether it came out as expected.
fn run(case: &Case, trace: bool) -> bool {
    let begin = Instant::now();
    let Outcome { verdict, states } = case.run(u32::MAX as usize);
    let expected = case.expects(&verdict);
    let result = match &verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Broken(promise, _) => format!("breaks {promise}"),
        Verdict::Unfinished => "unfinished".to_owned(),
    };
    println!(
        "{} {:90} {result:12} {states:>10} states {:6.1} s",
        if expected { "ok " } else { "BAD" },
        describe(case),
        begin.elapsed().as_secs_f32(),
    );
    if let (Verdict::Broken(_, way), true) = (&verdict, trace || !expected) {
        println!("{way}");
    }
    expected
}
