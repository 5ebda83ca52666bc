use super::Store;
use super::coherence::{Position, Receipt, Tag};
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
    /// Of a store that processes share.
    shared: Option<Held>,
    ended: bool,
}

/// A change that other processes know of.
#[derive(Debug)]
struct Held {
    l2: Arc<L2>,
    token: Arc<Token>,
    renewal: JoinHandle<()>,
    epoch: remote::Epoch,
}

impl Store {
    /// Announces a change of what carries one of `tags`.
    ///
    /// # Errors
    ///
    /// If Redis did not take the announcement: nothing was changed yet, and nothing is held.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end it may leave the tags uncached for the time of a [hold](Change::HOLD).
    pub async fn begin_change(&self, tags: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Change, Error> {
        let maker = self.inner.mirror.tags();
        let tags: Vec<Tag> = tags.into_iter().map(|tag| maker.name(tag.as_ref())).collect();
        self.inner.mirror.hold(&tags);
        // From here on its drop ends it, whatever comes.
        let mut change = Change { store: self.clone(), tags, shared: None, ended: false };
        if let Some(l2) = &self.inner.l2 {
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
        let Ok(receipt) = l2.counted(L2Op::Script, l2.remote.hold(&token, &names, Self::HOLD)).await else {
            self.store.inner.mirror.release(&self.tags);
            self.ended = true;
            return Err(Error::unannounced());
        };
        let renewal = tokio::spawn(renew(Arc::clone(l2), Arc::clone(&token), names));
        self.shared = Some(Held { l2: Arc::clone(l2), token, renewal, epoch: receipt.epoch });
        Ok(())
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
        let Some(held) = &self.shared else {
            return Ok(());
        };
        let names = names(&self.tags);
        let renewed = held.l2.counted(L2Op::Script, held.l2.remote.hold(&held.token, &names, Self::HOLD)).await;
        let same = renewed.is_ok_and(|receipt| receipt.epoch == held.epoch);
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
        match self.shared.take() {
            None => Ok(self.store.end_here(&tags)),
            Some(held) => held.end(tags).await.map_err(|fault| Error::unconfirmed(self.store.why(fault))),
        }
    }
}

impl Store {
    fn end_here(&self, tags: &[Tag]) -> Receipt {
        let position = self.inner.mirror.invalidate(tags, false);
        self.inner.mirror.release(tags);
        Receipt { epoch: None, position, replicas: None }
    }
}

impl Held {
    /// In a task of its own, so that it ends even if nobody waits for that.
    async fn end(self, tags: Vec<Tag>) -> Result<Receipt, Fault> {
        tokio::spawn(self.ended(tags, ChangeResult::Committed)).await.unwrap_or(Err(Fault::Other))
    }

    async fn ended(self, tags: Vec<Tag>, result: ChangeResult) -> Result<Receipt, Fault> {
        self.renewal.abort();
        let names = names(&tags);
        let receipt = match self.l2.counted(L2Op::Script, self.l2.remote.end(&self.token, &names)).await {
            Ok(receipt) => receipt,
            Err(fault) => {
                // An invalidation is as good an end, once the hold has run out.
                self.l2.owe(super::coherence::Owed { tags, soft: false, since: self.l2.clock.now() });
                return Err(fault);
            }
        };
        self.l2.observe.change(result);
        self.l2.mirror.release_at(receipt.clone(), &tags, self.l2.clock.now());
        self.l2.wake.notify_one();
        let position = Position::at(receipt.position);
        Ok(Receipt { epoch: Some(receipt.epoch), position, replicas: None })
    }
}

async fn renew(l2: Arc<L2>, token: Arc<Token>, names: Vec<remote::TagName>) {
    loop {
        tokio::time::sleep(Change::HOLD / 3).await;
        // One that fails is followed by another before the hold runs out.
        drop(l2.counted(L2Op::Script, l2.remote.hold(&token, &names, Change::HOLD)).await);
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
        let Some(held) = self.shared.take() else {
            let _receipt = self.store.end_here(&tags);
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(held.ended(tags, ChangeResult::Dropped))),
            Err(_) => held.renewal.abort(),
        }
    }
}
