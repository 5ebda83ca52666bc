//! Why a command ended without doing its work.

use std::fmt::{self, Display};
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

    /// Prints the message to standard error and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.status)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
