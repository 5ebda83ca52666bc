//! What requests notice when Redis fails: an axum app with a cache in one process, requests at a steady rate from another,
//! a real Redis between which everything happens that can.
//!
//! Each fault is one run: a healthy time, the fault, and a time after it. What has to hold is checked; the rest is a
//! table and a picture.

mod app;
mod clock;
mod fault;
mod judge;
mod load;
mod phase;
mod process;
mod report;
mod stalls;
mod state;

use clap::{Parser, Subcommand};
use fault::Fault;
use judge::Verdict;
use phase::Plan;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Lets Redis fail under load, and looks at what requests notice")]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Runs faults, and fails if a promise is broken.
    Run(Run),
    /// The app.
    App,
}

#[derive(clap::Args)]
struct Run {
    /// Which faults: all of them one after the other, if none is named.
    #[arg(value_enum)]
    faults: Vec<Fault>,
    /// How long each lasts.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How many seconds are measured before, and after.
    #[arg(long, default_value_t = 1)]
    around: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Also checks how long things take, and first measures what they take without Redis. Nothing else may run.
    #[arg(long)]
    quiet_machine: bool,
    /// Where to write the table and the pictures.
    #[arg(long, value_name = "DIRECTORY")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Options::parse().role {
        Role::App => app::run(),
        Role::Run(run) => {
            let faults = if run.faults.is_empty() { Fault::all() } else { run.faults.clone() };
            println!("{}", report::HEADING);
            let (tried, untried): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault: &Fault| fault.can_be_tried());
            let broken = tried.into_iter().filter(|fault| !run.holds(*fault)).count();
            for fault in untried {
                println!(
                    "| {} | NOT TRIED: mounts of its own, for names that can be taken away, are not permitted here |",
                    fault.name()
                );
            }
            if broken > 0 {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

impl Run {
    fn plan(&self) -> Plan {
        let fault = Duration::from_secs(self.seconds);
        Plan {
            rate: self.rate,
            fault,
            around: Duration::from_secs(self.around),
            compares: self.quiet_machine,
            // So that memory may answer without proof for a while, and a while not.
            degraded_max: (fault / 2).max(Duration::from_millis(1500)),
        }
    }

    /// Whether all promises held.
    fn holds(&self, fault: Fault) -> bool {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let record = phase::run(runtime.handle(), self.plan(), fault);
        let verdict = record.verdict();
        println!("{}", verdict.row());
        if let Some(directory) = &self.report {
            report::write(directory, &record, &verdict)
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
        self.tell(&verdict)
    }

    fn tell(&self, verdict: &Verdict) -> bool {
        let counts = |is_timing: bool| self.quiet_machine || !is_timing;
        let name = verdict.fault.name();
        for problem in verdict.problems.iter().filter(|problem| counts(problem.is_timing)) {
            eprintln!("{name}: {}", problem.text);
        }
        !verdict.problems.iter().any(|problem| counts(problem.is_timing))
    }
}
