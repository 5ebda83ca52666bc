//! A timer for things that must not stand still.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Elapses when nothing moved for a while, counted only while somebody waits.
///
/// No timer exists until the first wait, so what never waits pays nothing.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, moved: false }
    }

    /// Something moved: the next wait starts from zero.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// Waits on; ready when the limit passed since the first wait after the last move.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if std::mem::take(&mut self.moved) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx)
    }
}
