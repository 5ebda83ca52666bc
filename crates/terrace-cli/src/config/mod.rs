//! `terrace config`: what the environment means, where each value came from, and what is wrong with it.

mod export;

use crate::failure::Failure;
use crate::findings::{Finding, Findings, Status};
use crate::text::{Format, plain, print, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use terrace::config::{Environment, Source, Variable};
use terrace::{Config, Store};

/// Show what the environment means to the cache.
///
/// Every `CACHE_*`, `AUTHZ_*` and `REDIS_*` variable with the value that is effective and where that came from. Secrets are
/// not shown.
///
/// Exit status of `check`: 0 a process starts with it, 1 it does not.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,

    /// What to print on standard output.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Show every variable, and fail if one is unknown or malformed or contradicts another.
    Check,
    /// Print an environment file with all variables and their meaning. What is not set is commented out, and so are
    /// secrets, without their values.
    Export,
}

/// `terrace env check` is `terrace config check`, under the name of the script that it replaces.
#[derive(Debug, Args)]
pub(crate) struct EnvOptions {
    #[command(subcommand)]
    action: EnvAction,

    /// What to print on standard output.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum EnvAction {
    /// The same as `terrace config check`.
    Check,
}

/// Shows.
///
/// # Errors
///
/// When it is to be checked, or written to a file, and something is wrong; or it cannot be written.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let environment = read();
    match options.action {
        None => show(&environment, options.output),
        Some(Action::Check) => check(&environment, options.output),
        Some(Action::Export) => {
            judged(&environment).outcome(false).inspect_err(|_| eprint!("{}", judged(&environment).text()))?;
            print(&export::file(&environment))
        }
    }
}

/// # Errors
///
/// As [`main`].
pub(crate) fn env(options: &EnvOptions) -> Result<(), Failure> {
    match options.action {
        EnvAction::Check => check(&read(), options.output),
    }
}

fn check(environment: &Environment, output: Format) -> Result<(), Failure> {
    let shown = show(environment, output);
    judged(environment).outcome(false).and(shown)
}

/// The environment of this process, with all that a start would say of it.
pub(crate) fn read() -> Environment {
    let vars = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let vars: Vec<_> = vars.collect();
    let mut environment = Environment::read(vars.iter().map(|(name, value)| (name, value)));
    // What is not text, and what shows only when a store is made.
    let store = || Store::from_vars(vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))).map(drop);
    if environment.problems.is_empty()
        && let Err(error) = Config::from_env().map(drop).and_then(|()| store())
    {
        environment.problems.push(error.to_string());
    }
    environment
}

/// What is wrong, and what is worth knowing.
pub(crate) fn judged(environment: &Environment) -> Findings {
    let Environment { problems, foreign, idle, variables, .. } = environment;
    let mut all = Vec::new();
    for problem in problems {
        let fix = "correct or remove it; `terrace config export` prints all that there is";
        all.push(Finding::fail("environment", problem.as_str(), fix));
    }
    if problems.is_empty() {
        let given = variables.iter().filter(|variable| variable.source != Source::Default).count();
        all.push(Finding::ok("environment", format!("{given} of {} variables are set", variables.len())));
    }
    if !idle.is_empty() {
        let fix = "set one of REDIS_URL, REDIS_HOST, REDIS_SENTINELS, REDIS_CLUSTER_NODES";
        let names = format!("without effect, because nothing says where Redis is: {}", idle.join(", "));
        all.push(Finding::warn("environment-idle", names, fix));
    }
    if !foreign.is_empty() {
        let names = format!("somebody else's, and not read: {}", foreign.join(", "));
        all.push(Finding::ok("environment-foreign", names));
    }
    Findings(all)
}

fn show(environment: &Environment, output: Format) -> Result<(), Failure> {
    let findings = judged(environment);
    match output {
        Format::Json => findings.print(output, false, json(environment)),
        Format::Table => print(&format!("{}\n{}", variables(environment), findings.text())),
    }
}

fn variables(environment: &Environment) -> String {
    let row = |variable: &Variable| vec![variable.name.into(), plain(&variable.value), source(variable)];
    table(&["VARIABLE", "VALUE", "FROM"], &environment.variables.iter().map(row).collect::<Vec<_>>())
}

fn source(variable: &Variable) -> String {
    match &variable.source {
        Source::Default => "default".into(),
        Source::Environment => "environment".into(),
        Source::Alias(name) => name.clone(),
    }
}

fn json(environment: &Environment) -> Value {
    let variables = environment.variables.iter().map(|variable| {
        json!({
            "name": variable.name,
            "value": variable.value,
            "source": match &variable.source {
                Source::Default => "default",
                Source::Environment => "environment",
                Source::Alias(_) => "alias",
            },
            "alias": match &variable.source { Source::Alias(name) => Some(name), _ => None },
            "default": variable.default,
            "accepts": variable.accepts,
            "secret": variable.is_secret,
            "live": variable.is_live,
        })
    });
    let problems = judged(environment).count(Status::Fail);
    json!({
        "variables": variables.collect::<Vec<_>>(),
        "foreign": environment.foreign,
        "idle": environment.idle,
        "problems": problems,
    })
}
