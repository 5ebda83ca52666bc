//! Looking at what is in Redis, for people. Nothing here is on a request's way.

use super::Redis;
use super::connect::{Status, section};
use super::facts::{ServerFacts, Warning};
use super::link::Link;
use super::pool::Pool;
use super::reply::{self, FLOOR, Misread, Reading};
use super::settings::Address;
use crate::store::codec::{Front, Reject};
use crate::store::remote::Format;
use crate::store::remote::{Envelope, Fault};
use bytes::Bytes;
use redis::{Cmd, Pipeline, Value, cmd};
use std::sync::Arc;
use std::time::Duration;

/// How many names a step looks at.
pub(crate) const STEP: u64 = 500;
/// Where the number of a cluster's node is in a cursor, above the node's own.
const NODE: u32 = 48;
const OWN: u64 = (1 << NODE) - 1;
/// So much of an entry has its key, unless that is uncommonly long.
const FRONT: usize = 1024;

/// A step through all entries.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where the next step begins; zero after the last.
    pub(crate) next: u64,
    /// About how many names of the database were looked at.
    pub(crate) examined: u64,
    pub(crate) keys: Vec<Vec<u8>>,
    /// Entries whose keys cannot be read here, but perhaps by another process.
    pub(crate) unreadable: u64,
}

/// The control record of the namespace, and what is around it. What the user may not ask is `None`.
#[derive(Debug)]
pub(crate) struct Outlook {
    pub(crate) floor: u64,
    pub(crate) markers: u64,
    /// Open changes, counted once for each tag.
    pub(crate) changes: u64,
    pub(crate) listeners: Option<u64>,
    /// Of the whole database; of a cluster, of the node that has the control record.
    pub(crate) keys: Option<u64>,
    pub(crate) used_memory: Option<u64>,
}

/// What the server says about itself.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) version: Option<String>,
    pub(crate) replicas: u32,
    /// Zero is no limit.
    pub(crate) max_memory: u64,
    pub(crate) policy: Option<String>,
    pub(crate) warnings: Vec<Warning>,
}

impl Redis {
    /// Reads what was found under a key, and says exactly why if it cannot.
    pub(crate) fn open(&self, key: &[u8], value: Bytes) -> Result<Envelope, Reject> {
        self.open.codec.decode(key, value)
    }

    /// What the entry of a key is called, and how long it may be.
    pub(crate) fn entry(&self, key: &[u8]) -> (Vec<u8>, usize) {
        (self.open.name(key), self.open.max_bytes())
    }

    /// The server that the last connection was made to.
    pub(crate) fn server(&self) -> Option<Server> {
        let status = self.status();
        match &*status.borrow() {
            Status::Up(facts) => Some(Server::of(facts)),
            _ => None,
        }
    }

    /// The entries at `cursor`. All that are there from the first step to the last are found, some of them twice.
    pub(crate) async fn scan(&self, cursor: u64) -> Result<Page, Fault> {
        let (next, names) = self.scan_names(cursor, &self.names.all_entries()).await?;
        let mut page = Page { next, examined: STEP, keys: Vec::with_capacity(names.len()), unreadable: 0 };
        let mut longer = Vec::new();
        for (name, front) in names.iter().zip(self.fronts(names.iter().map(|name| (name, FRONT))).await?) {
            if let Some(len) = self.take(&mut page, name, front.as_deref()) {
                longer.push((name, len));
            }
        }
        if !longer.is_empty() {
            for ((name, _), front) in longer.iter().zip(self.fronts(longer.iter().copied()).await?) {
                self.take(&mut page, name, front.as_deref());
            }
        }
        Ok(page)
    }

    pub(super) async fn scan_names(&self, cursor: u64, pattern: &str) -> Result<(u64, Vec<Vec<u8>>), Fault> {
        let pools = self.pools();
        let Some(entries) = &pools.entries else {
            let mut scan = Pipeline::with_capacity(1);
            scan.add_command(scan_from(cursor, pattern));
            return self.ask(&pools.reads, scan, |replies| scanned(reply::only(replies)?)).await;
        };
        // One node of a cluster after the other.
        let (node, own) = (cursor >> NODE, cursor & OWN);
        let primaries = self.primaries(&pools.reads).await?;
        let at = usize::try_from(node).ok().and_then(|node| primaries.get(node)).ok_or(Fault::Moved)?;
        let request = |link: Link| {
            let (at, scan) = (at.clone(), scan_from(own, pattern));
            async move { link.connection().send_to(&at, scan).await }
        };
        let (next, names) = entries.call(self.budgets.read.get(), request, scanned).await?;
        let is_last = node + 1 == primaries.len() as u64;
        match next {
            0 if is_last => Ok((0, names)),
            0 => Ok(((node + 1) << NODE, names)),
            next if next > OWN => Err(Fault::Protocol),
            next => Ok((node << NODE | next, names)),
        }
    }

    /// The nodes of a cluster that have slots, always in the same order.
    async fn primaries(&self, reads: &Pool) -> Result<Vec<Address>, Fault> {
        let mut slots = Pipeline::with_capacity(1);
        slots.cmd("CLUSTER").arg("SLOTS");
        let mut all = self.ask(reads, slots, |replies| owners(reply::only(replies)?)).await?;
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The first bytes of entries, as many as are asked for.
    async fn fronts(&self, names: impl Iterator<Item = (&Vec<u8>, usize)>) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let (pools, mut all) = (self.pools(), Vec::new());
        for (name, len) in names {
            let mut range = cmd("GETRANGE");
            range.arg(name).arg(0).arg(len - 1);
            all.push(range);
        }
        // In a cluster each may be on another node, and nodes have no pipeline in common.
        let (pool, at_once) = pools.entries.as_ref().map_or((&pools.reads, all.len()), |entries| (entries, 1));
        let mut found = Vec::with_capacity(all.len());
        for some in all.chunks(at_once.max(1)) {
            let mut pipe = Pipeline::with_capacity(some.len());
            for range in some {
                pipe.add_command(range.clone());
            }
            found.extend(
                self.ask(pool, pipe, |replies| replies.into_iter().map(front).collect::<Reading<Vec<_>>>()).await?,
            );
        }
        Ok(found)
    }

    /// Takes the key of an entry. How many bytes that needs, if more than these.
    fn take(&self, page: &mut Page, name: &[u8], front: Option<&[u8]>) -> Option<usize> {
        // Nothing is left of what expired meanwhile, and what is no text was not stored by a cache.
        let front = front.filter(|front| !front.is_empty())?;
        match self.open.codec.key_in(front) {
            // One that is under the wrong name is of no use to anybody.
            Ok(Front::Key(key)) if self.names.entry(&key) == name => page.keys.push(key),
            Ok(Front::Longer(len)) if len > front.len() && front.len() == FRONT => return Some(len),
            Err(Reject::Version | Reject::Unopened) => page.unreadable += 1,
            // What its own lock or key does not fit is sealed by a key of the same id elsewhere, or broken.
            Ok(_) | Err(_) if is_sealed(front) => page.unreadable += 1,
            Ok(_) | Err(_) => {}
        }
        None
    }

    /// How long an entry is still kept, if it is there.
    pub(crate) async fn life(&self, key: &[u8]) -> Result<Option<Duration>, Fault> {
        let (pools, mut life) = (self.pools(), Pipeline::with_capacity(1));
        life.cmd("PTTL").arg(self.names.entry(key));
        let read = |replies| reply::life(reply::only(replies)?);
        self.ask(pools.entries.as_ref().unwrap_or(&pools.reads), life, read).await
    }

    pub(crate) async fn outlook(&self) -> Result<Outlook, Fault> {
        let control = &self.names.control;
        let mut all = Pipeline::with_capacity(6);
        all.cmd("ZSCORE").arg(control).arg(FLOOR).cmd("ZCARD").arg(control);
        all.cmd("ZCOUNT").arg(control).arg(reply::HOLDS).arg("(inf");
        all.cmd("PUBSUB").arg("NUMSUB").arg(&self.names.bell).cmd("DBSIZE").cmd("INFO").arg("memory");
        self.ask(&self.pools().reads, all, outlook).await
    }

    async fn ask<T>(&self, pool: &Pool, all: Pipeline, read: impl Fn(Vec<Value>) -> Reading<T>) -> Result<T, Fault> {
        pool.send(self.budgets.read.get(), all, read).await
    }
}

impl Server {
    fn of(facts: &Arc<ServerFacts>) -> Self {
        Self {
            version: facts.version.map(|(major, minor)| format!("{major}.{minor}")),
            replicas: facts.replicas,
            max_memory: facts.max_memory,
            policy: facts.policy.clone(),
            warnings: facts.warnings(),
        }
    }
}

fn scan_from(cursor: u64, pattern: &str) -> Cmd {
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    scan
}

fn is_sealed(front: &[u8]) -> bool {
    crate::store::codec::Outline::of(front).is_ok_and(|outline| outline.sealed_by.is_some())
}

/// What `CLUSTER SLOTS` says: of each range of slots its ends, the node that has it, and that node's replicas.
fn owners(reply: Value) -> Reading<Vec<Address>> {
    let Value::Array(ranges) = reply.extract_error()? else { return Err(Misread::Shape) };
    let owner = |range: Value| {
        let Value::Array(range) = range else { return Err(Misread::Shape) };
        let Some(Value::Array(node)) = range.get(2) else { return Err(Misread::Shape) };
        let [Value::BulkString(host), Value::Int(port), ..] = node.as_slice() else { return Err(Misread::Shape) };
        let host = String::from_utf8(host.clone()).map_err(|_| Misread::Shape)?;
        Ok(Address { host, port: u16::try_from(*port).map_err(|_| Misread::Shape)? })
    };
    ranges.into_iter().map(owner).collect()
}

fn scanned(reply: Value) -> Reading<(u64, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply.extract_error()? else { return Err(Misread::Shape) };
    let [next, Value::Array(names)] = <[Value; 2]>::try_from(parts).map_err(|_| Misread::Shape)? else {
        return Err(Misread::Shape);
    };
    let name = |name| if let Value::BulkString(name) = name { Ok(name) } else { Err(Misread::Shape) };
    Ok((
        redis::from_redis_value(next).map_err(|_| Misread::Shape)?,
        names.into_iter().map(name).collect::<Reading<_>>()?,
    ))
}

fn front(reply: Value) -> Reading<Option<Vec<u8>>> {
    match reply.extract_error() {
        Ok(Value::BulkString(front)) => Ok(Some(front)),
        Ok(_) => Ok(None),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn outlook(replies: Vec<Value>) -> Reading<Outlook> {
    let [floor, members, changes, listeners, keys, memory] =
        <[Value; 6]>::try_from(replies).map_err(|_| Misread::Shape)?;
    let number = |reply: Value| match reply.extract_error()? {
        Value::Int(number) => u64::try_from(number).map_err(|_| Misread::Shape),
        _ => Err(Misread::Shape),
    };
    let (members, changes) = (number(members)?, number(changes)?);
    let memory = section(memory).unwrap_or_default();
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(Outlook {
        floor: reply::floor(&floor.extract_error()?)?,
        // The epoch, the floor and the sequence are none.
        markers: members.saturating_sub(3 + changes),
        changes,
        listeners: listening(listeners),
        keys: number(keys).ok(),
        used_memory: used.and_then(|bytes| bytes.trim().parse().ok()),
    })
}

/// The channel, and how many listen on it.
fn listening(reply: Value) -> Option<u64> {
    let Ok(Value::Array(parts)) = reply.extract_error() else { return None };
    let Some(Value::Int(count)) = parts.get(1) else { return None };
    u64::try_from(*count).ok()
}
