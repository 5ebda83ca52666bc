//! Why a command ended without doing its work.

use crate::text::plain;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// A message for the person at the terminal, and the exit status that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// A mistake in the arguments or the environment that parsing alone could not see: status 2, as from the parser.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 2 }
    }

    /// The arguments were fine, the world was not: status 1.
    pub(crate) fn runtime(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 1 }
    }

    /// It could not be judged, or what judges it could not run: status 3.
    pub(crate) fn inconclusive(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 3 }
    }

    /// There are warnings, and they were to count: status 4.
    pub(crate) fn warned(message: impl Display) -> Self {
        Self { message: message.to_string(), status: 4 }
    }

    /// Prints the message to standard error and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        // Where nobody can be told, the status has to do.
        let lines: Vec<_> = self.message.lines().map(plain).collect();
        let _ = writeln!(io::stderr(), "error: {}", lines.join("\n"));
        ExitCode::from(self.status)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
