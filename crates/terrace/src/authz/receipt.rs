//! Receipts as text, for whoever brings them back.

use super::engine::Authz;
use super::facts::Tagger;
use crate::Receipt;
use crate::store::session::{open, seal};

impl Authz {
    /// A receipt as text, to be handed to a client or another service, so that what it asks next rests on nothing from
    /// before the change. Only processes of the namespace that have one of our `AUTHZ_CACHE_KEYS` can read it or make one.
    /// `None` without Redis: nobody else could use it.
    ///
    /// Hand it out for no longer than a change takes to be known everywhere ([`revocation_bound`](Self::revocation_bound)).
    /// One from before Redis was restarted or lost its record says nothing any more, and who brings it asks the source.
    ///
    /// ```
    /// # use terrace::authz::{Authz, Consistency, perm};
    /// # fn example(authz: &Authz, receipt: &terrace::Receipt) -> Option<()> {
    /// let text = authz.seal_receipt(receipt)?;
    /// // … and in the process that it is brought to:
    /// let rule = perm("invoice:read").consistency(Consistency::AtLeast(authz.open_receipt(&text)?));
    /// # let _ = rule; Some(()) }
    /// ```
    pub fn seal_receipt(&self, receipt: &Receipt) -> Option<String> {
        match &*self.engine.tagger {
            Tagger::Alone(_) => None,
            Tagger::Shared(vaults) => seal(&**vaults.first()?, receipt),
        }
    }

    /// The receipt that somebody brought; `None` if it was not made in this namespace with one of our keys.
    pub fn open_receipt(&self, text: &str) -> Option<Receipt> {
        match &*self.engine.tagger {
            Tagger::Alone(_) => None,
            Tagger::Shared(vaults) => vaults.iter().find_map(|vault| open(&**vault, text)),
        }
    }
}
