//! Messages that other programs publish: bytes of anybody's making.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| terrace::messages::message(text));
