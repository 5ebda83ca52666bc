//! Internal: Terrace's benches.
