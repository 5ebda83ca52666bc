//! The defects of other caches for tower, each as a promise that Terrace keeps.
//!
//! Every test names what it promises, and in its comment which defect of which crate it is about:
//! THC `tower-http-cache`, HCTS `http-cache-tower-server`, HC `http-cache` and `http-cache-tower`, HB `hitbox`,
//! ARC `axum-response-cache`, PLUS `tower-http-cache-plus`, PC `pingora-cache`, HCS `http-cache-semantics`,
//! MTC `multi-tier-cache`. The numbers without a test here concern what is not built yet:
//!
//! | defect | waits for |
//! |---|---|
//! | THC-7 | a second tier: an entry past its lifetime is promoted as stale, not as fresh |
//! | THC-8 | a second tier: a tag purge reaches both or is an error |
//! | THC-14 | a second tier: memory is filled while Redis is down |
//! | THC-17 | an operator's interface over the network; `PURGE` of `terrace proxy` is tested with the proxy |
//! | HB-5 | a second tier: after a restart a hit there fills memory |
//! | HB-6, HB-7 | Redis: expiry between two reads, lifetimes of 0, -1 and -2, a connection lost before the expiry is set |
//! | HB-8 | Redis: down at the start, each request stays within its budget |
//! | PLUS-4 | a second tier: a hit there fills memory |
//! | MTC-1 | messages between processes: none is served stale after a lost connection |
//! | MTC-2 | messages between processes: Redis is written once, and never with something older |
//! | MTC-3 | Redis: a read error is not counted as a miss |
//!
//! So do, of the classes of defects that were seen more than once: an envelope of an unknown version, and whatever
//! is about Redis or two tiers.

mod arc_plus;
mod day_one;
mod harness;
mod hb;
mod hc;
mod hcts;
mod options;
mod pc_hcs;
mod thc;
