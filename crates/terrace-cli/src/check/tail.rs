//! What is written to a file from now on.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Who writes more than this within one request's time is not read on.
const MOST: u64 = 16 << 20;
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Tail {
    file: File,
    new: Vec<u8>,
    /// Up to here, the end of a line, it was looked at.
    seen: usize,
}

impl Tail {
    /// At the end of the file, so that nothing of what it has is read.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no regular file: a pipe or a device has no end to begin at.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        // Before it is opened: that waits, with a pipe, for somebody who writes.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, new: Vec::new(), seen: 0 })
    }

    /// Waits for a line with this word, and returns all whole lines that are new. Without it, those until then.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or has become too much.
    pub(super) async fn until(mut self, word: &str, patience: Duration) -> io::Result<String> {
        let end = Instant::now() + patience;
        loop {
            self.read()?;
            if self.has(word) || Instant::now() > end {
                break;
            }
            if self.new.len() as u64 >= MOST {
                let why = format!("{} MiB were written meanwhile, and nothing about the request", MOST >> 20);
                return Err(io::Error::other(why));
            }
            sleep(PAUSE).await;
        }
        self.new.truncate(self.seen);
        Ok(String::from_utf8_lossy(&self.new).into_owned())
    }

    fn read(&mut self) -> io::Result<()> {
        let room = MOST.saturating_sub(self.new.len() as u64);
        (&self.file).take(room).read_to_end(&mut self.new).map(drop)
    }

    /// Whether one of the lines that nobody has looked at yet has it.
    fn has(&mut self, word: &str) -> bool {
        let rest = &self.new[self.seen..];
        let lines = &rest[..rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)];
        self.seen += lines.len();
        String::from_utf8_lossy(lines).contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn whole_lines_that_are_new_are_read_until_one_has_the_word() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"word of before\n").unwrap();
        let tail = Tail::of(file.path()).unwrap();
        let reading = tokio::spawn(tail.until("word", PATIENCE));
        for part in ["one\n", "two wo", "rd", "\nthr"] {
            assert!(!reading.is_finished(), "before {part}");
            file.write_all(part.as_bytes()).unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(reading.await.unwrap().unwrap(), "one\ntwo word\n");
        let tail = Tail::of(file.path()).unwrap();
        file.write_all(b"ee\nother\n").unwrap();
        assert_eq!(tail.until("word", 3 * PAUSE).await.unwrap(), "ee\nother\n");
    }

    #[tokio::test]
    async fn what_has_no_end_is_not_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let tail = Tail::of(file.path()).unwrap();
        let line = format!("{}\n", "x".repeat(1023));
        file.write_all(line.repeat(17 << 10).as_bytes()).unwrap();
        assert!(tail.until("word", PATIENCE).await.unwrap_err().to_string().starts_with("16 MiB"));
        for path in ["/dev/zero", "/"] {
            assert_eq!(Tail::of(Path::new(path)).err().unwrap().to_string(), "it is no regular file", "{path}");
        }
    }
}
