//! Sets of permissions: bytes of anybody's making, which only who has a key can put where they are read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| terrace::read_grants(bytes));
