//! Which invalidations an entry has to survive.
//!
//! *Stamp before fetch, check at read.* A control table says at which **position** each tag was last invalidated. An
//! entry carries the position that was current before its fetch began; it may be served only while no tag of it has a
//! later one. So an invalidation that arrives during a fetch kills what the fetch brings, and nobody has to find
//! entries to delete them: invalidating a tag costs the same whether one entry carries it or a million.
//!
//! Alone, a process keeps the table itself ([`Mirror`]). Processes that share a store share the table, and each follows it
//! with a mirror of its own ([`poll`]); what could not be written to it is repeated ([`Outbox`]).

mod mirror;
mod outbox;
pub(super) mod poll;
mod position;
mod tag;
mod ticket;

pub(crate) use mirror::{Mirror, Standing};
pub(crate) use outbox::{Outbox, Owed};
pub(crate) use position::Position;
pub use position::Receipt;
#[cfg(feature = "redis")]
pub(crate) use tag::canonical;
pub(crate) use tag::{Tag, Tags, lower_case};
pub(crate) use ticket::Ticket;
