use super::Store;
use super::coherence::{Receipt, Tag};
use super::l2::L2;
use super::remote::{self, Fault, Token};
use crate::Error;
use crate::observe::stats::{ChangeResult, L2Op};
use std::sync::Arc;
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
/// Dropped, it ends as if it had been committed: what was not changed is fetched once more.
#[derive(Debug)]
#[must_use = "dropped, it ends at once"]
pub struct Change {
    store: Store,
    tags: Vec<Tag>,
    /// How long it lasts after its last renewal.
    hold: Duration,
    /// Of a store that processes share.
    shared: Option<Held>,
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
    /// Dropped before its end, it ends as if the change had been dropped.
    pub async fn begin_change(&self, tags: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Change, Error> {
        let maker = self.inner.mirror.tags();
        let tags = tags.into_iter().map(|tag| maker.name(tag.as_ref())).collect();
        self.begin_change_of(tags, Change::HOLD).await
    }

    /// As [`begin_change`](Self::begin_change), held for so long.
    pub(crate) async fn begin_change_of(&self, tags: Vec<Tag>, hold: Duration) -> Result<Change, Error> {
        self.inner.mirror.begin_change(&tags);
        // From here on its drop ends it, whatever comes.
        let mut change = Change { store: self.clone(), tags, hold, shared: None, ended: false };
        if let Some(l2) = self.inner.l2.as_ref().filter(|l2| l2.is_on()) {
            change.announce(l2).await?;
        }
        Ok(change)
    }
}

impl Change {
    /// How long a change is held after its last renewal: as long as the program lives it is renewed.
    pub const HOLD: Duration = Duration::from_secs(10);

    async fn announce(&mut self, l2: &Arc<L2>) -> Result<(), Error> {
        let (token, names) = (Arc::new(Token::new()), names(&self.tags));
        let held = Held { l2: Arc::clone(l2), token: Arc::clone(&token), known: None };
        let held = self.shared.insert(held);
        match l2.counted(L2Op::Script, l2.remote.hold(&token, &names, self.hold)).await {
            Ok(receipt) => {
                let renewal = tokio::spawn(renew(Arc::clone(l2), token, names, self.hold));
                held.known = Some(Known { renewal, epoch: receipt.epoch });
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

    /// Waits until no process serves what was fetched before: as long as memory may lag behind. After that, what is
    /// changed is never answered with what it was.
    pub async fn settled(&self) {
        if self.shared.is_some() {
            tokio::time::sleep(self.store.inner.settings.max_lag()).await;
        }
    }

    /// Makes sure that the change is still held: right before the transaction commits.
    ///
    /// # Errors
    ///
    /// If the announcement was lost, with the server that had it, or cannot be renewed.
    pub async fn confirm(&self) -> Result<(), Error> {
        let Some(Held { l2, token, known: Some(known) }) = &self.shared else {
            return Ok(());
        };
        if !l2.is_on() {
            return Err(Error::unannounced());
        }
        let names = names(&self.tags);
        let renewed = l2.counted(L2Op::Script, l2.remote.hold(token, &names, self.hold)).await;
        let same = renewed.is_ok_and(|receipt| receipt.epoch == known.epoch);
        if same { Ok(()) } else { Err(Error::unannounced()) }
    }

    /// Ends the change: what is fetched from now on is stored and served again, and nothing from before ever is.
    ///
    /// # Errors
    ///
    /// If Redis did not confirm it. Nothing stale is served all the same: the tags stay uncached until the end is
    /// repeated, or the hold runs out.
    pub async fn commit(mut self) -> Result<Receipt, Error> {
        self.ended = true;
        let tags = std::mem::take(&mut self.tags);
        let Some(l2) = self.store.inner.l2.clone() else {
            return Ok(self.store.end_here(&tags));
        };
        // In a task of its own, so that it ends even if nobody waits for that.
        let ended = tokio::spawn(end(l2, self.shared.take(), tags, ChangeResult::Committed)).await;
        ended.unwrap_or(Err(Fault::Other)).map_err(|fault| Error::unconfirmed(self.store.why(fault)))
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
    let Some(held) = held else {
        // Nobody else knew of it.
        return l2.issue(unsent.take(), None).await.map(|confirmed| Receipt::of(confirmed.receipt));
    };
    let receipt = l2.counted(L2Op::Script, l2.remote.end(&held.token, &names(&tags))).await?;
    l2.observe.change(result);
    l2.settle(unsent.take(), receipt.clone());
    l2.wake.notify_one();
    Ok(Receipt::of(receipt))
}

async fn renew(l2: Arc<L2>, token: Arc<Token>, names: Vec<remote::TagName>, hold: Duration) {
    loop {
        tokio::time::sleep(hold / 3).await;
        if l2.is_on() {
            // One that fails is followed by another before the hold runs out.
            drop(l2.counted(L2Op::Script, l2.remote.hold(&token, &names, hold)).await);
        }
    }
}

fn names(tags: &[Tag]) -> Vec<remote::TagName> {
    tags.iter().map(|tag| tag.name()).collect()
}

impl Drop for Change {
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
