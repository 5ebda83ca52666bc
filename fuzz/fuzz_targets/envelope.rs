//! What is read from Redis: bytes of anybody's making, and entries as they were written, whole and damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terrace::fuzzing::{Input, decode, round_trip};

#[derive(arbitrary::Arbitrary, Debug)]
enum Found<'a> {
    Anything(&'a [u8]),
    Entry {
        key: &'a [u8],
        epoch: &'a [u8],
        numbers: [u64; 3],
        delta_ms: u32,
        tags: Vec<[u8; 16]>,
        /// Repeated, so that some compress.
        times: u8,
        bit: u32,
        payload: &'a [u8],
    },
}

fuzz_target!(|found: Found<'_>| match found {
    // Short keys, which the fuzzer finds.
    Found::Anything(bytes) => [&b""[..], b"k"].into_iter().for_each(|key| decode(key, bytes)),
    Found::Entry { key, epoch, numbers, delta_ms, tags, times, bit, payload } => {
        let payload = payload.repeat(usize::from(times).max(1));
        round_trip(&Input { key, epoch, numbers, delta_ms, tags, payload: &payload, bit: bit as usize });
    }
});
