//! `terrace flag`: what is switched for a whole fleet.

mod options;

pub(crate) use options::Options;

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::text::{Format, plain, print, print_json, table};
use options::{Action, Get, Set};
use serde_json::{Value, json};
use std::env;
use terrace::stats::Feature;
use terrace::{Switch, Switched};

/// Switches, or shows.
///
/// # Errors
///
/// When Redis does not answer in time, or what it says cannot be written.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    match &options.action {
        Action::Get(get) => {
            let fleet = Fleet::open(get.common.timeout)?;
            let all = runtime.block_on(fleet.insist(get.common.timeout, || fleet.store.switches()))?;
            show(&fleet, get, &all)
        }
        Action::Set(set) => {
            let (fleet, by) = (Fleet::open(set.common.timeout)?, who(set));
            let switched = || fleet.store.switch(set.feature, set.state, &by, &set.why);
            runtime.block_on(fleet.insist(set.common.timeout, switched))?;
            confirm(&fleet, set, &by)
        }
    }
}

fn who(set: &Set) -> String {
    let known = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    set.by.clone().unwrap_or_else(|| format!("{}@{host}", known.as_deref().unwrap_or("unknown")))
}

fn confirm(fleet: &Fleet, set: &Set, by: &str) -> Result<(), Failure> {
    let (feature, state) = (set.feature.as_str(), set.state.as_str());
    match set.common.output {
        Format::Json => print_json(&json!({
            "namespace": fleet.namespace, "redis": fleet.place, "feature": feature, "state": state, "by": by, "why": set.why,
        })),
        Format::Table => print(&format!(
            "{feature} is {state} for {}, in {}: every process follows within six seconds\n",
            fleet.namespace, fleet.place
        )),
    }
}

fn show(fleet: &Fleet, get: &Get, all: &[Switched]) -> Result<(), Failure> {
    let wanted = |feature: &Feature| get.feature.is_none_or(|only| only == *feature);
    let last = |feature: &Feature| all.iter().rev().find(|switched| switched.feature == *feature);
    let features: Vec<_> =
        Feature::ALL.iter().copied().filter(wanted).map(|feature| (feature, last(&feature))).collect();
    let history: Vec<_> = all.iter().filter(|switched| get.history && wanted(&switched.feature)).collect();
    match get.common.output {
        Format::Json => print_json(&json!({
            "namespace": fleet.namespace,
            "redis": fleet.place,
            "flags": features.into_iter().map(|(feature, last)| object(feature, last)).collect::<Vec<_>>(),
            "history": history.iter().map(|one| object(one.feature, Some(one))).collect::<Vec<_>>(),
        })),
        Format::Table => {
            let rows: Vec<_> = features.into_iter().map(|(feature, last)| row(feature, last)).collect();
            let mut text = table(&HEADINGS, &rows);
            if get.history {
                let rows: Vec<_> = history.iter().map(|one| row(one.feature, Some(one))).collect();
                text.push('\n');
                text += &table(&HEADINGS, &rows);
            }
            print(&text)
        }
    }
}

const HEADINGS: [&str; 5] = ["FEATURE", "STATE", "SINCE", "BY", "WHY"];

fn row(feature: Feature, said: Option<&Switched>) -> Vec<String> {
    let since = said.map_or_else(String::new, |said| humantime::format_rfc3339_seconds(said.at).to_string());
    let (by, why) = said.map(|said| (plain(&said.by), plain(&said.why))).unwrap_or_default();
    vec![feature.as_str().to_owned(), state(said).to_owned(), since, by, why]
}

/// What was never switched is as it was started.
fn state(said: Option<&Switched>) -> &'static str {
    said.map_or(Switch::AsStarted, |said| said.to).as_str()
}

fn object(feature: Feature, said: Option<&Switched>) -> Value {
    json!({
        "feature": feature.as_str(),
        "state": state(said),
        "since": said.map(|said| humantime::format_rfc3339_millis(said.at).to_string()),
        "by": said.map(|said| &said.by),
        "why": said.map(|said| &said.why),
    })
}
