//! Internal: Terrace's examples.
