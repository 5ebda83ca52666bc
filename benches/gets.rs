//! Engines that could hold the memory tier, with the keys and values that it has.

use crate::measure::{Contender, Meter};
use mini_moka::sync::Cache as MiniMoka;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

const ENTRIES: u32 = 10_000;

type Value = Arc<[u8; 1024]>;

/// For keys that are hashes already.
pub type Unhashed = BuildHasherDefault<AsIs>;

/// Takes the key for its hash.
#[derive(Clone, Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A key, as evenly distributed as those of a keyed hash (the finalizer of splitmix64).
pub fn key(number: u32) -> u64 {
    let mut bits = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The engines, filled.
pub fn all() -> Vec<Contender> {
    let (siphash, as_is) = (MiniMoka::new(u64::from(2 * ENTRIES)), mini_moka());
    let quick = quick_cache(2 * ENTRIES);
    fill(|key, value| {
        siphash.insert(key, Arc::clone(value));
        as_is.insert(key, Arc::clone(value));
        quick.insert(key, Arc::clone(value));
    });
    vec![
        gets("no engine", Some),
        gets("mini-moka, SipHash", move |key| siphash.get(&key)),
        gets("mini-moka, the key as its hash", move |key| as_is.get(&key)),
        gets("quick_cache, the key as its hash", move |key| quick.get(&key)),
    ]
}

fn mini_moka() -> MiniMoka<u64, Value, Unhashed> {
    MiniMoka::builder().max_capacity(u64::from(2 * ENTRIES)).build_with_hasher(Unhashed::default())
}

/// The other engine, with room for so many entries.
pub fn quick_cache<V: Clone>(room: u32) -> QuickCache<u64, V, UnitWeighter, Unhashed> {
    let (estimate, lifecycle) = (room as usize, DefaultLifecycle::default());
    QuickCache::with(estimate, room.into(), UnitWeighter, Unhashed::default(), lifecycle)
}

fn fill(insert: impl Fn(u64, &Value)) {
    for number in 0..ENTRIES {
        insert(key(number), &Arc::new([0; 1024]));
    }
}

/// Gets in an order that no prefetcher guesses.
fn gets<V: 'static>(name: &'static str, get: impl Fn(u64) -> Option<V> + 'static) -> Contender {
    let mut at = 0_u32;
    Contender::new(name, move |times, meter| {
        let first = at;
        at = at.wrapping_add(times);
        metered_gets(&get, first, times, meter)
    })
}

/// Never inlined, so that callgrind can be told to look at nothing else.
#[inline(never)]
fn metered_gets<V>(get: &impl Fn(u64) -> Option<V>, first: u32, times: u32, meter: Meter) -> u64 {
    let before = meter();
    for nth in 0..times {
        let number = first.wrapping_add(nth).wrapping_mul(7919) % ENTRIES;
        assert!(std::hint::black_box(get(key(number))).is_some(), "everything is there");
    }
    meter() - before
}
