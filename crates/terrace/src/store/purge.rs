use super::coherence::{Position, Receipt, Tag};
use super::l2::{Confirmed, Replicas};
use super::{Store, split_url};
use crate::Error;
use crate::observe::stats::{InvalidationResult, Kind, Scope};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

/// A purge, carried out when it is awaited.
///
/// ```
/// # async fn example(store: terrace::Store) -> Result<(), terrace::Error> {
/// let receipt = store.purge_tag("tenant:42").await?;
/// store.purge_prefix("/products/").soft().await?;
/// # let _ = receipt; Ok(()) }
/// ```
///
/// # Cancel safety
///
/// It takes effect at once when it is first polled; dropped before that, it does nothing.
#[derive(Debug)]
#[must_use = "a purge does nothing unless awaited"]
pub struct Purge {
    store: Store,
    tags: Result<Vec<Tag>, Error>,
    scope: Scope,
    soft: bool,
    replicas: Option<Replicas>,
}

impl Purge {
    /// Marks what is purged as stale instead of forbidding it: it is still served where stale responses are, while it
    /// is revalidated or when the origin fails.
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// Waits until so many replicas of the Redis server have it, at most this long: it then survives the loss of that
    /// server. [`Receipt::replicas`] says how many have it in the end.
    pub fn replicated(mut self, count: u32, wait: Duration) -> Self {
        self.replicas = Some(Replicas { count, wait });
        self
    }
}

impl IntoFuture for Purge {
    type Output = Result<Receipt, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { store, tags, scope, soft, replicas } = self;
            let (kind, observe) = (if soft { Kind::Soft } else { Kind::Hard }, &store.inner.observe);
            let tags = tags.inspect_err(|_| observe.invalidation(scope, kind, InvalidationResult::Failed))?;
            let invalidating = observe.invalidating(scope, kind);
            let Some(l2) = &store.inner.l2 else {
                let position = store.inner.mirror.invalidate(&tags, soft);
                observe.invalidation(scope, kind, InvalidationResult::Acked);
                invalidating.issued(InvalidationResult::Acked);
                observe.position(position.get());
                return Ok(Receipt { epoch: None, position, replicas: None });
            };
            let issued = invalidating.within(l2.invalidate(tags, soft, replicas)).await;
            let result = match &issued {
                Ok(Some(_)) => InvalidationResult::Acked,
                // The others are told when the tier is switched on again.
                Ok(None) | Err(_) => InvalidationResult::Pending,
            };
            observe.invalidation(scope, kind, result);
            invalidating.issued(result);
            Ok(match issued.map_err(|fault| Error::unconfirmed(store.why(fault)))? {
                Some(Confirmed { receipt, replicas }) => {
                    let position = Position::at(receipt.position);
                    Receipt { epoch: Some(receipt.epoch), position, replicas }
                }
                None => Receipt { epoch: None, position: store.inner.mirror.position(), replicas: None },
            })
        })
    }
}

/// Purges: whatever was fetched before is never served again. The cost does not depend on how much that is.
impl Store {
    fn purge(&self, scope: Scope, tag: Result<Tag, Error>) -> Purge {
        Purge { store: self.clone(), tags: tag.map(|tag| vec![tag]), scope, soft: false, replicas: None }
    }

    /// Purges everything that carries one of `tags`.
    pub(crate) fn purge_tags(&self, scope: Scope, tags: Vec<Tag>) -> Purge {
        Purge { store: self.clone(), tags: Ok(tags), scope, soft: false, replicas: None }
    }

    /// Purges every stored response of a URL: all variants, partitions and bodies. `url` is absolute
    /// (`https://example.com/a?b=c`) or begins with the path, and then means every host. The order of query
    /// parameters does not matter; the scheme neither.
    ///
    /// # Errors
    ///
    /// If `url` is neither.
    pub fn purge_url(&self, url: &str) -> Purge {
        let tag = split_url(url).map(|(host, path, query)| self.inner.mirror.tags().url(host, path, query));
        self.purge(Scope::Key, tag)
    }

    /// Purges everything that carries a tag.
    ///
    /// # Errors
    ///
    /// None while everything is in this process's memory.
    pub fn purge_tag(&self, tag: &str) -> Purge {
        self.purge(Scope::Tag, Ok(self.inner.mirror.tags().name(tag)))
    }

    /// Purges every URL whose path begins with these segments: `/a/b` means `/a/b`, `/a/b/` and `/a/b/c`, but not
    /// `/a/bc`. `prefix` is absolute (`https://example.com/a`) or begins with a slash, and then means every host.
    /// Eight segments count: more purge whatever shares the first eight.
    ///
    /// # Errors
    ///
    /// If `prefix` is neither.
    pub fn purge_prefix(&self, prefix: &str) -> Purge {
        let tag = split_url(prefix).map(|(host, path, _)| self.inner.mirror.tags().prefix(host, path));
        self.purge(Scope::Prefix, tag)
    }

    /// Purges everything stored for one [`Partition`](crate::Partition).
    ///
    /// # Errors
    ///
    /// None while everything is in this process's memory.
    pub fn purge_partition(&self, partition: &str) -> Purge {
        self.purge(Scope::Partition, Ok(self.inner.mirror.tags().partition(partition)))
    }

    /// Purges everything.
    ///
    /// # Errors
    ///
    /// None while everything is in this process's memory.
    pub fn purge_all(&self) -> Purge {
        self.purge(Scope::All, Ok(Tag::EVERYTHING))
    }

    /// Whether this process knows of everything up to a receipt, so that its memory answers with nothing older. A store
    /// that nobody has made follow the others, because it was made outside of a runtime, never does.
    pub fn has_heard(&self, receipt: &Receipt) -> bool {
        self.inner.mirror.covers(receipt.epoch.as_ref(), receipt.position)
    }
}
