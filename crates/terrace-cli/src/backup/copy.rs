//! The data, as a server sends it to a new replica.

use super::shelf::Part;
use super::wire::Wire;
use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// How long the mark is that ends a copy whose length is not known before.
const MARK: usize = 40;

/// Where a copy ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// After so many bytes: the server has it in a file.
    After(u64),
    /// Before this mark: the server makes it while it sends it.
    Before([u8; MARK]),
}

/// Copies everything.
///
/// # Errors
///
/// When the server refuses, sends less than it should, or the file cannot be written.
pub(super) async fn copy(wire: &mut Wire, part: &mut Part) -> Result<(), Failure> {
    // Nothing that comes after the data is of interest. Servers before 7.0 do not know that, and are left instead.
    let _ = wire.ask(&["REPLCONF", "rdb-only", "1"]).await?;
    let capable = wire.ask(&["REPLCONF", "capa", "eof"]).await?;
    capable.map_err(|error| wire.refused("REPLCONF", &error))?;
    wire.tell(&["SYNC"]).await?;
    let end = begin(wire).await?;
    let bar = progress(&end);
    let written = transfer(wire, &end, &bar, part).await;
    bar.finish_and_clear();
    written
}

/// Waits until the data comes. Empty lines say that the server is busy with it.
async fn begin(wire: &mut Wire) -> Result<End, Failure> {
    loop {
        let line = wire.line().await?;
        match line.as_bytes().first() {
            None => {}
            Some(b'-') => return Err(wire.refused("SYNC", &line[1..])),
            _ => return parse(&line).ok_or_else(|| wire.strange(line.as_bytes())),
        }
    }
}

/// `$LENGTH` or `$EOF:MARK`.
fn parse(line: &str) -> Option<End> {
    let rest = line.strip_prefix('$')?;
    match rest.strip_prefix("EOF:") {
        Some(mark) => Some(End::Before(mark.as_bytes().try_into().ok()?)),
        None => rest.parse().ok().map(End::After),
    }
}

async fn transfer(wire: &mut Wire, end: &End, bar: &ProgressBar, part: &mut Part) -> Result<(), Failure> {
    let mut cut = Cut::new(end);
    while !cut.is_over() {
        let some = wire
            .some()
            .await
            .map_err(|why| Failure::runtime(format_args!("{why}, after {} bytes of the copy", cut.written)))?;
        let used = cut.take(some, &mut part.file).map_err(|error| part.unwritten(&error))?;
        bar.set_position(cut.written);
        wire.consume(used);
    }
    Ok(())
}

/// Tells what is the copy from what comes after it.
struct Cut<'a> {
    end: &'a End,
    written: u64,
    /// What may be the mark.
    tail: Vec<u8>,
}

impl<'a> Cut<'a> {
    fn new(end: &'a End) -> Self {
        Self { end, written: 0, tail: Vec::new() }
    }

    fn is_over(&self) -> bool {
        match self.end {
            End::After(length) => self.written == *length,
            End::Before(mark) => self.tail == mark,
        }
    }

    /// Writes what is surely the copy's. How many of these bytes are done with.
    fn take(&mut self, some: &[u8], to: &mut impl Write) -> io::Result<usize> {
        let count = match self.end {
            End::After(length) => {
                let left = usize::try_from(length - self.written).unwrap_or(usize::MAX);
                let some = &some[..some.len().min(left)];
                to.write_all(some)?;
                self.written += some.len() as u64;
                return Ok(some.len());
            }
            End::Before(_) => some.len(),
        };
        // Nothing comes after the mark before it is answered, so it is at the end of what there is.
        self.tail.extend_from_slice(some);
        let sure = self.tail.len().saturating_sub(MARK);
        to.write_all(&self.tail[..sure])?;
        self.tail.drain(..sure);
        self.written += sure as u64;
        Ok(count)
    }
}

fn progress(end: &End) -> ProgressBar {
    let (length, template) = match end {
        _ if !io::stderr().is_terminal() => return ProgressBar::hidden(),
        End::After(length) => (Some(*length), "{bar:40} {bytes} of {total_bytes} {bytes_per_sec} {eta}"),
        End::Before(_) => (None, "{spinner} {bytes} {bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cut(end: &End, parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut cut, mut copy) = (Cut::new(end), Vec::new());
        for part in parts {
            cut.take(part, &mut copy).unwrap();
        }
        (copy, cut.is_over())
    }

    #[test]
    fn a_copy_ends_after_its_length_or_before_its_mark() {
        let known = parse("$5").unwrap();
        assert_eq!(cut(&known, &[b"ab", b"cdefg"]), (b"abcde".to_vec(), true));
        assert_eq!(cut(&known, &[b"abcd"]), (b"abcd".to_vec(), false));
        let open = parse(&format!("$EOF:{WORD}")).unwrap();
        let mark = WORD.as_bytes();
        for split in 0..mark.len() {
            let parts = [b"copy", &mark[..split], &mark[split..]];
            assert_eq!(cut(&open, &parts), (b"copy".to_vec(), true), "{split}");
        }
        assert!(!cut(&open, &[b"copy", &mark[..39]]).1);
        let long = vec![b'x'; 100_000];
        assert_eq!(cut(&open, &[&long, mark]), (long.clone(), true));
    }

    #[test]
    fn what_begins_otherwise_is_no_copy() {
        for bad in ["", "$", "$-1", "$EOF:", "$EOF:short", "+FULLRESYNC a 1", "*3", "$99999999999999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let end = End::After(10);
        let error = Cut::new(&end).take(b"0123456789", &mut full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
