//! What people and shells read about the command: all of it from the definitions that parse it.

use crate::failure::Failure;
use crate::{Cli, text};
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};

/// What every command ends with, where it does not say more.
const STATUS: &str = "Exit status: 0 success. 1 failure. 2 a mistake in the arguments or the environment. 3 it could not be \
    judged. 4 warnings, under --strict.";

/// Print what completes `terrace` in a shell: `terrace completions bash > /etc/bash_completion.d/terrace`.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: Chosen,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chosen {
    Bash,
    Zsh,
    Fish,
}

/// Print the manual's page, or write it and those of all commands to a directory: `terrace.1`, `terrace-purge.1`, and so on.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Man {
    /// Where to write all pages.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// The command line, with what each command's exit status means.
pub(crate) fn command() -> Command {
    with_status(Cli::command())
}

/// What a command says about its exit status is true of what it consists of, too.
fn with_status(command: Command) -> Command {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let command = command.mut_subcommands(with_status);
    if about.contains("Exit status") { command } else { command.after_long_help(STATUS) }
}

/// # Errors
///
/// When it cannot be written.
pub(crate) fn complete(options: &Completions) -> Result<(), Failure> {
    let shell = match options.shell {
        Chosen::Bash => Shell::Bash,
        Chosen::Zsh => Shell::Zsh,
        Chosen::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "terrace", &mut script);
    text::print(&String::from_utf8_lossy(&script))
}

/// # Errors
///
/// When pages cannot be written.
pub(crate) fn pages(options: &Man) -> Result<(), Failure> {
    let mut all = command().disable_help_subcommand(true);
    // Names those of commands after the whole.
    all.build();
    let Some(directory) = &options.to else {
        return text::print(&page(&clap_mangen::Man::new(all))?);
    };
    write(&all, directory)
}

/// The page of a command, and those of what it consists of.
fn write(command: &Command, directory: &Path) -> Result<(), Failure> {
    let man = clap_mangen::Man::new(command.clone());
    let written = fs::write(directory.join(man.get_filename()), page(&man)?);
    written.map_err(|error| Failure::runtime(format_args!("cannot write to --to {}: {error}", directory.display())))?;
    command.get_subcommands().try_for_each(|one| write(one, directory))
}

fn page(man: &clap_mangen::Man) -> Result<String, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(Failure::runtime)?;
    // What comes after the options has a heading of its own among the usual ones.
    Ok(String::from_utf8_lossy(&page).replace(".SH EXTRA\nExit status: ", ".SH \"EXIT STATUS\"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_its_exit_status_means() {
        fn says(command: &mut Command) {
            let help = command.render_long_help().to_string();
            assert_eq!(help.matches("Exit status").count(), 1, "{}: {help}", command.get_name());
            command.get_subcommands_mut().filter(|one| one.get_name() != "help").for_each(says);
        }
        says(&mut command());
    }

    #[test]
    fn the_definitions_are_consistent() {
        command().debug_assert();
    }
}
