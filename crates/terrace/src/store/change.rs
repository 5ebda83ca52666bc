use super::Store;
use super::coherence::{Receipt, Tag};
use super::l2::L2;
use super::remote::{self, Fault, Token};
use crate::Error;
use crate::observe::OpenChange;
use crate::observe::stats::{ChangeResult, L2Op};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A change of what carries some tags, between its announcement and its end.
///
/// Meanwhile nothing that carries one of them is served or stored, in any process. A program that dies in between
/// leaves the tags uncached for [`HOLD`](Change::HOLD) and a second, not stale: use it where a missed invalidation is a
/// matter of security, such as a permission that is taken away.
///
/// ```
/// # async fn revoke() {}
/// # async fn example(store: terrace::Store) -> Result<(), terrace::Error> {
/// let change = store.begin_change(["user:42"]).await?;
/// revoke().await; // the transaction that changes the origin
/// let receipt = change.commit().await?;
/// # let _ = receipt; Ok(()) }
/// ```
///
/// Dropped without [`commit`](Change::commit) it goes on for [`HOLD`](Change::HOLD), and then ends as if it had been
/// committed: whoever drops it, such as a request whose client has left, does not know whether its transaction takes
/// effect yet. So the transaction has to have ended by then: bound it in the database, and run it with the change in a
/// task of its own, which nobody drops. Outside of a runtime it ends at once.
#[derive(Debug)]
#[must_use = "dropped, it keeps its tags uncached until it lapses"]
pub struct Change {
    /// `None` once it is somebody else's to end.
    open: Option<Open>,
}

/// What has to be ended. Dropped, it is, at once.
#[derive(Debug)]
struct Open {
    store: Store,
    tags: Vec<Tag>,
    /// How long it lasts after its last renewal.
    hold: Duration,
    /// Of a store that processes share.
    shared: Option<Held>,
    /// Counts it as open.
    counted: Option<OpenChange>,
    ended: bool,
}

/// A change that other processes know of, or may know of.
#[derive(Debug)]
struct Held {
    l2: Arc<L2>,
    token: Arc<Token>,
    /// Once they know of it.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    renewal: JoinHandle<()>,
    epoch: remote::Epoch,
    /// Whether it was not held for a while, before it was renewed.
    lapsed: Arc<AtomicBool>,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Store {
    /// Announces a change of what carries one of `tags`.
    ///
    /// While the shared tier is switched off it is announced to this process alone.
    ///
    /// # Errors
    ///
    /// If Redis did not take the announcement: change nothing, and try again.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, it has announced nothing that lasts.
    pub async fn begin_change(&self, tags: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Change, Error> {
        let maker = self.inner.mirror.tags();
        let tags = tags.into_iter().map(|tag| maker.name(tag.as_ref())).collect();
        self.begin_change_of(tags, Change::HOLD).await
    }

    /// As [`begin_change`](Self::begin_change), held for so long.
    pub(crate) async fn begin_change_of(&self, tags: Vec<Tag>, hold: Duration) -> Result<Change, Error> {
        // From here on its drop ends it, whatever comes: nobody has changed anything yet.
        let mut open = self.hold_here(tags, hold);
        if let Some(l2) = self.inner.l2.as_ref().filter(|l2| l2.is_on()) {
            open.announce(l2).await?;
        }
        Ok(Change { open: Some(open) })
    }

    /// A change that only this process knows of. Its end is for all.
    pub(crate) fn begin_change_here(&self, tags: Vec<Tag>, hold: Duration) -> Change {
        Change { open: Some(self.hold_here(tags, hold)) }
    }

    fn hold_here(&self, tags: Vec<Tag>, hold: Duration) -> Open {
        self.inner.mirror.begin_change(&tags);
        Open { store: self.clone(), tags, hold, shared: None, counted: None, ended: false }
    }
}

impl Change {
    /// How long a change is held after its last renewal: as long as the program lives it is renewed.
    pub const HOLD: Duration = Duration::from_secs(10);

    /// Counts it as open until it has ended.
    pub(crate) fn counted(mut self, counted: OpenChange) -> Self {
        if let Some(open) = &mut self.open {
            open.counted = Some(counted);
        }
        self
    }

    /// Waits until no process serves what was fetched before: as long as memory may lag behind. After that, what is
    /// changed is never answered with what it was.
    pub async fn settled(&self) {
        if let Some(Open { shared: Some(_), store, .. }) = &self.open {
            tokio::time::sleep(store.inner.settings.max_lag()).await;
        }
    }

    /// Makes sure that the change is still held: right before the transaction commits.
    ///
    /// # Errors
    ///
    /// If the announcement was lost, with the server that had it, or cannot be renewed.
    pub async fn confirm(&self) -> Result<(), Error> {
        match &self.open {
            Some(open) if !open.is_held().await => Err(Error::unannounced()),
            _ => Ok(()),
        }
    }

    /// Ends the change: what is fetched from now on is stored and served again, and nothing from before ever is.
    ///
    /// # Errors
    ///
    /// If Redis did not confirm it. Nothing stale is served all the same: the tags stay uncached until the end is
    /// repeated, or the hold runs out.
    ///
    /// # Cancel safety
    ///
    /// Once it is polled, the change ends even if nobody waits for it.
    pub async fn commit(mut self) -> Result<Receipt, Error> {
        let open = self.open.take().expect("whoever takes it has the change");
        let store = open.store.clone();
        open.end(ChangeResult::Committed).await.map_err(|fault| Error::unconfirmed(store.why(fault)))
    }

    /// Commits it after `lag`, until when what is fetched may be from before it. Meanwhile it is held, whoever waits.
    pub(crate) fn commit_after(self, lag: Duration) {
        drop(tokio::spawn(async move {
            // As long as that from now on, even if this process dies.
            self.confirm().await.ok();
            tokio::time::sleep(lag).await;
            // What fails is repeated.
            drop(self.commit().await);
        }));
    }
}

impl Open {
    async fn announce(&mut self, l2: &Arc<L2>) -> Result<(), Error> {
        let (token, names) = (Arc::new(Token::new()), names(&self.tags));
        let held = Held { l2: Arc::clone(l2), token: Arc::clone(&token), known: None };
        let held = self.shared.insert(held);
        match l2.counted(L2Op::Script, l2.remote.hold(&token, &names, self.hold)).await {
            Ok((receipt, _)) => {
                let lapsed = Arc::new(AtomicBool::new(false));
                let renewal = tokio::spawn(renew(Arc::clone(l2), (token, names), self.hold, Arc::clone(&lapsed)));
                held.known = Some(Known { renewal, epoch: receipt.epoch, lapsed });
                Ok(())
            }
            // It may have arrived: its end has to, too.
            Err(Fault::Timeout | Fault::Io | Fault::Protocol) => Err(Error::unannounced()),
            Err(_) => {
                self.store.inner.mirror.end_change(&self.tags);
                self.ended = true;
                Err(Error::unannounced())
            }
        }
    }

    /// Renews it, in Redis too if it was announced there. Whether it has been held all along.
    async fn is_held(&self) -> bool {
        let Some(Held { l2, token, known: Some(known) }) = &self.shared else {
            return true;
        };
        if !l2.is_on() {
            return false;
        }
        let names = names(&self.tags);
        let renewed = l2.counted(L2Op::Script, l2.remote.hold(token, &names, self.hold)).await;
        if renewed.as_ref().is_ok_and(|(_, is_new)| *is_new) {
            known.lapsed.store(true, Ordering::Relaxed);
        }
        renewed.is_ok_and(|(receipt, _)| receipt.epoch == known.epoch) && !known.lapsed.load(Ordering::Relaxed)
    }

    async fn end(mut self, result: ChangeResult) -> Result<Receipt, Fault> {
        self.ended = true;
        let tags = std::mem::take(&mut self.tags);
        let Some(l2) = self.store.inner.l2.clone() else {
            return Ok(self.store.end_here(&tags));
        };
        // In a task of its own, so that it ends even if nobody waits for that.
        tokio::spawn(end(l2, self.shared.take(), tags, result)).await.unwrap_or(Err(Fault::Other))
    }

    /// Ends it when its hold is over. Nobody renews it until then: what it was about may be changing still.
    async fn lapse(mut self) {
        let over = tokio::time::sleep(self.hold);
        // As long from now on, in every process.
        self.is_held().await;
        if let Some(held) = &mut self.shared {
            held.known = None;
        }
        over.await;
        // What fails is repeated.
        drop(self.end(ChangeResult::Dropped).await);
    }
}

impl Store {
    fn end_here(&self, tags: &[Tag]) -> Receipt {
        let position = self.inner.mirror.invalidate(tags, false);
        self.inner.mirror.end_change(tags);
        Receipt { epoch: None, position, replicas: None }
    }
}

/// Ends a change for all who know of it.
async fn end(l2: Arc<L2>, held: Option<Held>, tags: Vec<Tag>, result: ChangeResult) -> Result<Receipt, Fault> {
    if !l2.is_on() {
        l2.invalidate_alone(tags.clone(), false);
        l2.mirror.end_change(&tags);
        return Ok(Receipt { epoch: None, position: l2.mirror.position(), replicas: None });
    }
    // From the hold of the change to that of an invalidation.
    let unsent = l2.unsent(l2.hold(tags.clone(), false));
    l2.mirror.end_change(&tags);
    let Some(mut held) = held else {
        // Nobody else knew of it.
        return l2.issue(unsent.take(), None).await.map(|confirmed| Receipt::of(confirmed.receipt));
    };
    // What is renewed once it has ended would be held by nobody.
    held.known = None;
    let receipt = l2.counted(L2Op::Script, l2.remote.end(&held.token, &names(&tags))).await?;
    l2.observe.change(result);
    l2.settle(unsent.take(), receipt.clone());
    l2.wake.notify_one();
    Ok(Receipt::of(receipt))
}

async fn renew(
    l2: Arc<L2>,
    (token, names): (Arc<Token>, Vec<remote::TagName>),
    hold: Duration,
    lapsed: Arc<AtomicBool>,
) {
    loop {
        tokio::time::sleep(hold / 3).await;
        if l2.is_on() {
            // One that fails is followed by another before the hold runs out.
            let renewed = l2.counted(L2Op::Script, l2.remote.hold(&token, &names, hold)).await;
            if renewed.is_ok_and(|(_, is_new)| is_new) {
                lapsed.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn names(tags: &[Tag]) -> Vec<remote::TagName> {
    tags.iter().map(|tag| tag.name()).collect()
}

impl Drop for Change {
    fn drop(&mut self) {
        if let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) {
            drop(runtime.spawn(open.lapse()));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let tags = std::mem::take(&mut self.tags);
        let Some(l2) = self.store.inner.l2.clone() else {
            let _receipt = self.store.end_here(&tags);
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(end(l2, self.shared.take(), tags, ChangeResult::Dropped)));
        } else {
            l2.owe(&l2.hold(tags.clone(), false));
            l2.mirror.end_change(&tags);
        }
    }
}
