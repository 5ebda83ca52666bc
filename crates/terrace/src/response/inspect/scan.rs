//! Going through all entries.

use super::key::EntryKey;
use crate::store::{Tag, shared_tags};
use crate::{Error, Store};

/// Goes through the entries that Redis has for a namespace, some hundreds at a time. Needs `SCAN` and `GETRANGE`.
///
/// It costs Redis a look at every key of its database, so it is for operators, and between its steps there should be
/// pauses. What is stored from its beginning to its end is found, perhaps twice; what comes or goes meanwhile may be.
#[derive(Debug)]
#[must_use = "nothing is looked at before the first step"]
pub struct Scan {
    store: Store,
    /// `None` at the end.
    cursor: Option<u64>,
    only: Option<Tag>,
}

/// What a step has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The entries, by what they are stored under.
    pub keys: Vec<EntryKey>,
    /// How many entries cannot be read, because of a seal or of another version: what they are of is not known.
    pub unreadable: u64,
    /// About how many keys of the database were looked at, those of others included.
    pub examined: u64,
}

impl Store {
    /// Goes through all entries.
    pub fn scan(&self) -> Scan {
        Scan { store: self.clone(), cursor: Some(0), only: None }
    }

    /// Goes through the entries that [`purge_url`](Store::purge_url) would purge.
    ///
    /// # Errors
    ///
    /// If `url` is neither absolute nor begins with a slash.
    pub fn scan_url(&self, url: &str) -> Result<Scan, Error> {
        let (host, path, query) = crate::store::split_url(url)?;
        Ok(Scan { only: Some(shared_tags().url(host, path, query)), ..self.scan() })
    }
}

impl Scan {
    /// The next step; `None` at the end.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis cannot be read. The step may be tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, the step is made again the next time.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(cursor) = self.cursor else {
            return Ok(None);
        };
        let page = self.store.page(cursor).await?;
        self.cursor = Some(page.next).filter(|next| *next != 0);
        let keys = page.keys.iter().filter_map(|key| EntryKey::read(key)).filter(|key| self.is_wanted(key));
        Ok(Some(Page { keys: keys.collect(), unreadable: page.unreadable, examined: page.examined }))
    }

    fn is_wanted(&self, key: &EntryKey) -> bool {
        self.only.is_none_or(|tag| key.is_of(tag))
    }
}
