//! As much of Redis's protocol as it takes to ask for a copy.

use crate::failure::Failure;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use terrace::{RawConnection, Store};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// No line is longer, and no text that is asked for here.
const LONGEST_LINE: usize = 4 << 10;
const LONGEST_TEXT: usize = 1 << 20;
/// So much is read at once.
const BUFFER: usize = 64 << 10;

/// A connection on which one thing is asked after the other.
pub(super) struct Wire {
    stream: BufReader<RawConnection>,
    /// How long nothing may come.
    patience: Duration,
}

impl Wire {
    /// To the primary, or to the server that is named.
    pub(super) async fn open(store: &Store, server: Option<(&str, u16)>, patience: Duration) -> Result<Self, Failure> {
        let opened = store.raw_connection(server).await;
        let connection =
            opened.map_err(|error| if error.is_config() { Failure::usage(error) } else { Failure::runtime(error) })?;
        Ok(Self { stream: BufReader::with_capacity(BUFFER, connection), patience })
    }

    pub(super) fn name(&self) -> String {
        self.stream.get_ref().server()
    }

    fn broken(&self, error: &io::Error) -> Failure {
        Failure::runtime(format_args!("the connection to Redis at {} broke: {error}", self.name()))
    }

    pub(super) async fn tell(&mut self, words: &[&str]) -> Result<(), Failure> {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(text, "${}\r\n{word}\r\n", word.len());
        }
        let patience = self.patience;
        let told = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        timeout(patience, told).await.unwrap_or_else(|_| Err(late())).map_err(|error| self.broken(&error))
    }

    /// What came, until it is [consumed](Self::consume). Never empty.
    pub(super) async fn some(&mut self) -> Result<&[u8], Failure> {
        let name = self.name();
        let read = timeout(self.patience, self.stream.fill_buf()).await.unwrap_or_else(|_| Err(late()));
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it");
        read.and_then(|bytes| if bytes.is_empty() { Err(ended()) } else { Ok(bytes) })
            .map_err(|error| Failure::runtime(format_args!("the connection to Redis at {name} broke: {error}")))
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.stream.consume(count);
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        loop {
            let some = self.some().await?;
            let end = some.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&some[..end.unwrap_or(some.len())]);
            let count = end.map_or(some.len(), |end| end + 1);
            self.consume(count);
            if line.len() > LONGEST_LINE {
                return Err(self.strange(&line[..40]));
            }
            if end.is_some() {
                return Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            }
        }
    }

    /// What the server answers to a command that is answered with a line or a text; its error as one.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<Result<String, String>, Failure> {
        self.tell(words).await?;
        let line = self.line().await?;
        let rest = line.get(1..).unwrap_or_default().to_owned();
        match line.as_bytes().first() {
            Some(b'+' | b':') => Ok(Ok(rest)),
            Some(b'-') => Ok(Err(rest)),
            Some(b'$') => self.text(&rest).await.map(Ok),
            _ => Err(self.strange(line.as_bytes())),
        }
    }

    async fn text(&mut self, length: &str) -> Result<String, Failure> {
        let length = length.parse().ok().filter(|length| *length <= LONGEST_TEXT);
        let length: usize = length.ok_or_else(|| self.strange(b"$"))?;
        let mut text = vec![0; length + 2];
        let read = timeout(self.patience, self.stream.read_exact(&mut text)).await.unwrap_or_else(|_| Err(late()));
        read.map_err(|error| self.broken(&error))?;
        text.truncate(length);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A section of INFO.
    pub(super) async fn info(&mut self, section: &str) -> Result<Info, Failure> {
        let asked = self.ask(&["INFO", section]).await?;
        asked.map(Info).map_err(|error| self.refused("INFO", &error))
    }

    /// The server's clock: TIME, without its microseconds.
    pub(super) async fn time(&mut self) -> Result<u64, Failure> {
        self.tell(&["TIME"]).await?;
        let head = self.line().await?;
        if let Some(error) = head.strip_prefix('-') {
            return Err(self.refused("TIME", error));
        }
        if head != "*2" {
            return Err(self.strange(head.as_bytes()));
        }
        // Two texts, with the length of each in a line before it.
        let mut lines = [const { String::new() }; 4];
        for line in &mut lines {
            *line = self.line().await?;
        }
        lines[1].parse().map_err(|_| self.strange(lines[1].as_bytes()))
    }

    /// The server does not permit, or not know, a command.
    pub(super) fn refused(&self, command: &str, error: &str) -> Failure {
        Failure::runtime(format_args!("Redis at {} refused {command}: {}", self.name(), crate::text::plain(error)))
    }

    pub(super) fn strange(&self, said: &[u8]) -> Failure {
        let said: String = said.escape_ascii().to_string().chars().take(80).collect();
        Failure::runtime(format_args!("{} does not answer as Redis does: {said}", self.name()))
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nothing has come for longer than --timeout")
}

/// What the server says of itself.
pub(super) struct Info(String);

impl Info {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields().find_map(|(field, value)| (field == name).then_some(value))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.trim_end().split_once(':'))
    }
}

#[cfg(test)]
impl Info {
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}
