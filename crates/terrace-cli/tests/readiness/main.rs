//! `terrace check` and `terrace config`: each check is seen to pass and to fail, against real servers and services.

mod config;
#[allow(dead_code, reason = "shared with the tests of the proxy, which use all of it")]
#[path = "../proxy/harness.rs"]
mod harness;
mod post;
mod pre;
mod ten;
mod watched;

use harness::terrace;
use serde_json::Value;
use std::process::{Command, Stdio};

/// The key of a test.
const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a command said in JSON.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    json: Value,
    errors: String,
}

/// `terrace check` with these variables and no others of its kind.
fn check(variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let patience = if arguments.contains(&"--timeout") { &[][..] } else { &["--timeout", "60s"] };
    run(terrace().envs(variables.iter().copied()).arg("check").args(patience).args(arguments))
}

fn run(command: &mut Command) -> Said {
    let output = command.args(["-o", "json"]).stdin(Stdio::null()).output().expect("the binary starts");
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Said { status: output.status.code(), json, errors: String::from_utf8(output.stderr).expect("text") }
}

impl Said {
    fn finding(&self, id: &str) -> &Value {
        let all = self.json["findings"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no {id} in {self:?}"))
    }

    /// `ok`, `warn`, `fail`, `skip` or `unknown`.
    fn of(&self, id: &str) -> &str {
        self.finding(id)["status"].as_str().unwrap()
    }

    fn measured(&self, id: &str) -> &str {
        self.finding(id)["measured"].as_str().unwrap()
    }

    /// It failed, says this, and says what to do.
    #[track_caller]
    fn failed(&self, id: &str, why: &str) {
        let finding = self.finding(id);
        assert_eq!((finding["status"].as_str(), self.status), (Some("fail"), Some(1)), "{finding}");
        assert!(self.measured(id).contains(why), "{finding}");
        assert!(finding["fix"].as_str().is_some_and(|fix| !fix.is_empty() && !fix.contains('\n')), "{finding}");
        assert!(self.errors.contains(id), "{}", self.errors);
    }

    /// Those that are not `ok`.
    fn bad(&self) -> Vec<&str> {
        let all = self.json["findings"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let bad = all.iter().filter(|one| one["status"] != "ok");
        bad.map(|one| one["id"].as_str().unwrap()).collect()
    }
}
