//! What the measurements have in common: an application, its requests, and how to measure them side by side.
//!
//! `README.md` says what is measured, how, and what came out.

pub mod app;
pub mod askers;
pub mod contenders;
pub mod gets;
pub mod measure;
pub mod process;
