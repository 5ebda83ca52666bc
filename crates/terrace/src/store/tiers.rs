use super::coherence::{self, Mirror, Position, Standing, Tag, Ticket};
use super::entry::{Entry, NewEntry, Owner};
use super::flight::Flights;
use super::key::Key;
use super::l1::L1;
use super::lease::{Lease, Turn};
use super::remote::{Receipt, RingState};
#[cfg(feature = "admin")]
use super::stock::Obstacle;
use super::stock::{Entered, Leaving, Shared, Stock};
use super::value::{Decoded, Value};
use crate::clock::{Clock, Instant};
use crate::config::{Flags, Settings};
use crate::danger::{Protection, is_off};
use crate::observe::stats::{BypassReason, L2Op, LookupResult, RejectReason, StoreResult, Tier};
use crate::observe::{Namespace, Observe};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The tiers of one kind of value, with what guards them.
pub(crate) struct Tiers<V> {
    l1: L1<V>,
    flights: Flights<Arc<Entry<V>>>,
    hasher: RandomState,
    settings: Settings,
    flags: Flags,
    owner: Arc<Owner>,
    stock: Option<Arc<Stock>>,
}

/// An entry that may be used.
#[derive(Debug)]
pub(crate) struct Found<V> {
    pub(crate) entry: Arc<Entry<V>>,
    /// It was invalidated softly.
    pub(crate) expired: bool,
}

/// What a look into memory found.
pub(crate) enum Memory<V> {
    /// What may be used.
    Found(Found<V>),
    /// What may be used only if nobody can be asked: it is not proven that nothing invalidated it.
    Unproven(Found<V>),
    /// What may not be used while somebody changes it, and neither may what is fetched instead.
    Held,
    Nothing,
}

/// What is in memory under a key.
pub(crate) enum Sight<V> {
    /// Memory is switched off.
    Off,
    Nothing,
    /// What may be used.
    Found(Found<V>),
    /// What may not be used, and why.
    Rejected(RejectReason, Found<V>),
}

/// What a look into the shared tier came to.
pub(crate) enum Beyond<V> {
    /// An entry, and the ticket for what may have to be fetched all the same.
    Found(Found<V>, Ticket),
    /// Nothing: what is fetched instead is stored with this ticket.
    Missed(Ticket),
    /// The same, and it would not be valid: somebody changes what it is about (no lease for a held tag).
    Held(Ticket),
    /// It does not answer. The ticket is for memory alone.
    Silent(Ticket),
}

impl<V> Sight<V> {
    /// What a request may do with it.
    pub(crate) fn into_memory(self) -> Memory<V> {
        match self {
            Self::Found(found) => Memory::Found(found),
            Self::Rejected(RejectReason::Proof, found) => Memory::Unproven(found),
            Self::Rejected(RejectReason::Held, _) => Memory::Held,
            Self::Off | Self::Nothing | Self::Rejected(..) => Memory::Nothing,
        }
    }
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Self {
        Self { entry: Arc::clone(&self.entry), expired: self.expired }
    }
}

/// How things stood before a look: first this, then the look, or what happens between is missed.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    stamp: Position,
    landings: u64,
}

/// What a glance into memory found.
pub(crate) enum Glance<V> {
    /// Something that may be used.
    Found(Found<V>),
    /// Something that may not.
    Unusable,
    /// Nothing.
    Absent,
}

/// A value to be stored.
pub(crate) struct Fill<V> {
    pub(crate) value: V,
    /// What it holds outside of itself.
    pub(crate) bytes: usize,
    pub(crate) tags: Vec<Tag>,
    /// After this time nothing can be done with it.
    pub(crate) life: Duration,
    pub(crate) namespace: Namespace,
}

impl<V: Value> Tiers<V> {
    pub(super) fn new(max_bytes: u64, settings: Settings, owner: Owner, stock: Option<Arc<Stock>>) -> Self {
        Self {
            l1: L1::new(max_bytes),
            flights: Flights::new(),
            hasher: RandomState::new(),
            flags: settings.flags(),
            settings,
            owner: Arc::new(owner),
            stock,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }

    pub(crate) fn observe(&self) -> &Observe {
        &self.owner.observe
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.owner.clock
    }

    pub(crate) fn mirror(&self) -> &Mirror {
        &self.owner.mirror
    }

    /// How things stand before a look for the key of this hash.
    #[inline]
    pub(crate) fn before(&self, hash: u64) -> Before {
        Before { stamp: self.mirror().position(), landings: self.flights.landings(hash) }
    }

    /// Whether a flight of the key of this hash has landed since.
    pub(crate) fn has_landed_since(&self, before: Before, hash: u64) -> bool {
        self.flights.landings(hash) != before.landings
    }

    pub(crate) fn flights(&self) -> &Flights<Arc<Entry<V>>> {
        &self.flights
    }

    /// The hash of an encoded key. Keyed at random, so that nobody can choose keys that collide.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Looks into memory without waiting, counting or logging anything.
    #[inline]
    pub(crate) fn glance(&self, hash: u64, key: &[u8], now: Instant) -> Glance<V> {
        if !self.flags.is_on(V::IN_MEMORY) || !self.is_proven(now) {
            return Glance::Unusable;
        }
        let Some(entry) = self.l1.get(hash) else {
            return Glance::Absent;
        };
        if entry.key() != key || entry.is_over(now) {
            return Glance::Unusable;
        }
        match entry.standing() {
            Standing::Current => Glance::Found(Found { entry, expired: false }),
            Standing::Expired => Glance::Found(Found { entry, expired: true }),
            Standing::Held | Standing::Dead => Glance::Unusable,
        }
    }

    /// As [`glance`](Self::glance), where it does not matter why there is nothing.
    #[inline]
    pub(crate) fn peek(&self, hash: u64, key: &[u8], now: Instant) -> Option<Found<V>> {
        match self.glance(hash, key, now) {
            Glance::Found(found) => Some(found),
            Glance::Unusable | Glance::Absent => None,
        }
    }

    /// Whether what is known about invalidations is recent enough for memory to be believed.
    #[inline]
    pub(crate) fn is_proven(&self, now: Instant) -> bool {
        self.mirror().is_proven(now, self.settings.max_lag())
    }

    /// Whether memory knows of everything that a receipt is for.
    pub(crate) fn covers(&self, receipt: &coherence::Receipt) -> bool {
        self.mirror().covers(receipt.epoch.as_ref(), receipt.position)
    }

    /// The ticket for a key that a glance found absent, with how things stood before it.
    pub(crate) fn ticket_for_absent(&self, key: Key, before: Before, now: Instant) -> Ticket {
        self.observe().lookup(Tier::L1, LookupResult::Miss);
        Ticket { key, stamp: before.stamp, asked: now, shared: None }
    }

    /// Whether an entry that was found before would be found again, and is current.
    #[inline]
    pub(crate) fn is_usable(&self, entry: &Entry<V>, key: &[u8], now: Instant) -> bool {
        self.flags.is_on(V::IN_MEMORY)
            && self.is_proven(now)
            && entry.is_inside()
            && !entry.is_over(now)
            && entry.key() == key
            && entry.standing() == Standing::Current
    }

    /// The ticket for a key, without a look into memory, which is behind what the request knows.
    pub(crate) fn ticket(&self, key: Key, now: Instant) -> Ticket {
        self.observe().lookup(Tier::L1, LookupResult::Skipped);
        Ticket { key, stamp: self.mirror().position(), asked: now, shared: None }
    }

    /// Looks for `key` in memory, and gives the right to fill it. Counts what it finds.
    pub(crate) fn lookup(&self, key: Key, now: Instant) -> (Memory<V>, Ticket) {
        // First the stamp, then the look: what is fetched because nothing was found is newer than its stamp.
        let stamp = self.mirror().position();
        let found = self.look(&key, now);
        (found, Ticket { key, stamp, asked: now, shared: None })
    }

    /// What is in memory under a key, without counting or forgetting anything.
    pub(crate) fn sight(&self, key: &Key, now: Instant) -> Sight<V> {
        if !self.flags.is_on(V::IN_MEMORY) {
            return Sight::Off;
        }
        // First the proof, then what it vouches for.
        let proven = self.is_proven(now);
        let Some(entry) = self.l1.get(key.hash()) else {
            return Sight::Nothing;
        };
        let standing = entry.standing();
        let found = Found { entry, expired: standing == Standing::Expired };
        let reason = if found.entry.key() != key.bytes() {
            RejectReason::Key
        } else if standing == Standing::Held {
            RejectReason::Held
        } else if standing == Standing::Dead {
            RejectReason::Marker
        } else if found.entry.is_over(now) {
            RejectReason::Expired
        } else if proven {
            return Sight::Found(found);
        } else {
            RejectReason::Proof
        };
        Sight::Rejected(reason, found)
    }

    fn look(&self, key: &Key, now: Instant) -> Memory<V> {
        let sight = self.sight(key, now);
        self.account_for(key, &sight);
        sight.into_memory()
    }

    /// Counts what was seen, and forgets what will never be of use.
    fn account_for(&self, key: &Key, sight: &Sight<V>) {
        let observe = self.observe();
        let (reason, found) = match sight {
            Sight::Found(_) => return,
            Sight::Off => return observe.lookup(Tier::L1, LookupResult::Skipped),
            Sight::Nothing => return observe.lookup(Tier::L1, LookupResult::Miss),
            Sight::Rejected(reason, found) => (*reason, found),
        };
        observe.lookup(Tier::L1, LookupResult::Rejected);
        observe.rejected(Tier::L1, reason);
        if reason == RejectReason::Marker {
            found.entry.is_invalidated();
        }
        if matches!(reason, RejectReason::Marker | RejectReason::Expired) {
            self.l1.remove(key.hash());
        }
    }

    /// The key of what is in memory under a hash.
    #[cfg(feature = "admin")]
    pub(crate) fn key_at(&self, hash: u64) -> Option<Key> {
        self.l1.get(hash).map(|entry| Key::new(hash, entry.key()))
    }

    /// Why the tier that processes share would not be asked now, if it would not.
    #[cfg(feature = "admin")]
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match &self.stock {
            Some(stock) => stock.obstacle(),
            None => Some(Obstacle::NotShared),
        }
    }

    /// Whether what the tier that processes share says now counts.
    #[cfg(feature = "admin")]
    pub(crate) async fn is_believed(&self) -> bool {
        match &self.stock {
            Some(stock) => stock.is_believed().await,
            None => false,
        }
    }

    /// Why the tier that processes share does not answer now, if that is nobody's choice.
    pub(crate) fn silence(&self) -> Option<BypassReason> {
        self.stock.as_ref().and_then(|stock| stock.silence())
    }

    /// Whether there are other processes that this one does not follow, for the tier is switched off: what they invalidate
    /// is not known here.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.stock.is_some() && !self.mirror().is_following()
    }

    /// Says in the shared tier which keys this process has. `None` if nobody answers.
    pub(crate) async fn join_ring(&self, fingerprints: &[String]) -> Option<RingState> {
        let l2 = &self.stock.as_ref()?.l2;
        l2.counted(L2Op::Script, l2.remote.join_ring(fingerprints)).await.ok()
    }

    /// Whether there is a tier that processes share.
    pub(crate) fn is_shared(&self) -> bool {
        self.stock.is_some()
    }

    /// What was found before, if it would be found again: what was invalidated since answers nobody, whatever else fails.
    /// Without proof it has to be recent, as for any other look while nobody can be asked.
    pub(crate) fn still(&self, found: Found<V>, now: Instant) -> Option<Found<V>> {
        if !self.is_proven(now) && !self.is_recent(&found.entry, now) {
            return None;
        }
        match found.entry.standing() {
            Standing::Held | Standing::Dead => None,
            standing => Some(Found { expired: standing == Standing::Expired, ..found }),
        }
    }

    /// The ticket for a response that keeps the content of `entry`, of which nothing proves that it was there when
    /// `ticket` was taken: it is stamped no later than that entry, and shared only if that makes no difference.
    pub(crate) fn keeping(&self, ticket: Ticket, entry: &Entry<V>) -> Ticket {
        // Raises its stamp as far as nothing known now forbids.
        let _ = entry.standing();
        let stamp = entry.checked();
        let followed = ticket.shared.as_ref().is_none_or(|shared| self.mirror().local(shared) == Some(ticket.stamp));
        if followed && stamp >= ticket.stamp {
            return ticket;
        }
        Ticket { stamp: stamp.min(ticket.stamp), shared: None, ..ticket }
    }

    /// Until when a request that begins to ask the shared tier may wait for its answers.
    pub(crate) fn patience(&self) -> Instant {
        self.stock.as_ref().map_or_else(|| self.clock().now(), |stock| stock.l2.patience())
    }

    /// Looks into the shared tier, until then, for what memory does not have, and puts what it finds into memory. `tags`
    /// are those that the entry carries without being told. `prepare` sees what is found before it is
    /// used.
    pub(crate) async fn look_beyond(
        &self,
        ticket: Ticket,
        (tags, namespace): (&[Tag], Namespace),
        until: Instant,
        prepare: impl FnOnce(&mut Decoded<V>),
    ) -> Beyond<V> {
        let Some(stock) = &self.stock else {
            return Beyond::Missed(ticket);
        };
        match stock.lookup(ticket.key.bytes(), tags, until).await {
            Shared::Silent => Beyond::Silent(ticket),
            Shared::Missed(stamp) => Beyond::Missed(self.stamped(ticket, stamp)),
            Shared::Held(stamp) => Beyond::Held(self.stamped(ticket, stamp)),
            Shared::Found(entered) => {
                let Entered { payload, tags, stamp, now, resident, expired } = entered;
                let own = self.stamped(ticket.for_key(ticket.key.clone()), stamp);
                let ticket = self.stamped(ticket, now);
                let Some(mut decoded) = V::decode(&payload, resident, self.clock().now()) else {
                    self.observe().lookup(Tier::L2, LookupResult::Rejected);
                    self.observe().rejected(Tier::L2, RejectReason::Schema);
                    return Beyond::Missed(ticket);
                };
                prepare(&mut decoded);
                let Decoded { value, bytes, life } = decoded;
                let fill = Fill { value, bytes, tags, life, namespace };
                // What is of no use later takes no place from what is there.
                let entry = if life.is_zero() { self.entry(own, fill) } else { self.admit(own, fill) };
                // An invalidation of this process may be on its way there.
                let (reason, beyond) = match entry.standing() {
                    Standing::Held => (RejectReason::Held, Beyond::Held(ticket)),
                    Standing::Dead => (RejectReason::Marker, Beyond::Missed(ticket)),
                    Standing::Current | Standing::Expired => return Beyond::Found(Found { entry, expired }, ticket),
                };
                self.observe().lookup(Tier::L2, LookupResult::Rejected);
                self.observe().rejected(Tier::L2, reason);
                beyond
            }
        }
    }

    /// Whether it is this process's turn to fetch what `ticket` is for, if the shared tier says so until then.
    pub(crate) async fn turn(&self, ticket: &Ticket, until: Instant) -> Turn {
        match &self.stock {
            Some(stock) if ticket.shared.is_some() => stock.l2.turn(ticket.key.shared_bytes(), until).await,
            _ => Turn::Nobodys,
        }
    }

    /// Tells when another process may have stored something, as far as messages arrive.
    pub(crate) fn rang(&self) -> Arc<Notify> {
        self.stock.as_ref().map(|stock| Arc::clone(&stock.l2.rang)).unwrap_or_default()
    }

    /// With the stamp of the shared tier, and what it is here.
    fn stamped(&self, ticket: Ticket, stamp: Receipt) -> Ticket {
        // Of an epoch that is not followed here it is not known: the older stamp is on the safe side.
        let here = self.mirror().local(&stamp).unwrap_or(ticket.stamp);
        Ticket { stamp: here, shared: Some(stamp), ..ticket }
    }

    /// For what is fetched without a look into the shared tier, which can be stored there all the same: with the stamp that
    /// the last poll told. A look would tell a later one, so it is safe.
    pub(crate) fn as_told(&self, ticket: Ticket) -> Ticket {
        match self.mirror().followed() {
            Some(stamp) if self.stock.is_some() => self.stamped(ticket, stamp),
            _ => ticket,
        }
    }

    /// Whether an entry that is not proven may answer while nobody can be asked: the last proof, or the request that it
    /// was fetched for, is recent.
    pub(crate) fn is_recent(&self, entry: &Entry<V>, now: Instant) -> bool {
        let last = self.mirror().proven_at().map_or(entry.asked(), |proven| proven.max(entry.asked()));
        now.duration_since(last) <= self.settings.degraded_max()
    }

    /// Checks a value that another request, which came at `begun`, fetched, for one that came at `asked`. Without proof
    /// that nothing invalidated it (the model's `joins_check`), it has to be fetched lately enough.
    pub(crate) fn accept(&self, entry: Arc<Entry<V>>, begun: Instant, asked: Instant) -> Option<Found<V>> {
        if !self.is_proven(asked) && asked.duration_since(begun) > self.settings.max_lag() {
            return None;
        }
        match entry.standing() {
            Standing::Held | Standing::Dead => None,
            standing => Some(Found { entry, expired: standing == Standing::Expired }),
        }
    }

    /// Whether an entry was not fetched for a request that came at `begun`, and nothing proves at `asked` that it is valid.
    pub(crate) fn is_unproven(&self, entry: &Entry<V>, begun: Instant, asked: Instant) -> bool {
        entry.inserted() < begun && !self.is_proven(asked)
    }

    /// Stores what was fetched with `ticket`, in the shared tier too. The entry is returned for those who waited for it,
    /// stored or not.
    pub(crate) fn fill(&self, ticket: Ticket, fill: Fill<V>) -> Arc<Entry<V>> {
        self.fill_for_all(ticket, fill, None)
    }

    /// As [`fill`](Self::fill), for other processes that wait.
    pub(crate) fn fill_for_all(&self, ticket: Ticket, fill: Fill<V>, lease: Option<Lease>) -> Arc<Entry<V>> {
        let ticket = if is_off(Protection::StampBeforeFetch) { self.late(ticket) } else { ticket };
        self.tell(&ticket, &fill, lease);
        self.admit(ticket, fill)
    }

    /// Stores something for other processes alone, of which some may wait.
    pub(crate) fn tell(&self, ticket: &Ticket, fill: &Fill<V>, lease: Option<Lease>) {
        if let (Some(stock), Some(stamp)) = (&self.stock, &ticket.shared)
            && let Some((payload, life)) = fill.value.encode(self.clock().now())
        {
            let (key, tags, stamp) = (ticket.key.shared_bytes(), fill.tags.clone(), stamp.clone());
            stock.store(Leaving { key, payload, tags, stamp, life: life.min(fill.life), lease });
        }
    }

    /// As if it had been taken after the fetch: what the protection keeps from happening.
    fn late(&self, ticket: Ticket) -> Ticket {
        match self.mirror().followed() {
            Some(now) if ticket.shared.is_some() => self.stamped(ticket, now),
            _ => Ticket { stamp: self.mirror().position(), ..ticket },
        }
    }

    /// An entry that is not in memory.
    pub(crate) fn entry(&self, ticket: Ticket, fill: Fill<V>) -> Arc<Entry<V>> {
        let Ticket { key, stamp, asked, shared: _ } = ticket;
        let new = NewEntry {
            value: fill.value,
            value_bytes: fill.bytes,
            key,
            tags: fill.tags,
            stamp,
            asked,
            life: fill.life,
            namespace: fill.namespace,
        };
        Arc::new(Entry::new(new, Arc::clone(&self.owner)))
    }

    /// Takes an entry into memory alone.
    pub(crate) fn admit(&self, ticket: Ticket, fill: Fill<V>) -> Arc<Entry<V>> {
        let hash = ticket.key.hash();
        let entry = self.entry(ticket, fill);
        let result = if !self.flags.is_on(V::IN_MEMORY) {
            StoreResult::Skipped
        } else if entry.standing() == Standing::Dead {
            StoreResult::Raced
        } else if self.l1.insert(hash, Arc::clone(&entry)) {
            StoreResult::Ok
        } else {
            StoreResult::TooLarge
        };
        self.observe().stored(Tier::L1, result);
        entry
    }

    /// Whether an entry is in memory, may be used and is worth `keeping`; it is forgotten if not.
    pub(crate) fn keep_if(&self, hash: u64, keeping: impl Fn(&Entry<V>) -> bool) -> bool {
        let Some(entry) = self.l1.get(hash) else {
            return false;
        };
        let dead = entry.standing() == Standing::Dead;
        if !dead && keeping(&entry) {
            return true;
        }
        if dead {
            entry.is_invalidated();
        }
        entry.is_removed();
        self.l1.remove(hash);
        false
    }

    /// Forgets with what nothing can be done any more, before the engine needs its room. Looks at all entries.
    pub(crate) fn forget_what_is_over(&self, now: Instant) {
        for hash in self.l1.over(now) {
            // Somebody may have stored anew what was over.
            if self.l1.get(hash).is_some_and(|entry| entry.is_over(now)) {
                self.l1.remove(hash);
            }
        }
    }

    /// Forgets one entry.
    pub(crate) fn remove(&self, key: &Key) {
        if let Some(entry) = self.l1.get(key.hash()).filter(|entry| entry.key() == key.bytes()) {
            entry.is_removed();
            self.l1.remove(key.hash());
        }
    }

    /// Invalidates `tags` for a request whose own response may be stored, which is valid after the invalidation that it
    /// causes. `None` if it may not: somebody else has invalidated what carries `held` meanwhile, or what others did is
    /// not known here.
    pub(crate) fn superseding(&self, ticket: Ticket, tags: &[Tag], held: &[Tag]) -> Option<Ticket> {
        if self.stock.is_some() {
            self.invalidate(tags, false);
            return None;
        }
        ticket.superseding(self.mirror(), tags, held)
    }

    /// Invalidates everything that carries one of `tags`.
    ///
    /// Here it has taken effect when this returns; elsewhere it is under way then.
    pub(crate) fn invalidate(&self, tags: &[Tag], soft: bool) {
        match &self.stock {
            Some(stock) => stock.l2.invalidate_soon(tags.to_vec(), soft),
            None => self.observe().position(self.mirror().invalidate(tags, soft).get()),
        }
    }
}
