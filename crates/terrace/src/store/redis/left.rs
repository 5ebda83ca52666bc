//! The epochs that this process has left. None of them comes back by itself: what was invalidated in the meantime is not in
//! its record.

use crate::store::remote::Epoch;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are remembered.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Left(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    followed: Option<Epoch>,
    left: VecDeque<Epoch>,
}

impl Left {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one is followed now.
    pub(super) fn follows(&self, epoch: &Epoch) {
        let mut state = self.state();
        if state.followed.as_ref() == Some(epoch) {
            return;
        }
        if let Some(before) = state.followed.replace(epoch.clone()) {
            if state.left.len() == MOST {
                state.left.pop_front();
            }
            state.left.push_back(before);
        }
    }

    pub(super) fn has(&self, epoch: &Epoch) -> bool {
        self.state().left.contains(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_is_left_when_another_is() {
        let (left, epoch) = (Left::default(), |number: usize| Epoch::new(&number.to_be_bytes()));
        for number in [0, 0, 1, 1] {
            left.follows(&epoch(number));
        }
        assert_eq!([0, 1, 2].map(|number| left.has(&epoch(number))), [true, false, false]);
        (2..=MOST + 1).for_each(|number| left.follows(&epoch(number)));
        assert_eq!([0, 1, MOST, MOST + 1].map(|number| left.has(&epoch(number))), [false, true, true, false]);
    }
}
