use super::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Hears what a server does, as `MONITOR` tells it.
#[derive(Debug)]
pub struct Monitor {
    lines: Receiver<String>,
    stream: TcpStream,
}

impl Monitor {
    pub(super) fn of(port: u16) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server runs");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit is set");
        stream.write_all(b"MONITOR\r\n").expect("the server reads");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket has two sides"));
        let mut answer = String::new();
        reader.read_line(&mut answer).expect("the server answers");
        assert_eq!(answer.trim_end(), "+OK");
        stream.set_read_timeout(None).expect("a limit is lifted");
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = reader.lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line.trim_start_matches('+').to_owned())));
        });
        Self { lines, stream }
    }

    /// What it has done since this was asked last, in order: the time in seconds since 1970, the database and the client
    /// in brackets, and the quoted words of the command.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The next that contains `text`, as [`said`](Self::said) tells it; what came before is forgotten.
    ///
    /// # Panics
    ///
    /// If it never comes.
    #[must_use]
    pub fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing was told of {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
