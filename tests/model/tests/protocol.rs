//! The protocol keeps its promises, and each of its rules is needed for that.

use std::collections::BTreeSet;
use std::iter::from_fn;
use std::sync::Mutex;
use std::thread;
use terrace_model::cases::{Case, Size, mutants, scenarios};
use terrace_model::explore::Verdict;
use terrace_model::rules::Rule;

/// Far above what any of them needs, so that a mistake in the model ends instead of filling the memory.
const LIMIT: usize = 20_000_000;

/// Cases explored at a time.
const WORKERS: usize = 2;

/// Explores a case, and says what came out if that is not what must.
fn surprise(case: &Case) -> Option<String> {
    let outcome = case.run(LIMIT);
    let result = match &outcome.verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Broken(promise, _) => format!("breaks {promise}"),
        Verdict::Unfinished => "is larger than the limit".to_owned(),
    };
    let rule = case.dropped.map(|rule| format!(" without {}", rule.name())).unwrap_or_default();
    let line = format!("{}{rule}: {result} ({} states)", case.name, outcome.states);
    println!("{line}");
    if case.expects(&outcome.verdict) {
        return None;
    }
    match outcome.verdict {
        Verdict::Broken(_, way) => Some(format!("{line}\n{way}")),
        _ => Some(line),
    }
}

fn assert_expected(cases: &[Case]) {
    let quick = Mutex::new(cases.iter().filter(|case| case.size == Size::Quick));
    let next = || quick.lock().expect("nobody panics with it").next();
    let work = || from_fn(next).filter_map(surprise).collect::<Vec<_>>();
    let surprises = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no case panics")).collect::<Vec<_>>()
    });
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_scenario_keeps_the_promises() {
    assert_expected(&scenarios());
}

#[test]
fn every_mutant_breaks_the_promise_that_its_rule_keeps() {
    assert_expected(&mutants());
}

#[test]
fn every_rule_has_a_mutant_that_runs_on_every_change() {
    for rule in Rule::ALL {
        let runs = |case: &Case| case.dropped == Some(rule) && case.size == Size::Quick && case.breaks.is_some();
        assert!(mutants().iter().any(runs), "no mutant without {}", rule.name());
    }
}

#[test]
fn the_readme_lists_the_rules() {
    let readme = include_str!("../README.md");
    let (_, rules) = readme.split_once("| rule |").expect("a table of rules");
    let table = rules.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let listed: BTreeSet<String> = table.map(|(name, _)| name.to_owned()).collect();
    let rules: BTreeSet<String> = Rule::ALL.into_iter().map(Rule::name).collect();
    assert_eq!(listed, rules);
}

#[test]
fn a_counterexample_tells_who_did_what() {
    let case = mutants().into_iter().find(|case| case.dropped == Some(Rule::StampBeforeFetch));
    let Verdict::Broken(_, way) = case.expect("a mutant without it").run(LIMIT).verdict else { panic!("it survives") };
    let way = way.to_string();
    let fetched = way.find("is answered by the origin").expect("a fetch");
    let acknowledged = way.find("invalidator: gets the reply").expect("an acknowledgement");
    assert!(fetched < acknowledged && way[acknowledged..].contains("fills"), "{way}");
}
