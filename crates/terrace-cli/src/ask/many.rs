//! Many requests: how many at once, and how fast.

use super::{Answer, Client, Resource};
use crate::proxy::server::Shutdown;
use clap::Args;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How hard the fleet is asked.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Pace {
    /// How many requests may be under way at once.
    #[arg(long, env = "TERRACE_CONCURRENCY", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) concurrency: u32,

    /// How many requests may begin in a second.
    #[arg(long, env = "TERRACE_RATE", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// How long one request may take, from connecting to the last byte of the answer.
    #[arg(long, env = "TERRACE_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = crate::proxy::options::duration)]
    pub(crate) timeout: Duration,
}

/// Asks for each of these, in order, and tells `done` what came of it. Once it is time to end, nothing more is begun, and
/// what is under way is awaited. Returns how many were not asked for.
pub(crate) async fn ask_all<T: Send + 'static>(
    client: &Client,
    pace: Pace,
    what: Vec<(Resource, T)>,
    mut shutdown: Shutdown,
    mut done: impl FnMut(T, Answer),
) -> usize {
    let (mut waiting, mut running, mut turns) = (VecDeque::from(what), JoinSet::new(), Turns::new(pace.rate));
    loop {
        let is_room = running.len() < pace.concurrency as usize && !waiting.is_empty() && !*shutdown.borrow();
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|ended| *ended), if is_room => {}
            Some(Ok((name, answer))) = running.join_next() => done(name, answer),
            () = turns.next(), if is_room => {
                turns.taken();
                if let Some((resource, name)) = waiting.pop_front() {
                    let client = client.clone();
                    running.spawn(async move { (name, client.ask(&resource).await) });
                }
            }
            else => return waiting.len(),
        }
    }
}

/// When the next request may begin.
struct Turns {
    apart: Duration,
    next: Instant,
}

impl Turns {
    /// Turns that were missed for no longer than this are made up for.
    const SLACK: Duration = Duration::from_millis(100);

    fn new(rate: u32) -> Self {
        Self { apart: Duration::from_secs(1) / rate, next: Instant::now() }
    }

    async fn next(&self) {
        sleep_until(self.next).await;
    }

    fn taken(&mut self) {
        let earliest = Instant::now().checked_sub(Self::SLACK).unwrap_or(self.next);
        self.next = self.next.max(earliest) + self.apart;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_as_many_as_the_rate_says_and_do_not_pile_up() {
        let started = Instant::now();
        let mut turns = Turns::new(200);
        for _ in 0..201 {
            turns.next().await;
            turns.taken();
        }
        assert_eq!(started.elapsed().as_millis(), 1000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        for _ in 0..200 {
            turns.next().await;
            turns.taken();
        }
        assert!((880..=900).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}
