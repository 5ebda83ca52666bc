//! What is read from Redis: bytes of anybody's making, and entries as they were written, whole and damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terrace::fuzzing::{Input, decode, round_trip};
use terrace::read_packed;

#[derive(arbitrary::Arbitrary, Debug)]
enum Found<'a> {
    Anything(&'a [u8]),
    Entry {
        key: &'a [u8],
        epoch: &'a [u8],
        numbers: [u64; 3],
        tags: Vec<[u8; 16]>,
        /// Repeated, so that some compress.
        times: u8,
        bit: u32,
        payload: &'a [u8],
    },
    /// What an envelope holds: many fields of a few bytes each, as many as are said and as are there.
    Response {
        said: [u16; 2],
        there: u16,
        field: [u8; 4],
        rest: &'a [u8],
    },
}

fn response(said: [u16; 2], there: u16, field: [u8; 4], rest: &[u8]) {
    let [number, value, len, len_high] = field;
    // Mostly right: a field of no byte or one.
    let field = match len {
        0..128 => vec![number, 0, 0],
        128..250 => vec![number, 0, 1, value],
        _ => vec![number, len_high, 1, value],
    };
    let fields = field.repeat(there.into());
    let content = u32::try_from(fields.len()).expect("it is below 2^18").to_be_bytes();
    let mut bytes = [said[0].to_be_bytes(), said[1].to_be_bytes()].concat();
    bytes.extend(content.iter().chain(&[0, 0]).chain(&fields).chain(rest));
    read_packed(&bytes);
}

fuzz_target!(|found: Found<'_>| match found {
    // Short keys, which the fuzzer finds.
    Found::Anything(bytes) => {
        [&b""[..], b"k"].into_iter().for_each(|key| decode(key, bytes));
        read_packed(bytes);
    }
    Found::Entry { key, epoch, numbers, tags, times, bit, payload } => {
        let payload = payload.repeat(usize::from(times).max(1));
        round_trip(&Input { key, epoch, numbers, tags, payload: &payload, bit: bit as usize });
    }
    Found::Response { said, there, field, rest } => {
        response(said, there, field, rest);
        // And with the number of those that are there.
        response([there, 0], there, field, rest);
    }
});
