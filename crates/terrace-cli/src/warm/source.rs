//! Where the URLs come from.

use super::access_log::Counts;
use super::report::Report;
use super::sitemap::{self, MAX_SITEMAP, Sitemap};
use crate::ask::{Client, Resource};
use crate::failure::Failure;
use crate::proxy::server::Shutdown;
use flate2::read::MultiGzDecoder;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 64 << 10;

/// URLs that are taken; more are passed over.
pub(crate) const MOST: usize = 1_000_000;

/// Where a list is that has to be read before the first request.
pub(crate) enum Lines<'a> {
    Urls(&'a Path),
    AccessLog(&'a Path),
}

impl Lines<'_> {
    /// Reads the URLs, and counts what is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn read(&self, scheme: &str, top: usize, report: &mut Report) -> Result<Vec<String>, Failure> {
        let (flag, path) = match self {
            Self::Urls(path) => ("--urls", path),
            Self::AccessLog(path) => ("--access-log", path),
        };
        let failed = |error| Failure::runtime(format_args!("cannot read {flag} {}: {error}", path.display()));
        let reader = open(path).map_err(failed)?;
        let (mut urls, mut counts) = (Vec::new(), Counts::default());
        let read = each_line(reader, |line| match (self, line) {
            (_, None) => report.ignored += 1,
            (Self::AccessLog(_), Some(line)) => counts.add(line, scheme),
            (Self::Urls(_), Some(line)) if line.is_empty() || line.starts_with('#') => {}
            (Self::Urls(_), Some(_)) if urls.len() == top.min(MOST) => report.ignored += 1,
            (Self::Urls(_), Some(line)) => urls.push(line.to_owned()),
        });
        read.map_err(failed)?;
        report.ignored += counts.ignored;
        urls.append(&mut counts.into_top(top));
        Ok(urls)
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut reader = BufReader::new(file);
    if is_packed(reader.fill_buf()?) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Calls with each line, without the spaces around it; `None` for one that is too long, or not UTF-8.
fn each_line(mut reader: impl BufRead, mut line: impl FnMut(Option<&str>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        if read == MAX_LINE && !bytes.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
            line(None);
        } else {
            line(std::str::from_utf8(&bytes).ok().map(str::trim));
        }
    }
}

/// Reads a sitemap, and the sitemaps that it lists. One of those that cannot be read is a failure of the run, and the
/// others are used.
///
/// # Errors
///
/// When the first one cannot be read, or it is time to end.
pub(crate) async fn sitemap(
    place: &str,
    client: &Client,
    top: usize,
    report: &mut Report,
    shutdown: &Shutdown,
) -> Result<Vec<String>, Failure> {
    let failed = |place: &str, error| Failure::runtime(format_args!("cannot use --sitemap {place}: {error}"));
    let first = load(place, client).await.map_err(|error| failed(place, error))?;
    let (mut pages, mut waiting) = match first {
        Sitemap::Pages(pages) => (pages, VecDeque::new()),
        Sitemap::Index(sitemaps) => (Vec::new(), VecDeque::from(sitemaps)),
    };
    while let Some(next) = waiting.pop_front() {
        if pages.len() >= top.min(MOST) {
            break;
        }
        if *shutdown.borrow() {
            return Err(Failure::runtime("interrupted while the sitemaps were read"));
        }
        let loaded = if is_url(&next) {
            load(&next, client).await
        } else {
            Err("expected an absolute URL in an index of sitemaps".into())
        };
        match loaded {
            Ok(Sitemap::Pages(more)) => pages.extend(more),
            Ok(Sitemap::Index(_)) => report.add_failure("sitemap: an index within an index"),
            Err(error) => {
                eprintln!("warning: cannot use sitemap {}: {error}", next.escape_default());
                report.add_failure("sitemap not read");
            }
        }
    }
    let over = pages.len().saturating_sub(top.min(MOST));
    pages.truncate(top.min(MOST));
    report.ignored += over as u64;
    Ok(pages)
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

async fn load(place: &str, client: &Client) -> Result<Sitemap, String> {
    let packed = if is_url(place) {
        client.read(&Resource::parse(place, client.base())?, MAX_SITEMAP).await?
    } else {
        read_file(place)?
    };
    let bytes = if is_packed(&packed) { at_most(MultiGzDecoder::new(&*packed))? } else { packed };
    sitemap::parse(&bytes)
}

fn read_file(place: &str) -> Result<Vec<u8>, String> {
    at_most(File::open(place).map_err(|error| error.to_string())?)
}

fn at_most(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(MAX_SITEMAP as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_SITEMAP {
        return Err(format!("more than {MAX_SITEMAP} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8]) -> Vec<Option<String>> {
        let mut all = Vec::new();
        each_line(bytes, |line| all.push(line.map(str::to_owned))).unwrap();
        all
    }

    #[test]
    fn lines_are_bounded() {
        let long = [b"a".repeat(3 * MAX_LINE), b"\nb\r\n\xff\n\n c ".to_vec()].concat();
        assert_eq!(lines(&long), [None, Some("b".into()), None, Some(String::new()), Some("c".into())]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..=MAX_SITEMAP >> 12 {
            packed.write_all(&[b' '; 1 << 12]).unwrap();
        }
        let packed = packed.finish().unwrap();
        assert!(packed.len() < 100_000);
        assert!(at_most(MultiGzDecoder::new(&*packed)).unwrap_err().contains("more than 52428800 bytes"));
    }
}
