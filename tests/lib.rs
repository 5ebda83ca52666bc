//! Internal: Terrace's tests.
