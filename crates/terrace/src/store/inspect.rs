//! Looking at what is stored, for people.

use super::Store;
use super::l2::L2;
use super::redis::Redis;
use super::remote::{Envelope, Fault, Mark, Positions, Receipt, TagName};
use super::stock::survives;
use crate::Error;
use crate::observe::stats::RejectReason;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use super::codec::{Outline, Reject};
pub use super::redis::examine::{Examination, Sentinel, Watch};
pub(crate) use super::redis::inspect::{Outlook, Page, Server};

/// An entry as it is in the shared tier.
pub(crate) struct Seen {
    pub(crate) bytes: usize,
    /// How long it stays there.
    pub(crate) left: Duration,
    pub(crate) outline: Result<Outline, Reject>,
    pub(crate) opened: Result<Opened, Reject>,
}

/// One that could be read.
pub(crate) struct Opened {
    pub(crate) envelope: Envelope,
    pub(crate) verdict: Verdict,
    /// What decided it, if a marker did.
    pub(crate) by: Option<(TagName, Mark)>,
    pub(crate) floor: u64,
}

/// Whether it may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Current,
    /// It was invalidated softly.
    Expired,
    Rejected(RejectReason),
}

/// How often it is looked again, if the epoch ends between two answers.
const TURNS: u32 = 3;

impl Store {
    pub(super) fn parts(&self) -> Result<(&Arc<L2>, &Arc<Redis>), Error> {
        let nothing = || Error::config("nothing is shared through Redis, so there is nothing to look at".to_owned());
        self.inner.l2.as_ref().zip(self.inner.redis.get()).ok_or_else(nothing)
    }

    pub(super) fn unseen(&self, fault: Fault) -> Error {
        Error::unseen(self.why(fault).unwrap_or_default())
    }

    /// Looks at the entry of a key, and at what was invalidated since it was stamped.
    pub(crate) async fn see(&self, key: &[u8]) -> Result<Option<Seen>, Error> {
        let (l2, redis) = self.parts()?;
        for _ in 0..TURNS {
            match see(l2, redis, key).await {
                Err(Fault::Moved) => {}
                seen => return seen.map_err(|fault| self.unseen(fault)),
            }
        }
        Err(self.unseen(Fault::Moved))
    }

    /// The entries at `cursor`, from zero on.
    pub(crate) async fn page(&self, cursor: u64) -> Result<Page, Error> {
        let (_, redis) = self.parts()?;
        redis.scan(cursor).await.map_err(|fault| self.unseen(fault))
    }

    /// Looks at the server, whether or not it can be used.
    pub(crate) async fn examined(&self) -> Result<Examination, Error> {
        let (_, redis) = self.parts()?;
        redis.examine().await.map_err(Error::unseen)
    }

    /// The control record, what is around it, and the server that has it.
    pub(crate) async fn outlook(&self) -> Result<(Receipt, Outlook, Option<Server>), Error> {
        let (l2, redis) = self.parts()?;
        let asked = async { Ok((l2.remote.current().await?, redis.outlook().await?)) };
        let (now, outlook) = asked.await.map_err(|fault| self.unseen(fault))?;
        Ok((now, outlook, redis.server()))
    }
}

async fn see(l2: &L2, redis: &Redis, key: &[u8]) -> Result<Option<Seen>, Fault> {
    let now = l2.remote.current().await?;
    let looked = l2.remote.lookup(&now.epoch, now.position, redis.entry(key)).await?;
    let (Some(value), Some(left)) = (looked.entry, redis.life(key).await?) else {
        return Ok(None);
    };
    let (bytes, outline) = (value.len(), Outline::of(&value));
    let opened = match redis.open(key, value) {
        Ok(envelope) => Ok(judge(l2, envelope, &now).await?),
        Err(reject) => Err(reject),
    };
    Ok(Some(Seen { bytes, left, outline, opened }))
}

/// Checks an entry against everything that was invalidated since its stamp. An error if the epoch ends meanwhile.
async fn judge(l2: &L2, envelope: Envelope, now: &Receipt) -> Result<Opened, Fault> {
    let tags: Vec<TagName> = std::iter::once(TagName::EVERYTHING).chain(envelope.tags.iter().copied()).collect();
    let positions = l2.remote.positions(&now.epoch, &tags).await?.ok_or(Fault::Moved)?;
    let verdict = match survives(&envelope, now, &positions) {
        Ok(false) => Verdict::Current,
        Ok(true) => Verdict::Expired,
        Err(reason) => Verdict::Rejected(reason),
    };
    let by = decisive(&tags, &positions, envelope.position, verdict);
    Ok(Opened { envelope, verdict, by, floor: positions.floor })
}

/// The tag whose marker a verdict is for, and the marker.
fn decisive(tags: &[TagName], positions: &Positions, stamp: u64, verdict: Verdict) -> Option<(TagName, Mark)> {
    let later = |mark: &Mark| matches!(mark, Mark::At(at) if *at > stamp);
    let mut marks = tags.iter().zip(&positions.marks);
    let (tag, mark) = match verdict {
        Verdict::Expired => marks.find(|(_, (_, soft))| later(soft)).map(|(tag, (_, soft))| (tag, soft)),
        Verdict::Rejected(RejectReason::Marker) => {
            marks.find(|(_, (hard, _))| later(hard)).map(|(tag, (hard, _))| (tag, hard))
        }
        Verdict::Rejected(RejectReason::Held) => {
            marks.find(|(_, (hard, _))| *hard == Mark::Held).map(|(tag, (hard, _))| (tag, hard))
        }
        _ => None,
    }?;
    Some((*tag, *mark))
}
