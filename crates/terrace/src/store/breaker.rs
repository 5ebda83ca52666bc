//! Stops asking what does not answer.

use crate::clock::Instant;
use crate::observe::Observe;
use crate::observe::stats::{BreakerName, BreakerState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A circuit breaker: **closed** it lets every call pass, **open** none, **half-open** one at a time, whose outcome
/// decides.
///
/// It opens when at least half of the last calls failed, for a time that doubles with every probe that fails. The caller
/// tells the time; each change of its state is told to [`Observe`].
#[derive(Debug)]
pub(crate) struct Breaker {
    name: BreakerName,
    longest: Duration,
    observe: Observe,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The last outcomes, the latest lowest: a one is a failure. And how many they are.
    Closed {
        outcomes: u32,
        calls: u32,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// A probe is under way, since then.
    Probing {
        since: Instant,
        pause: Duration,
    },
}

/// Outcomes that are looked at, and how few are too few to judge.
const WINDOW: u32 = 16;
const ENOUGH: u32 = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A probe whose outcome nobody tells (its request was dropped) stands in the way no longer than this.
const PROBE: Duration = Duration::from_secs(1);

const CLOSED: State = State::Closed { outcomes: 0, calls: 0 };

impl Breaker {
    /// Closed; open for `longest` at most before it tries again.
    pub(crate) fn new(name: BreakerName, longest: Duration, observe: Observe) -> Self {
        Self { name, longest, observe, state: Mutex::new(CLOSED) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.lock().name()
    }

    /// Does what may change the state, and tells of it when the lock is free again.
    fn step<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let from = state.name();
        let done = work(&mut state);
        let to = state.name();
        drop(state);
        if from != to {
            self.observe.breaker_moved(self.name, from, to);
        }
        done
    }

    /// Whether a call may be made now. One that may must be followed by [`succeeded`](Self::succeeded) or
    /// [`failed`](Self::failed).
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.step(|state| {
            let (due, pause) = match *state {
                State::Closed { .. } => return true,
                State::Open { until, pause } => (now >= until, pause),
                State::Probing { since, pause } => (now.duration_since(since) >= PROBE, pause),
            };
            if due {
                *state = State::Probing { since: now, pause };
            }
            due
        })
    }

    /// A call was answered.
    pub(crate) fn succeeded(&self) {
        self.step(|state| match state {
            State::Closed { outcomes, calls } => {
                *outcomes <<= 1;
                *calls = (*calls + 1).min(WINDOW);
            }
            State::Probing { .. } => *state = CLOSED,
            // A late answer to a call from before.
            State::Open { .. } => {}
        });
    }

    /// A call failed, or took too long.
    pub(crate) fn failed(&self, now: Instant) {
        self.step(|state| match state {
            State::Closed { outcomes, calls } => {
                *outcomes = (*outcomes << 1) | 1;
                *calls = (*calls + 1).min(WINDOW);
                let failures = (*outcomes & ((1 << WINDOW) - 1)).count_ones();
                if *calls >= ENOUGH && 2 * failures >= *calls {
                    *state = self.open(now, FIRST_PAUSE);
                }
            }
            State::Probing { pause, .. } => *state = self.open(now, *pause * 2),
            State::Open { .. } => {}
        });
    }

    /// Nobody calls any more, so there is nothing to stop; what is known of earlier calls is forgotten.
    pub(crate) fn close(&self) {
        self.step(|state| *state = CLOSED);
    }

    /// There is a sign that a call may be answered: the next one may try at once.
    pub(crate) fn hint(&self, now: Instant) {
        if let State::Open { until, .. } = &mut *self.lock() {
            *until = now;
        }
    }

    /// Shortened at random by up to a quarter, so that processes do not probe together.
    fn open(&self, now: Instant, pause: Duration) -> State {
        let pause = pause.min(self.longest);
        State::Open { until: now + pause.mul_f64(1.0 - fastrand::f64() / 4.0), pause }
    }
}

impl State {
    fn name(&self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::Probing { .. } => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    fn closed(longest: u64) -> Breaker {
        let observe = Observe::private(Clock::default(), &Config::default());
        Breaker::new(BreakerName::Data, Duration::from_millis(longest), observe)
    }

    fn opened(longest: u64) -> Breaker {
        let breaker = closed(longest);
        for _ in 0..ENOUGH {
            assert!(breaker.allows(at(0)));
            breaker.failed(at(0));
        }
        breaker
    }

    #[test]
    fn it_opens_when_half_of_the_last_calls_failed_and_not_before() {
        let breaker = closed(10_000);
        for _ in 0..100 {
            breaker.succeeded();
        }
        for failures in 1..=8 {
            assert_eq!(breaker.state(), BreakerState::Closed, "after {failures} failures");
            breaker.failed(at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.allows(at(1)));
    }

    #[test]
    fn single_failures_among_successes_never_open_it() {
        let breaker = closed(10_000);
        for _ in 0..1000 {
            breaker.succeeded();
            breaker.succeeded();
            breaker.failed(at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let breaker = opened(10_000);
        assert!(breaker.allows(at(100)));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.allows(at(101)), "the probe is under way");
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.allows(at(101)) && breaker.allows(at(101)));
    }

    #[test]
    fn each_change_of_the_state_is_told_once() {
        let breaker = opened(10_000);
        assert!(breaker.allows(at(100)) && !breaker.allows(at(101)));
        // A second probe in place of the first.
        assert!(breaker.allows(at(1_100)));
        breaker.failed(at(1_100));
        breaker.failed(at(1_100));
        assert!(breaker.allows(at(2_000)));
        breaker.succeeded();
        breaker.succeeded();
        let stats = breaker.observe.stats();
        let told = BreakerState::ALL.iter().map(|to| stats.breaker_transitions(BreakerName::Data, *to));
        assert_eq!(told.collect::<Vec<_>>(), [1, 2, 2], "closed, half-open, open");
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_the_longest() {
        let breaker = opened(1_000);
        let mut now = 100;
        for longest in [100, 200, 400, 800, 1_000, 1_000] {
            assert!(breaker.allows(at(now)), "after {longest} ms at most");
            breaker.failed(at(now));
            let next = (2 * longest).min(1_000);
            assert!(!breaker.allows(at(now + next / 2)));
            now += next;
        }
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_does_not_keep_it_half_open() {
        let breaker = opened(10_000);
        assert!(breaker.allows(at(100)));
        assert!(!breaker.allows(at(1_099)));
        assert!(breaker.allows(at(1_100)));
    }

    #[test]
    fn a_hint_lets_a_probe_out_early() {
        let breaker = opened(10_000);
        assert!(breaker.allows(at(100)));
        breaker.failed(at(100));
        assert!(!breaker.allows(at(120)));
        breaker.hint(at(120));
        assert!(breaker.allows(at(120)) && !breaker.allows(at(120)));
    }

    #[test]
    fn late_answers_do_not_close_an_open_one() {
        let breaker = opened(10_000);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
