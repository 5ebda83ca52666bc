//! What is stored: the permissions of one subject, or what was decided about one question of theirs, with the moment from
//! which on it is not used.

use super::decision::Decision;
use super::grants::Grants;
use super::principal::{Tenant, Who};
use super::{codec, key};
use crate::clock::Instant;
use crate::observe::stats::{CacheName, Feature};
use crate::store::refresh;
use crate::store::remote::Vault;
use crate::store::{Decoded, Tag, Tags, Value};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The permissions of one subject, or what an authorizer has decided.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) grants: Grants,
    /// If it is that, the set is empty.
    pub(super) decision: Option<Decision>,
    /// When their load began. They may be as old as that, and not older.
    pub(super) begun: Instant,
    /// From here on they are not used, other than where a requirement asks for it. It never moves.
    pub(super) deadline: Instant,
    /// What they take of their tenant's memory, as long as they take it.
    pub(super) shares: Vec<Share>,
    /// When somebody last set out to load them again, in nanoseconds; zero if nobody has.
    pub(super) tried: AtomicU64,
}

/// How soon facts that could not be loaded again are tried once more.
const AGAIN: Duration = Duration::from_secs(1);

impl Facts {
    /// How long they are used in all.
    pub(super) fn life(&self) -> Duration {
        self.deadline.duration_since(self.begun)
    }

    /// Whether it is time to load them again, before they end: in the last fifth of their life, the later the likelier. To
    /// one of those who ask at a time it says yes.
    #[inline]
    pub(super) fn is_due(&self, now: Instant, chance: impl FnOnce() -> f64) -> bool {
        let (life, left) = (self.life(), self.deadline.duration_since(now));
        left * 5 < life && self.takes_turn(now, |scale| refresh::is_due(left, scale, chance()))
    }

    #[cold]
    fn takes_turn(&self, now: Instant, is_due: impl FnOnce(f64) -> bool) -> bool {
        let tried = self.tried.load(Relaxed);
        let rested = now.duration_since(Instant::from_nanos(tried)) >= AGAIN;
        // Of those who come first 1 in 150 is told yes; of 20 who come evenly spread one is, but for 1 time in 500.
        rested
            && is_due(self.life().as_secs_f64() / 25.0)
            && self.tried.compare_exchange(tried, now.as_nanos(), Relaxed, Relaxed).is_ok()
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.begun)
    }

    /// Whether nobody is allowed anything by them.
    pub(super) fn allow_nothing(&self) -> bool {
        self.decision.map_or_else(|| self.grants.granted().next().is_none(), |decision| !decision.is_allow())
    }
}

/// Names by whom facts are revoked.
#[derive(Clone, Debug)]
pub(crate) enum Tagger {
    /// Of a store of this process alone.
    Alone(Tags),
    /// With each key of the ring, so that processes with neighbouring rings hear each other's revocations.
    Shared(Arc<[Arc<dyn Vault>]>),
}

impl Tagger {
    /// What the entry of somebody's facts carries, beside what every entry does.
    pub(crate) fn tags(&self, who: &Who) -> Vec<Tag> {
        let mut tags = self.tenant(&who.tenant);
        tags.extend(self.subject(who));
        tags
    }

    pub(super) fn tenant(&self, tenant: &Tenant) -> Vec<Tag> {
        match self {
            Self::Alone(tags) => vec![tags.tenant(tenant.as_str())],
            Self::Shared(vaults) => keyed(vaults, &key::of_tenant(tenant)),
        }
    }

    pub(super) fn subject(&self, who: &Who) -> Vec<Tag> {
        match self {
            Self::Alone(tags) => vec![tags.subject(who.tenant.as_str(), who.subject.as_str())],
            Self::Shared(vaults) => keyed(vaults, &key::of_subject(who)),
        }
    }
}

fn keyed(vaults: &[Arc<dyn Vault>], about: &[u8]) -> Vec<Tag> {
    vaults.iter().map(|vault| Tag::named(vault.tag(about))).collect()
}

/// Before the set itself: how old it is, and for how long it may be used, in milliseconds.
const TIMES: usize = 16;

impl Value for Facts {
    const CACHE: CacheName = CacheName::Authz;
    const IN_MEMORY: Feature = Feature::Authz;
    const SHARED: Feature = Feature::AuthzL2;

    /// For as long as they may be used without asking whether the source fails.
    fn encode(&self, now: Instant) -> Option<(Bytes, Duration)> {
        let left = self.deadline.duration_since(now);
        let told = match self.decision {
            Some(decision) => codec::encode_decision(decision).to_vec(),
            None => codec::encode(&self.grants)?,
        };
        let mut bytes = Vec::with_capacity(TIMES + told.len());
        // They are at least as old, and end no later.
        bytes.extend(u64::try_from(self.age(now).as_millis()).ok()?.checked_add(1)?.to_be_bytes());
        bytes.extend(u64::try_from(left.as_millis()).ok()?.to_be_bytes());
        bytes.extend(told);
        (!left.is_zero()).then(|| (bytes.into(), left))
    }

    fn decode(payload: &Bytes, ago: Duration, now: Instant) -> Option<Decoded<Self>> {
        let (age, rest) = payload.split_first_chunk()?;
        let (left, told) = rest.split_first_chunk()?;
        let [age, left] = [age, left].map(|bytes| Duration::from_millis(u64::from_be_bytes(*bytes)));
        let decision = codec::decode_decision(told);
        let grants = if decision.is_some() { Grants::nothing() } else { codec::decode(told)? };
        let begun = now.checked_sub(age.checked_add(ago)?)?;
        let (deadline, life) = (now + left.saturating_sub(ago), left.saturating_sub(ago));
        let bytes = grants.bytes();
        // Who has just looked there would find the same.
        let tried = AtomicU64::new(now.as_nanos());
        Some(Decoded { value: Self { grants, decision, begun, deadline, shares: Vec::new(), tried }, bytes, life })
    }
}

/// How much memory each tenant uses. What nobody uses any more is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares(Arc<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    used: Mutex<HashMap<u64, u64>>,
    /// When what has ended was last looked for, in nanoseconds.
    swept: AtomicU64,
}

impl Shares {
    fn used(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to look for what has ended and still takes some. It costs a look at everything: once in a second.
    pub(super) fn sweeps(&self, now: Instant) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let now = now.as_nanos();
        self.0.swept.fetch_update(Relaxed, Relaxed, |last| (now.saturating_sub(last) >= SECOND).then_some(now)).is_ok()
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
    use super::super::decision::DenyReason;
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

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    fn facts(begun: u64, deadline: u64) -> Facts {
        let (grants, shares, tried) = (Grants::complete(["a"]), Vec::new(), AtomicU64::new(0));
        Facts { grants, decision: None, begun: at(begun), deadline: at(deadline), shares, tried }
    }

    #[test]
    fn they_are_due_in_the_last_fifth_of_their_life_once_in_a_second() {
        let due = |facts: &Facts, now, chance| facts.is_due(at(now), || chance);
        let always = 1.0 - f64::EPSILON;
        let one = facts(10_000, 110_000);
        assert!(!due(&one, 20_000, always) && !due(&one, 90_000, always), "whatever is drawn");
        assert!(!due(&one, 90_001, 0.99), "with 1 in 150 at first");
        assert!(!due(&one, 100_000, 0.9) && due(&one, 100_000, 0.95), "and with 1 in 12 after half of it");
        assert!(!due(&one, 100_999, always) && due(&one, 101_000, always), "somebody is at it");
        assert!(due(&one, 109_999, 0.01), "and surely at its end");
        let found = Facts::decode(&one.encode(at(95_000)).unwrap().0, Duration::ZERO, at(95_000)).unwrap().value;
        assert!(!due(&found, 95_999, always) && due(&found, 96_001, always), "where it was found nothing newer was");
    }

    #[test]
    fn facts_are_nowhere_younger_and_end_nowhere_later_than_where_they_were_loaded() {
        let facts = facts(1000, 9000);
        let (bytes, life) = facts.encode(at(1250)).unwrap();
        assert_eq!(life, Duration::from_millis(7750));
        // Another process, whose clock began at another time.
        let other = Facts::decode(&bytes, Duration::from_millis(500), at(50_000)).unwrap();
        assert_eq!(other.value.age(at(50_000)), Duration::from_millis(751));
        assert_eq!((other.value.deadline, other.life), (at(57_250), Duration::from_millis(7250)));
        assert_eq!((&other.value.grants, other.value.decision), (&facts.grants, None));
        let over = Facts::decode(&bytes, Duration::from_secs(8), at(50_000)).unwrap();
        assert_eq!((over.value.deadline, over.life), (at(50_000), Duration::ZERO));
        assert!(facts.encode(at(9000)).is_none(), "what has ended is not passed on");
        assert!(Facts::decode(&bytes, Duration::from_millis(500), at(700)).is_none(), "older than this clock can say");
        assert!(Facts::decode(&bytes.slice(..15), Duration::ZERO, at(50_000)).is_none());
    }

    /// With its reason, and its life as that of permissions.
    #[test]
    fn a_decision_is_what_was_decided_and_nothing_else_is_one() {
        let mut all = Vec::new();
        for (code, decision) in (0..=255).filter_map(|code| Some((code, codec::decode_decision(&[2, code])?))) {
            let facts = Facts {
                grants: Grants::nothing(),
                decision: Some(decision),
                begun: at(1000),
                deadline: at(9000),
                shares: Vec::new(),
                tried: AtomicU64::new(0),
            };
            assert_eq!(facts.allow_nothing(), decision != Decision::Allow);
            let (bytes, life) = facts.encode(at(1250)).unwrap();
            assert_eq!((&bytes[TIMES..], life), (&[2, code][..], Duration::from_millis(7750)));
            let other = Facts::decode(&bytes, Duration::ZERO, at(50_000)).unwrap();
            assert_eq!((other.value.decision, other.value.deadline), (Some(decision), at(57_750)));
            assert_eq!(other.value.grants, Grants::nothing());
            for wrong in [&bytes[..=TIMES], &[&bytes[..], &[0]].concat()] {
                assert!(Facts::decode(&Bytes::copy_from_slice(wrong), Duration::ZERO, at(50_000)).is_none());
            }
            all.push((code, decision));
        }
        // As yesterday.
        let denies = [
            DenyReason::NotGranted,
            DenyReason::Denied,
            DenyReason::InsufficientScope,
            DenyReason::TenantMismatch,
            DenyReason::CredentialEnded,
        ];
        let denies = (0xD1..).zip(denies).map(|(code, reason)| (code, Decision::Deny(reason)));
        assert_eq!(all, [(0xA1, Decision::Allow)].into_iter().chain(denies).collect::<Vec<_>>());
    }
}
