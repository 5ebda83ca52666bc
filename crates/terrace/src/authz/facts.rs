//! What is stored: the permissions of one subject, with the moment from which on they are not used.

use super::grants::Grants;
use super::principal::{Tenant, Who};
use crate::clock::Instant;
use crate::observe::stats::{CacheName, Feature};
use crate::store::{Decoded, Tag, Tags, Value};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The permissions of one subject.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) grants: Grants,
    /// When their load began. They may be as old as that, and not older.
    pub(super) begun: Instant,
    /// From here on they are not used, other than where a requirement asks for it. It never moves.
    pub(super) deadline: Instant,
    /// What they take of their tenant's memory, as long as they take it.
    pub(super) _shares: Vec<Share>,
}

impl Facts {
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.begun)
    }
}

/// What the entry of somebody's facts carries, beside what every entry does.
pub(super) fn tags(maker: &Tags, who: &Who) -> Vec<Tag> {
    vec![tenant_tag(maker, &who.tenant), subject_tag(maker, who)]
}

pub(super) fn tenant_tag(maker: &Tags, tenant: &Tenant) -> Tag {
    maker.tenant(tenant.as_str())
}

pub(super) fn subject_tag(maker: &Tags, who: &Who) -> Tag {
    maker.subject(who.tenant.as_str(), who.subject.as_str())
}

impl Value for Facts {
    const CACHE: CacheName = CacheName::Authz;
    const IN_MEMORY: Feature = Feature::Authz;

    /// Facts leave this process sealed or not at all, and they are not sealed here.
    fn encode(&self) -> Option<(Bytes, Duration)> {
        None
    }

    fn decode(_: &Bytes, _: Duration) -> Option<Decoded<Self>> {
        None
    }
}

/// How much memory each tenant uses. What nobody uses any more is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<u64, u64>>>);

impl Shares {
    fn used(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many bytes; `None` if that is more than the limit together with what is taken already.
    pub(super) fn take(&self, whose: u64, bytes: u64, limit: u64) -> Option<Share> {
        let mut used = self.used();
        let taken = used.get(&whose).copied().unwrap_or_default().checked_add(bytes).filter(|all| *all <= limit)?;
        used.insert(whose, taken);
        Some(Share { of: self.clone(), whose, bytes })
    }
}

/// What one entry takes, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Shares,
    whose: u64,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.of.used();
        let left = used.get(&self.whose).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            used.remove(&self.whose);
        } else {
            used.insert(self.whose, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_uses_its_share_and_no_more_and_what_is_unused_is_forgotten() {
        let shares = Shares::default();
        let one = shares.take(1, 60, 100).unwrap();
        assert!(shares.take(1, 41, 100).is_none() && shares.take(1, u64::MAX, 100).is_none());
        let two = shares.take(1, 40, 100).unwrap();
        let other = shares.take(2, 100, 100).unwrap();
        drop(one);
        assert!(shares.take(1, 61, 100).is_none());
        assert!(shares.take(1, 60, 100).is_some());
        drop((two, other));
        assert!(shares.used().is_empty());
    }

    #[test]
    fn facts_do_not_leave_this_process() {
        let at = Instant::from_nanos(0);
        let facts = Facts { grants: Grants::complete(["a"]), begun: at, deadline: at, _shares: Vec::new() };
        assert!(facts.encode().is_none());
    }
}
