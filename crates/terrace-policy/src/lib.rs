//! The rules of HTTP caching as pure functions.
