//! What `terrace` says of itself: manual pages and completions, as packages make them.

use crate::fleet::run;
use crate::harness::terrace;
use std::fs;
use std::process::{Command, Stdio};

/// The names of all commands, as `terrace --help` lists them.
fn commands() -> Vec<String> {
    let help = run(terrace().arg("--help")).ok().out;
    let list = help.split("Commands:\n").nth(1).expect("a list of commands").split("\n\n").next().unwrap();
    // What is told of a command in a second line is further to the right.
    let names = list.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let own: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(own.len() >= 10 && own.contains(&"backup".to_owned()), "{help}");
    own
}

#[test]
fn the_manual_page_names_every_command_and_what_exit_statuses_mean() {
    let page = run(terrace().arg("man")).ok().out;
    assert!(page.contains(".TH terrace 1"), "{page}");
    for command in commands() {
        assert!(page.contains(&format!("terrace\\-{command}(1)")), "{command} is not in {page}");
    }
    assert!(page.contains(".SH \"EXIT STATUS\"\n0 success."), "{page}");
}

#[test]
fn every_command_has_a_page_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().to_str().unwrap();
    run(terrace().args(["man", "--to", to])).ok();
    for command in commands() {
        let page = fs::read_to_string(directory.path().join(format!("terrace-{command}.1"))).unwrap();
        assert!(page.to_lowercase().contains("exit status") && !page.contains(".SH EXTRA"), "{page}");
    }
    for nested in ["terrace-baseline-capture", "terrace-flag-set", "terrace-config-check"] {
        let page = fs::read_to_string(directory.path().join(format!("{nested}.1"))).unwrap();
        assert!(page.to_lowercase().contains("exit status"), "{page}");
    }
    assert!(directory.path().join("terrace.1").is_file());
    run(terrace().args(["man", "--to", "no/such/directory"])).failed(1, &["--to no/such/directory"]);
}

#[test]
fn bash_completes_commands_and_their_options() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("terrace");
    fs::write(&script, run(terrace().args(["completions", "bash"])).ok().out).unwrap();
    let script = script.to_str().unwrap();
    assert!(Command::new("bash").args(["-n", script]).status().expect("bash").success());
    let completed = |words: &str, count: usize| {
        let line = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD={count}; \
             _terrace terrace \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"${{COMPREPLY[@]}}\"",
            count - 1
        );
        run(Command::new("bash").args(["--norc", "-c", &line])).ok().out.trim().to_owned()
    };
    assert_eq!(completed("terrace pu", 1), "purge");
    assert_eq!(completed("terrace flush --unl", 2), "--unlink");
}

#[test]
fn there_are_completions_for_other_shells() {
    assert!(run(terrace().args(["completions", "zsh"])).ok().out.starts_with("#compdef terrace"));
    assert!(run(terrace().args(["completions", "fish"])).ok().out.contains("complete -c terrace"));
    run(terrace().args(["completions", "tcsh"])).failed(2, &["tcsh", "bash, zsh, fish"]);
}

/// Where nothing can be written: no room, or nobody who reads.
#[test]
fn what_could_not_be_printed_is_a_failure_unless_nobody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let baseline = directory.path().join("baseline.json");
    fs::write(&baseline, r#"{"schema": 1}"#).unwrap();
    let baseline = baseline.to_str().unwrap();
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["config"],
        &["config", "-o", "json"],
        &["config", "export"],
        &["config", "check"],
        &["env", "check"],
        &["keygen"],
        &["keygen", "-o", "json"],
        &["baseline", "diff", baseline, baseline],
        &["baseline", "diff", "-o", "json", baseline, baseline],
    ] {
        run(terrace().args(arguments)).ok();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = terrace().args(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = ended.wait_with_output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains("No space left on device"), "{arguments:?}: {error}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = terrace().args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = ended.wait_with_output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        // Nobody knows a key that nobody has read.
        let expected = i32::from(arguments[0] == "keygen");
        assert_eq!((ended.status.code(), error.is_empty()), (Some(expected), expected == 0), "{arguments:?}: {error}");
    }
}

/// What a command did is known by its own status, whether or not that could be printed.
#[test]
fn a_failure_of_the_work_comes_before_one_of_printing() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let baseline = directory.path().join("baseline.json");
    fs::write(&baseline, r#"{"schema": 1}"#).unwrap();
    let mut gate = terrace();
    gate.args(["gate", "--prometheus", "http://127.0.0.1:1", "--baseline"]).arg(&baseline);
    let ended = gate.stdout(full()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(3) && error.contains("could not be judged: data"), "{error}");
    // Nor does it matter to the status that nobody can be told at all.
    assert_eq!(gate.stdout(full()).stderr(full()).status().unwrap().code(), Some(3));
}

#[test]
fn a_key_for_programs_is_the_one_for_people() {
    let key = run(terrace().args(["keygen", "--id", "k1", "-o", "json"])).ok().json();
    assert_eq!(key["id"], "k1");
    let line = key["key"].as_str().unwrap();
    assert!(line.starts_with("k1:") && line.len() == 47, "{line}");
}
