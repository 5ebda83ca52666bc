//! Follows the control record that processes share.

use crate::clock::Instant;
use crate::danger::{bell_is_lost, polls_are_held};
use crate::observe::stats::{BellDirection, BreakerState, EpochChange, L2Op, PollResult};
use crate::store::l2::L2;
use crate::store::remote::{Epoch, Fault, Polled, Receipt, Remote, Rung};
use crate::store::switches::Applied;
use std::future::{Future, pending, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// How often the server is asked whether it takes writes.
const PROBE: Duration = Duration::from_millis(1250);

/// How often it is looked for what is switched for the fleet.
const SWITCHES: Duration = Duration::from_secs(5);

/// How soon it is noticed that the tier was switched on again.
const OFF: Duration = Duration::from_millis(100);

/// Messages that come together are answered with one poll.
const GATHER: Duration = Duration::from_millis(5);

/// And those that follow closely with one in this time: under a storm of them each costs the server as much as a request.
const APART: Duration = Duration::from_millis(40);

/// Polls that follow one another at once, because each said that there is more.
const AT_ONCE: u32 = 8;

/// Polls until the store is gone.
pub(crate) fn start(l2: &Arc<L2>, runtime: &Handle) {
    let (weak, remote, wake) = (Arc::downgrade(l2), Arc::clone(&l2.remote), Arc::clone(&l2.wake));
    drop(runtime.spawn(async move {
        let (mut seen, mut apart) = (Seen::default(), None);
        while let Some(wait) = step(&weak, &mut seen).await {
            let called = async { while !is_called(&weak, &*remote, wake.notified()).await {} };
            if timeout(wait, called).await.is_ok() {
                let _ = timeout(wait, gather(apart.take())).await;
                apart = Some(Box::pin(sleep(APART)));
            }
        }
    }));
}

/// Until those that come together have come, and for `apart`.
async fn gather(apart: Option<impl Future<Output = ()>>) {
    if bell_is_lost() {
        return pending().await;
    }
    sleep(GATHER).await;
    if let Some(apart) = apart {
        apart.await;
    }
}

/// When what is asked less often than invalidations was last asked, and what came of it.
#[derive(Default)]
struct Seen {
    probed: Option<Instant>,
    switches: Option<Instant>,
    applied: Applied,
}

fn is_due(last: Option<Instant>, now: Instant, period: Duration) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= period)
}

/// Until something rings or wakes; whether there is reason to poll. Those who wait for what others store look at once.
async fn is_called(l2: &Weak<L2>, remote: &dyn Remote, wake: impl Future<Output = ()>) -> bool {
    // Who does not use the tier does not listen either: that would be a connection.
    let bell = async { if is_on(l2) { remote.bell().await } else { pending().await } };
    let rung = either(bell, wake).await;
    if let Some(l2) = l2.upgrade().filter(|_| !bell_is_lost()) {
        if rung == Some(Rung::News) {
            l2.observe.bell(BellDirection::Received);
        }
        l2.rang.notify_waiters();
    }
    rung != Some(Rung::Lease)
}

fn is_on(l2: &Weak<L2>) -> bool {
    l2.upgrade().is_some_and(|l2| l2.is_on())
}

/// Until one of two things happens; what the first said if it was that.
async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = ()>) -> Option<T> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let both = |cx: &mut Context<'_>| match one.as_mut().poll(cx) {
        Poll::Ready(said) => Poll::Ready(Some(said)),
        Poll::Pending => other.as_mut().poll(cx).map(|()| None),
    };
    poll_fn(both).await
}

/// One poll and what follows from it; how long to wait then. `None` if the store is gone.
async fn step(l2: &Weak<L2>, seen: &mut Seen) -> Option<Duration> {
    let l2 = l2.upgrade()?;
    l2.remote.set_limits(l2.settings.read_budget(), l2.settings.write_budget());
    if !l2.is_on() {
        leave(&l2);
        return Some(OFF.min(l2.settings.poll_interval()));
    }
    if polls_are_held() {
        return Some(l2.settings.poll_interval());
    }
    if !l2.mirror.is_following() {
        l2.outbox.rejoin(&l2.mirror);
        l2.observe.starting();
    }
    let now = l2.clock.now();
    if !l2.control.allows(now) {
        return Some(Duration::from_millis(50).min(l2.settings.poll_interval()));
    }
    l2.observe.max_lag(l2.settings.max_lag());
    let ended = round(&l2, seen).await;
    if ended == Err(Fault::ReadOnly) {
        l2.takes_writes.store(false, Ordering::Relaxed);
        // Before it is read again it has to take a write.
        seen.probed = None;
    }
    l2.observe.poll_ended(result(ended));
    match ended {
        Ok(()) => {
            l2.control.succeeded();
            try_data(&l2);
            pay(&l2).await;
            obey(&l2, seen).await;
        }
        Err(_) => l2.control.failed(l2.clock.now()),
    }
    l2.observe.owed(l2.outbox.pending());
    Some(l2.settings.poll_interval())
}

/// From now on this process is alone.
fn leave(l2: &L2) {
    if l2.mirror.is_following() {
        l2.mirror.follow_nobody();
    }
    // Every time: what was under way may have connected again, or failed.
    l2.remote.disconnect();
    l2.data.close();
    l2.control.close();
    l2.observe.alone();
}

fn result(ended: Result<(), Fault>) -> PollResult {
    match ended {
        Ok(()) => PollResult::Ok,
        Err(Fault::Timeout) => PollResult::Timeout,
        Err(Fault::ReadOnly | Fault::Moved) => PollResult::Refused,
        Err(_) => PollResult::Error,
    }
}

/// Reads once as look-ups do, if they are stopped: without a request nobody else finds out that they need not be.
fn try_data(l2: &Arc<L2>) {
    let now = l2.clock.now();
    l2.data.hint(now);
    if l2.data.state() == BreakerState::Closed || !l2.data.allows(now) {
        return;
    }
    let l2 = Arc::clone(l2);
    // Beside the polls, which are not to wait for it.
    drop(tokio::spawn(async move {
        let read = l2.by(l2.patience(), l2.remote.current());
        let fault = l2.counted(L2Op::Script, read).await.err();
        l2.tell_breaker(fault, (false, true));
    }));
}

async fn round(l2: &L2, seen: &mut Seen) -> Result<(), Fault> {
    let now = l2.clock.now();
    if is_due(seen.probed, now, PROBE) {
        let probe = l2.counted(L2Op::Other, l2.remote.probe()).await;
        l2.has_room.store(probe != Err(Fault::Oom), Ordering::Relaxed);
        // One without room is the right one all the same, and takes invalidations.
        let probe = if probe == Err(Fault::Oom) { Ok(()) } else { probe };
        l2.takes_writes.store(probe.is_ok(), Ordering::Relaxed);
        probe?;
        seen.probed = Some(now);
    }
    for _ in 0..AT_ONCE {
        if poll(l2).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Polls once. `false` if that brought no proof, so that another should follow at once.
async fn poll(l2: &L2) -> Result<bool, Fault> {
    let Some(followed) = l2.mirror.followed() else {
        adopt(l2).await?;
        return Ok(false);
    };
    // Dated when it is sent: what happens while the reply is on its way is not in it.
    let sent = l2.clock.now();
    match l2.counted(L2Op::Other, l2.remote.poll(&followed.epoch, followed.position)).await? {
        Polled::Changes { marks, position, floor } => {
            l2.mirror.apply(&marks, position, floor, sent);
            l2.proven.notify_waiters();
            l2.observe.proven(sent, position);
            Ok(true)
        }
        Polled::TooMany { position } => {
            l2.mirror.skip(position);
            Ok(false)
        }
        // Where it went back, another has begun.
        Polled::OtherEpoch | Polled::WentBack => {
            adopt(l2).await?;
            Ok(false)
        }
    }
}

async fn adopt(l2: &L2) -> Result<(), Fault> {
    let (before, proven) = (l2.mirror.epoch(), l2.mirror.proven_at());
    let current = l2.counted(L2Op::Script, l2.remote.current()).await?;
    let epoch = current.epoch.clone();
    // From its beginning: what has happened in it so far is not known here yet (the model's `adopted_from_the_beginning`).
    l2.mirror.adopt(Receipt { epoch: current.epoch, position: 0 });
    // The server that confirmed these may have been replaced already.
    for owed in l2.outbox.take_of_other_epochs(&epoch, l2.clock.now(), &l2.mirror) {
        drop(l2.issue(owed, None).await);
    }
    if let Some(before) = before.filter(|before| *before != epoch) {
        // In the end, for nothing waits for the name of it.
        l2.observe.epoch_changed(match reason(&before, &epoch) {
            EpochChange::Restart if was_there(l2, proven).await => EpochChange::Failover,
            reason => reason,
        });
    }
    Ok(())
}

/// Whether the server that answers now was running already when the one that was followed last proved something: then it
/// is another one that took its place, and not the same one started anew.
async fn was_there(l2: &L2, proven: Option<Instant>) -> bool {
    // What it says is rounded.
    const SECOND: Duration = Duration::from_secs(1);
    let (Some(proven), Ok(Some(uptime))) = (proven, l2.counted(L2Op::Other, l2.remote.uptime()).await) else {
        return false;
    };
    uptime.saturating_sub(SECOND) > l2.clock.now().duration_since(proven)
}

/// Why an epoch ended, as far as its name and the next one's tell: they begin with the process that the server was then,
/// and with the past that its data had.
fn reason(ended: &Epoch, begun: &Epoch) -> EpochChange {
    const PROCESS: Range<usize> = 2..22;
    const PAST: Range<usize> = 22..42;
    let same = |part: Range<usize>| {
        let of = |epoch: &Epoch| epoch.as_bytes().get(part.clone()).map(<[u8]>::to_vec);
        of(ended).is_some_and(|ended| of(begun) == Some(ended))
    };
    match (same(PROCESS), same(PAST)) {
        (true, true) => EpochChange::Lost,
        (true, false) => EpochChange::Failover,
        (false, _) => EpochChange::Restart,
    }
}

/// What cannot be read now is read the next time.
async fn obey(l2: &L2, seen: &mut Seen) {
    let now = l2.clock.now();
    if l2.settings.obeys_fleet() && is_due(seen.switches, now, SWITCHES) {
        seen.switches = Some(now);
        let _ = l2.obey_switches(&mut seen.applied).await;
    }
}

/// Repeats the invalidations that were not confirmed. Their tags are held already.
async fn pay(l2: &L2) {
    let mut owed = l2.outbox.take().into_iter();
    while let Some(one) = owed.next() {
        if l2.issue(one, None).await.is_err() {
            // It is owed again; the others would fail as well.
            owed.by_ref().for_each(|one| l2.owe(&one));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_two_epochs_tell_why_the_first_ended() {
        let epoch = |name: &str| Epoch::new(name.as_bytes());
        let (process, past) = ("0123456789abcdef0123", "fedcba9876543210fedc");
        let (other, nonce) = ("ffffffffffffffffffff", "00000000000000000000000000000000");
        let ended = epoch(&format!("\0e{process}{past}{nonce}"));
        for (begun, expected) in [
            (format!("\0e{process}{past}{other}"), EpochChange::Lost),
            (format!("\0e{process}{other}{nonce}"), EpochChange::Failover),
            (format!("\0e{other}{other}{nonce}"), EpochChange::Restart),
            (format!("\0e{other}{past}{nonce}"), EpochChange::Restart),
            ("short".to_owned(), EpochChange::Restart),
        ] {
            assert_eq!(reason(&ended, &epoch(&begun)), expected, "{begun}");
            assert_eq!(reason(&epoch(&begun), &ended), expected, "{begun}");
        }
        assert_eq!(reason(&epoch("short"), &epoch("short too")), EpochChange::Restart);
    }
}
