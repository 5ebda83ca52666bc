//! The server's own snapshot.

use super::wire::{Info, Wire};
use crate::failure::Failure;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// So long it takes at most until a clock is past what it was when it said the time in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Has the server save, and waits until its LASTSAVE has moved. One that is under way already is waited for first, for it
/// began before.
///
/// # Errors
///
/// When it did not save, or does not begin to, or could not be asked to, for longer than `patience` in which it saved nothing.
pub(super) async fn save(wire: &mut Wire, patience: Duration) -> Result<(), Failure> {
    let before = ready(wire, patience).await?;
    // Where the append-only file is being rewritten, it is done afterwards.
    let asked = wire.ask(&["BGSAVE", "SCHEDULE"]).await?;
    let mut began = !asked.map_err(|error| wire.refused("BGSAVE", &error))?.contains("scheduled");
    let mut idle = Instant::now();
    loop {
        let persistence = wire.info("persistence").await?;
        let is_saving = is_saving(&persistence);
        began |= is_saving;
        if is_saving {
            idle = Instant::now();
        } else if last_save(&persistence, wire)? > before {
            return Ok(());
        } else if began && persistence.field("rdb_last_bgsave_status") != Some("ok") {
            return Err(failed(wire, "its log says why (no room on its disk, or no memory to fork)"));
        } else if idle.elapsed() > patience {
            return Err(failed(wire, "LASTSAVE did not move within --timeout"));
        }
        sleep(PAUSE).await;
    }
}

/// LASTSAVE, once nothing is being saved and it would move: it has seconds.
async fn ready(wire: &mut Wire, patience: Duration) -> Result<u64, Failure> {
    let mut idle = Instant::now();
    loop {
        let persistence = wire.info("persistence").await?;
        let last = last_save(&persistence, wire)?;
        if is_saving(&persistence) {
            idle = Instant::now();
        } else if clock(wire).await? > last {
            return Ok(last);
        } else if idle.elapsed() > patience.max(SECOND) {
            return Err(failed(wire, "its clock is not past its LASTSAVE within --timeout: was it set back?"));
        }
        sleep(PAUSE).await;
    }
}

/// Of the server, in seconds since 1970. Before Redis 6, INFO does not have it.
async fn clock(wire: &mut Wire) -> Result<u64, Failure> {
    match wire.info("server").await?.number("server_time_usec") {
        Some(now) => Ok(now / 1_000_000),
        None => wire.time().await,
    }
}

fn is_saving(persistence: &Info) -> bool {
    persistence.field("rdb_bgsave_in_progress") == Some("1")
}

fn last_save(persistence: &Info, wire: &Wire) -> Result<u64, Failure> {
    persistence.number("rdb_last_save_time").ok_or_else(|| wire.strange(b"INFO without rdb_last_save_time"))
}

fn failed(wire: &Wire, why: &str) -> Failure {
    Failure::runtime(format_args!("Redis at {} did not save: {why}", wire.name()))
}
