//! Another process of this program, which does what it is told, line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use terrace_redis_server::unset;

/// Ends when dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str], variables: &[(String, String)]) -> Self {
        let program = std::env::current_exe().expect("the name of this program");
        let mut command = Command::new(program);
        unset(&mut command);
        command.args(arguments).envs(variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Nothing comes of it if the process has ended.
    pub(crate) fn tell(&mut self, order: &str) {
        let _ = writeln!(self.orders, "{order}");
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        let heard = self.answers.read_line(&mut line).expect("a pipe can be read");
        assert!(heard > 0, "process {} ended when it was to answer", self.id());
        line.truncate(line.trim_end().len());
        line
    }

    /// The lines that it says until it says `end`.
    pub(crate) fn hear_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.hear()).filter(|line| line != "end")).collect()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a process can be waited for")
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The orders to this process, until it is told no more.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}
