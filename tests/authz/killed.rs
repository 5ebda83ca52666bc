//! A process that is killed at any step of a change: what it has changed is in effect, and what it held is let go.

use super::process::{Process, Writer};
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use terrace::authz::Scope;
use terrace_redis_server::{PATIENT, Server};
use tokio::runtime::Builder;

const REDIS: &str = "TERRACE_TEST_KILLED_REDIS";
/// The change is in the database from `written` on.
const STEPS: [&str; 6] = ["begun", "settled", "confirmed", "written", "ending", "ended"];
const VARS: [(&str, &str); 2] = [("AUTHZ_CACHE_HOLD_S", "4"), ("CACHE_L1_MAX_LAG", "1s")];

fn alice() -> Who {
    who("acme-corp", "alice")
}

/// Says where it is, and goes on when it is told to.
fn step(name: &str) {
    println!("at {name}");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The process that is killed.
async fn changes(url: &str) {
    // Nobody reads from this one.
    let vars = [("REDIS_URL", url), KEYS, NAMESPACE, VARS[0], VARS[1]];
    let store = Store::from_vars(vars.into_iter().chain(PATIENT)).unwrap();
    let authz = Authz::builder(store.clone(), Directory::new()).build().unwrap();
    terrace_tests::until("it has joined", || store.stats().ring_joined()).await;
    let scope = Scope::subject(&alice().tenant, &alice().subject);
    let change = loop {
        if let Ok(change) = authz.begin_change(scope.clone()).await {
            break change;
        }
    };
    step("begun");
    change.settled().await;
    step("settled");
    change.confirm().await.unwrap();
    step("confirmed");
    step("written");
    let mut commit = pin!(change.commit());
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx))).await;
    step("ending");
    let receipt = if let std::task::Poll::Ready(receipt) = begun { receipt } else { commit.await };
    drop(receipt.unwrap());
    step("ended");
}

#[test]
fn whatever_a_process_dies_of_its_change_is_in_effect_and_caching_goes_on() {
    if let Ok(url) = std::env::var(REDIS) {
        return Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(changes(&url));
    }
    thread::scope(|scope| {
        for step in STEPS {
            scope.spawn(move || {
                Builder::new_current_thread().enable_all().build().unwrap().block_on(dies_at(step));
            });
        }
    });
}

/// Ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a process change alice's rights, up to a step, and kills it there.
async fn killed_at(last: &str, url: &str, directory: &Directory) {
    let name = "killed::whatever_a_process_dies_of_its_change_is_in_effect_and_caching_goes_on";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(REDIS, url).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let (mut orders, lines) = (child.0.stdin.take().unwrap(), BufReader::new(child.0.stdout.take().unwrap()).lines());
    // A thread reads, so that this one goes on.
    let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        let at = |line: String| line.split_once("at ").map(|(_, step)| step.to_owned());
        lines.map_while(Result::ok).filter_map(at).for_each(|step| drop(sender.send(step)));
    });
    loop {
        let step = tokio::time::timeout(Duration::from_secs(60), steps.recv()).await.unwrap();
        let step = step.expect("it goes on until it is killed");
        if step == "confirmed" && last != "confirmed" {
            // The transaction of the database.
            directory.set(&alice(), Grants::complete(["x"]));
        }
        if step == last {
            return;
        }
        writeln!(orders, "on").unwrap();
    }
}

async fn dies_at(last: &str) {
    let (server, directory, alice) = (Server::start(), Directory::new(), alice());
    directory.set(&alice, Grants::complete(["invoice:read"]));
    let memory = [("AUTHZ_CACHE_L1_MAX_BYTES", "32MiB"), VARS[1]];
    let (shared, memory) =
        (Process::of(&server, &directory, &[]).await, Process::of(&server, &directory, &memory).await);
    let name = shared.fills(&server, &alice).await;
    let mut writer = Writer::of(&server);
    let entry = writer.get(&name);
    memory.cached(&alice, true).await;
    killed_at(last, &server.url(), &directory).await;
    let (dead, written) = (Instant::now(), STEPS.iter().position(|step| *step == last) > Some(2));
    // Longer than what it held is held.
    while dead.elapsed() < Duration::from_secs(6) {
        // Somebody may still have it from before.
        writer.put(&name, &entry);
        for process in [&shared, &memory] {
            assert_eq!(process.reads(&alice).await, !written, "killed when {last}, {:?} ago", dead.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for process in [&shared, &memory] {
        process.cached(&alice, !written).await;
    }
}
