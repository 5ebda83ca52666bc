//! `terrace warm`: requests what a list, a sitemap or an access log names, so that the fleet's cache has it.
//!
//! ```text
//! source ─┬ sitemap ┐
//!         └ access_log ┴ what to ask for ─ crate::ask ─ report
//!                            └ state: what was done before
//! ```

mod access_log;
mod options;
mod report;
mod sitemap;
mod source;
mod state;

pub(crate) use options::Options;

use crate::ask::{Answer, Client, Resource, ask_all};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::proxy::{self, log, server::Shutdown};
use crate::text::{Format, print, print_json};
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;
use source::Lines;
use state::State;
use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};
use terrace::stats::Task;
use tokio::sync::watch;

/// How long noting that all is done may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Warms, and reports.
///
/// # Errors
///
/// When not everything was answered.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let _guards = log::start(log::AccessLog::Off, log::AccessLog::Json).map_err(Failure::usage)?;
    let fleet = options.mode.map(|mode| Ok((mode.task(), Fleet::open(PATIENCE)?))).transpose()?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::runtime)?;
    let mut report = Report::default();
    let state = options.state.as_deref().map(|file| State::open(file, &options.base.to_string()));
    let state = state.transpose().map_err(Failure::usage)?;
    // What reads standard input blocks, and can be interrupted at any time.
    let listed = listed(options, &mut report)?;
    let finished = runtime.block_on(run(options, listed, state, &mut report));
    let ended = finished.map(|()| verdict(&report));
    let noted = match &fleet {
        Some((task, fleet)) if matches!(ended, Ok(Ok(()))) => runtime.block_on(note(fleet, *task, report.seconds)),
        _ => Ok(()),
    };
    runtime.shutdown_background();
    let ended = ended?;
    if ended.is_ok() && noted.is_ok() {
        report.log(options.mode.map(options::Mode::task));
    }
    let printed = match options.output {
        Format::Table => print(&report.table()),
        Format::Json => print_json(&report.json()),
    };
    ended.and(noted).and(printed)
}

/// Turns true at the deadline as well.
fn until(mut shutdown: Shutdown, deadline: Option<Duration>) -> Shutdown {
    let Some(deadline) = deadline else { return shutdown };
    let (told, either) = watch::channel(false);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(deadline, shutdown.wait_for(|ended| *ended)).await;
        told.send_replace(true);
        // The receivers wait for a value; the channel must outlive them.
        told.closed().await;
    });
    either
}

async fn note(fleet: &Fleet, task: Task, seconds: f64) -> Result<(), Failure> {
    let noted = fleet.store.task_succeeded(task, Duration::from_secs_f64(seconds)).await;
    noted.map_err(|error| {
        Failure::runtime(format_args!("all were asked for, but the watcher will not hear of it: {error}"))
    })
}

fn verdict(report: &Report) -> Result<(), Failure> {
    match (report.left, report.failures()) {
        (0, 0) => Ok(()),
        (0, failed) => Err(Failure::runtime(format_args!("{failed} failed"))),
        (left, _) => {
            let why = if report.is_late { "the deadline has come" } else { "interrupted" };
            Err(Failure::runtime(format_args!("{why}: {left} were not asked for")))
        }
    }
}

fn top(options: &Options) -> usize {
    options.top.map_or(source::MOST, |top| top as usize)
}

/// What is in a file; `None` for a sitemap, which may be more than that.
fn listed(options: &Options, report: &mut Report) -> Result<Option<Vec<String>>, Failure> {
    let lines = match (&options.urls, &options.access_log) {
        (Some(path), _) => Lines::Urls(path),
        (None, Some(path)) => Lines::AccessLog(path),
        (None, None) => return Ok(None),
    };
    lines.read(options.base.scheme().as_str(), top(options), report).map(Some)
}

async fn run(
    options: &Options,
    listed: Option<Vec<String>>,
    mut state: Option<State>,
    report: &mut Report,
) -> Result<(), Failure> {
    let (began, deadline) = (Instant::now(), options.deadline());
    let shutdown = until(proxy::shutdown().map_err(Failure::runtime)?, deadline);
    let client = Client::new(options.base.clone(), "terrace-warm", options.pace.timeout).map_err(Failure::runtime)?;
    let urls = match (listed, &options.sitemap) {
        (Some(urls), _) => urls,
        (None, place) => {
            let place = place.as_deref().unwrap_or_default();
            source::sitemap(place, &client, top(options), report, &shutdown).await?
        }
    };
    let what = choose(urls, &client, state.as_ref(), report);
    let (bar, started, mut unsaved) = (progress(what.len()), Instant::now(), None);
    let left = ask_all(&client, options.pace, what, shutdown, |url, answer| {
        bar.inc(1);
        report.add(&answer);
        unsaved = unsaved.take().or(remember(&mut state, url, &answer).err());
    })
    .await;
    bar.finish_and_clear();
    (report.left, report.seconds) = (left as u64, started.elapsed().as_secs_f64());
    report.is_late = deadline.is_some_and(|deadline| began.elapsed() >= deadline);
    let kept = match state {
        Some(mut state) if left > 0 => state.save(),
        Some(state) => state.forget(),
        None => Ok(()),
    };
    unsaved.map_or(kept, Err).map_err(Failure::runtime)
}

/// Each URL once, and none that was done before.
fn choose(urls: Vec<String>, client: &Client, state: Option<&State>, report: &mut Report) -> Vec<(Resource, String)> {
    let (mut what, mut seen) = (Vec::new(), HashSet::new());
    for url in urls {
        let Ok(resource) = Resource::parse(&url, client.base()) else {
            report.ignored += 1;
            continue;
        };
        let url = resource.uri().to_string();
        if state.is_some_and(|state| state.is_done(&url)) {
            report.done_before += 1;
        } else if seen.insert(url.clone()) {
            what.push((resource, url));
        }
    }
    what
}

/// What failed is asked for again.
fn remember(state: &mut Option<State>, url: String, answer: &Answer) -> Result<(), String> {
    match state {
        Some(state) if answer.result.is_ok() => state.add(url),
        _ => Ok(()),
    }
}

fn progress(len: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(len as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
