//! The processes of a run.

use super::changes::Step;
use super::scenario::{HOLD, Scenario};
use crate::origin::Origin;
use crate::process::Process;
use crate::servers::Servers;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// So many processes.
const SIZE: usize = 4;

/// Each has a log, and whoever takes the place of one that was killed has another.
pub(crate) struct Fleet {
    pub(crate) processes: Vec<Process>,
    pub(crate) logs: Vec<PathBuf>,
    /// In nanoseconds, as they export it.
    pub(crate) bound: u64,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    directory: TempDir,
    one_changes: bool,
    spares_the_first: bool,
}

/// What tells processes apart from those of another run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) subjects: Option<u64>,
    /// Settings of the processes, beside the defaults, as `NAME=VALUE`.
    pub(crate) set: Vec<String>,
    pub(crate) without: Option<&'static str>,
    /// Only one process changes anything.
    pub(crate) one_changes: bool,
}

impl Fleet {
    /// Starts them, and waits until each has joined the others.
    pub(crate) fn start(
        scenario: Scenario,
        load: &Load,
        (servers, origin): (&Servers, &Origin),
        time: Duration,
    ) -> Self {
        let mut fleet = Self {
            processes: Vec::new(),
            logs: Vec::new(),
            bound: 0,
            arguments: arguments(scenario, load, origin),
            variables: variables(load, servers),
            directory: tempfile::tempdir().expect("a directory for what is written down"),
            one_changes: load.one_changes,
            spares_the_first: scenario.spares_the_first(),
        };
        for place in 0..SIZE {
            let process = fleet.process(place, time);
            fleet.processes.push(process);
        }
        fleet.bound = fleet.processes.iter_mut().map(ready).max().expect("some processes");
        fleet
    }

    fn process(&mut self, place: usize, time: Duration) -> Process {
        let log = self.directory.path().join(self.logs.len().to_string());
        let (path, milliseconds) = (log.display().to_string(), time.as_millis().to_string());
        let more = ["--log", &path, "--milliseconds", &milliseconds];
        let is_spared = (self.spares_the_first && place == 0) || (self.one_changes && place + 1 < SIZE);
        let only_checks = is_spared.then_some("--only-checks");
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).chain(more).chain(only_checks).collect();
        let mut variables = self.variables.clone();
        if place == 0 {
            // It finds in Redis whatever is there.
            variables.push(("AUTHZ_CACHE_L1_MAX_BYTES".to_owned(), "0".to_owned()));
        }
        self.logs.push(log);
        Process::start(&arguments, &variables)
    }

    /// Ends one at a step of a change.
    pub(crate) fn kill(&mut self, which: usize, step: Step) {
        let process = &mut self.processes[which % SIZE];
        process.tell(&format!("die {which} {}", step.name()));
        assert_eq!(process.hear(), "dying");
        process.kill();
    }

    /// Another takes the place of one that was killed.
    pub(crate) fn replace(&mut self, which: usize, time: Duration) {
        let place = which % SIZE;
        self.processes[place] = self.process(place, time);
        ready(&mut self.processes[place]);
    }

    /// Waits until all have ended by themselves.
    pub(crate) fn wait(&mut self) {
        for process in &mut self.processes {
            let status = process.wait();
            assert!(status.success(), "a process ended with {status}");
        }
    }
}

/// The bound that it exports, once it has joined the others.
fn ready(process: &mut Process) -> u64 {
    let line = process.hear();
    let bound = line.strip_prefix("ready ").and_then(|bound| bound.parse().ok());
    bound.unwrap_or_else(|| panic!("a process that is ready, not {line:?}"))
}

fn arguments(scenario: Scenario, load: &Load, origin: &Origin) -> Vec<String> {
    // Where answers are held, most of those who check wait for one.
    let (readers, subjects) = if scenario.holds_answers() { (100, 16) } else { (8, 32) };
    let (subjects, origin) = (load.subjects.unwrap_or(subjects), origin.url());
    let lost = scenario.lost_bells();
    let line = format!(
        "authz-node --origin {origin} --readers {readers} --subjects {subjects} --lose-bells {lost}{}{}",
        if scenario.keeps() { " --keeps" } else { "" },
        load.without.map(|name| format!(" --without {name}")).unwrap_or_default(),
    );
    line.split(' ').map(str::to_owned).collect()
}

fn variables(load: &Load, servers: &Servers) -> Vec<(String, String)> {
    let hold = HOLD.as_secs().to_string();
    let fixed = [
        ("CACHE_METRICS_ENABLED", "false"),
        ("CACHE_NAMESPACE", "rights"),
        ("AUTHZ_CACHE_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("AUTHZ_CACHE_HOLD_S", &hold),
    ];
    let set = load.set.iter().filter_map(|setting| setting.split_once('='));
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    servers.variables().into_iter().chain(fixed.into_iter().chain(set).map(own)).collect()
}
