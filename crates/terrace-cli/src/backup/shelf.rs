//! The directory of copies: a new one gets its name when it is whole, and the oldest make room.

use super::rdb::{self, Rdb};
use crate::failure::Failure;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const FRONT: &str = "terrace-";
const END: &str = ".rdb";
/// What is not whole yet.
const PART: &str = ".rdb.part";
const LOCK: &str = ".terrace-backup.lock";

/// A directory in which nobody else makes copies meanwhile.
pub(super) struct Shelf {
    directory: PathBuf,
    _lock: File,
}

impl Shelf {
    /// # Errors
    ///
    /// When it is no directory, cannot be written to, or somebody else is at it.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::runtime(format_args!("cannot use --to {}: {error}", directory.display()))
        };
        if !directory.is_dir() {
            return Err(Failure::usage(format_args!(
                "--to {}: expected a directory that is there",
                directory.display()
            )));
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join(LOCK));
        let lock = lock.map_err(|error| unusable(&error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(unusable(&"another backup is being made there")),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// A file for a new copy. What earlier ones left unfinished is removed.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn begin(&self, now: SystemTime) -> Result<Part, Failure> {
        for left in self.names(PART)? {
            // What stays is in nobody's way.
            let _ = fs::remove_file(self.directory.join(left));
        }
        let name = self.directory.join(format!("{FRONT}{}", stamp(now)));
        let (path, whole) = (with(&name, PART), with(&name, END));
        let file = OpenOptions::new().create_new(true).write(true).read(true).mode(0o600).open(&path);
        let file = file.map_err(|error| unwritten(&path, &error))?;
        Ok(Part { file, path, whole, directory: self.directory.clone(), is_whole: false })
    }

    /// Removes the oldest copies; `made`, which is new whatever the clock says, and `keep - 1` others stay.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub(super) fn prune(&self, keep: u32, made: &Path) -> Result<Vec<String>, Failure> {
        let made = made.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut others = self.names(END)?;
        others.retain(|name| name != made);
        others.sort_unstable_by(|a, b| b.cmp(a));
        let old = others.split_off(others.len().min(keep as usize - 1));
        for name in &old {
            let path = self.directory.join(name);
            fs::remove_file(&path).map_err(|error| {
                Failure::runtime(format_args!("{made} is made, but {} cannot be removed: {error}", path.display()))
            })?;
        }
        Ok(old)
    }

    /// Ours among the files, with this end.
    fn names(&self, end: &str) -> Result<Vec<String>, Failure> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                names.extend(entry?.file_name().into_string().ok().filter(|name| is_ours(name, end)));
            }
            Ok(names)
        };
        read().map_err(|error| Failure::runtime(format_args!("cannot read {}: {error}", self.directory.display())))
    }
}

/// A copy that is not whole yet. Dropped before it is, it is gone.
pub(super) struct Part {
    pub(super) file: File,
    path: PathBuf,
    whole: PathBuf,
    directory: PathBuf,
    is_whole: bool,
}

impl Part {
    /// Reads it from its beginning.
    ///
    /// # Errors
    ///
    /// When it is no whole snapshot.
    pub(super) fn verify(&self) -> Result<Rdb, Failure> {
        let opened = File::open(&self.path).map_err(|error| unwritten(&self.path, &error))?;
        rdb::verify(opened).map_err(|why| Failure::runtime(format_args!("what Redis has sent {why}")))
    }

    /// Gives it its name, once it is on the disk.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub(super) fn finish(mut self) -> Result<PathBuf, Failure> {
        let done = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.path, &self.whole)?;
            File::open(&self.directory)?.sync_all()
        };
        done().map_err(|error| unwritten(&self.whole, &error))?;
        self.is_whole = true;
        Ok(self.whole.clone())
    }

    pub(super) fn unwritten(&self, error: &io::Error) -> Failure {
        unwritten(&self.path, error)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::runtime(format_args!("cannot write {}: {error}", path.display()))
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// `20261121T213600.123Z`: in the order of time.
fn stamp(now: SystemTime) -> String {
    humantime::format_rfc3339_millis(now).to_string().replace(['-', ':'], "")
}

fn is_ours(name: &str, end: &str) -> bool {
    let stamp = name.strip_prefix(FRONT).and_then(|name| name.strip_suffix(end)).unwrap_or_default();
    let pattern = b"00000000T000000.000Z";
    let fits = |(byte, like): (u8, &u8)| if *like == b'0' { byte.is_ascii_digit() } else { byte == *like };
    stamp.len() == pattern.len() && stamp.bytes().zip(pattern).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_newest_of_its_own_stay_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let others = ["dump.rdb", "terrace-.rdb", "terrace-20261121.rdb", "terrace-20261121T213600.123Z.rdb.gz", "x"];
        for name in others {
            fs::write(path.join(name), "x").unwrap();
        }
        for day in 1..=5 {
            fs::write(path.join(format!("{FRONT}{}{END}", stamp(day_of(day)))), "x").unwrap();
        }
        let shelf = Shelf::open(path).unwrap();
        assert!(Shelf::open(path).err().unwrap().to_string().contains("another backup"));
        // The clock went back: it is the newest nevertheless.
        let made = shelf.begin(day_of(0)).unwrap().finish().unwrap();
        let removed = shelf.prune(3, &made).unwrap();
        assert_eq!(removed, [3, 2, 1].map(|day| format!("{FRONT}{}{END}", stamp(day_of(day)))));
        assert!(made.is_file() && made.ends_with("terrace-19700101T000000.000Z.rdb"));
        for name in others {
            assert!(path.join(name).is_file(), "{name}");
        }
        assert_eq!(fs::read_dir(path).unwrap().count(), others.len() + 3 + 1, "and the lock");
        assert_eq!(shelf.prune(1, &made).unwrap().len(), 2);
    }

    fn day_of(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
    }

    #[test]
    fn what_is_not_whole_is_removed_now_or_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(directory.path()).unwrap();
        let left = directory.path().join("terrace-20261121T213600.123Z.rdb.part");
        fs::write(&left, "x").unwrap();
        let part = shelf.begin(SystemTime::now()).unwrap();
        assert!(!left.exists() && part.path.exists());
        assert!(part.verify().unwrap_err().to_string().contains("not whole"));
        let path = part.path.clone();
        drop(part);
        assert!(!path.exists());
    }
}
