//! What was done before an interruption.

use crate::whole;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The first words of the file. The base follows.
const HEAD: &str = "terrace-warm 1 ";

/// Not more often than this, and not for more than a twentieth of the time.
const PERIOD: Duration = Duration::from_secs(1);

/// The URLs that need not be asked for again, in a file that is always whole.
#[derive(Debug)]
pub(crate) struct State {
    file: PathBuf,
    head: String,
    done: HashSet<String>,
    next: Instant,
    changed: bool,
}

impl State {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not about `base`.
    pub(crate) fn open(file: &Path, base: &str) -> Result<Self, String> {
        let head = format!("{HEAD}{base}");
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => head.clone(),
            Err(error) => return Err(format!("cannot read --state {}: {error}", file.display())),
        };
        let mut lines = text.lines();
        let found = lines.next().unwrap_or_default();
        if found != head {
            let found: String = found.chars().take(80).collect();
            return Err(format!(
                "--state {} begins with {found:?}; expected {head:?}, as written by an interrupted run with the same --base",
                file.display()
            ));
        }
        let done = lines.map(str::to_owned).collect();
        Ok(Self { file: file.to_owned(), head, done, next: Instant::now() + PERIOD, changed: false })
    }

    pub(crate) fn is_done(&self, url: &str) -> bool {
        self.done.contains(url)
    }

    /// This one is done. Now and then the file is written.
    ///
    /// # Errors
    ///
    /// If it could not be written.
    pub(crate) fn add(&mut self, url: String) -> Result<(), String> {
        self.changed |= self.done.insert(url);
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        let saved = self.save();
        self.next = Instant::now() + PERIOD.max(now.elapsed() * 20);
        saved
    }

    /// Writes the file, if there is something new.
    ///
    /// # Errors
    ///
    /// If it could not be written.
    pub(crate) fn save(&mut self) -> Result<(), String> {
        if self.changed {
            self.write().map_err(|error| format!("cannot write --state {}: {error}", self.file.display()))?;
            self.changed = false;
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let lines = std::iter::once(&self.head).chain(&self.done);
        whole::write(&self.file, &lines.flat_map(|line| [line, "\n"]).collect::<String>())
    }

    /// Everything was asked for: the next run begins anew.
    ///
    /// # Errors
    ///
    /// If the file could not be removed.
    pub(crate) fn forget(self) -> Result<(), String> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove --state {}: {error}", self.file.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://fleet.example";

    #[test]
    fn what_was_done_is_known_to_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state");
        let mut state = State::open(&file, BASE).unwrap();
        state.add("http://h/a".into()).unwrap();
        assert!(!file.exists(), "not at once");
        state.save().unwrap();
        let next = State::open(&file, BASE).unwrap();
        assert!(next.is_done("http://h/a") && !next.is_done("http://h/b"));
        next.forget().unwrap();
        assert!(!State::open(&file, BASE).unwrap().is_done("http://h/a"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_file_of_another_kind_is_neither_believed_nor_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state");
        for text in
            ["", "terrace-warm 1 http://other.example\n/a\n", "my diary\n", "terrace-warm 2 http://fleet.example"]
        {
            fs::write(&file, text).unwrap();
            let error = State::open(&file, BASE).unwrap_err();
            assert!(error.contains("expected \"terrace-warm 1 http://fleet.example\""), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert!(State::open(directory.path(), BASE).unwrap_err().contains("cannot read --state"));
    }
}
