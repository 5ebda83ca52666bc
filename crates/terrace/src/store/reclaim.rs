//! Giving back the memory of what is not served any more.

use super::Store;
use crate::Error;
use crate::store::redis::inspect::STEP;

/// Removes the entries and leases of a namespace from Redis, some hundreds at a time, and nothing else: neither the
/// control record nor what others have there. Needs `SCAN` and `UNLINK`.
///
/// It is for operators, after [`purge_all`](Store::purge_all): that alone is what keeps everything from being served, at
/// once and in memory too, and Redis forgets entries by itself when their time is over. What is stored while this goes on
/// may be removed as well. It costs Redis a look at every key of its database, so between its steps there should be
/// pauses.
#[derive(Debug)]
#[must_use = "nothing is removed before the first step"]
pub struct Reclaim {
    store: Store,
    /// `None` at the end.
    cursor: Option<u64>,
}

/// What a step has done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reclaimed {
    /// About how many keys of the database were looked at, those of others included.
    pub examined: u64,
    /// How many keys were removed.
    pub removed: u64,
}

impl Store {
    /// Begins to remove all entries and leases.
    pub fn reclaim(&self) -> Reclaim {
        Reclaim { store: self.clone(), cursor: Some(0) }
    }
}

impl Reclaim {
    /// The next step; `None` at the end.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis did not do it. The step may be tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, the step is made again the next time.
    pub async fn next(&mut self) -> Result<Option<Reclaimed>, Error> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (_, redis) = self.store.parts()?;
        let done = redis.reclaim(cursor).await;
        let (next, removed) = done.map_err(|fault| Error::untaken(self.store.why(fault).unwrap_or_default()))?;
        self.cursor = Some(next).filter(|next| *next != 0);
        Ok(Some(Reclaimed { examined: STEP, removed }))
    }
}
