//! Asking before everything is purged.

use crate::failure::Failure;
use crate::fleet::Fleet;
use std::io::{self, IsTerminal, Write};

/// Waits for a yes.
///
/// # Errors
///
/// When there is nobody to ask, or the answer is another one.
pub(super) fn everything(fleet: &Fleet) -> Result<(), Failure> {
    let Fleet { namespace, place, .. } = fleet;
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format_args!(
            "this purges all of namespace `{namespace}`, and nobody is there to ask; expected --yes as well"
        )));
    }
    eprint!("Purge everything in namespace `{namespace}` ({place})? [y/N] ");
    let mut answer = String::new();
    let _ = io::stderr().flush();
    io::stdin().read_line(&mut answer).map_err(Failure::runtime)?;
    match &*answer.trim().to_ascii_lowercase() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage("nothing was purged")),
    }
}
