//! Which server to copy.
//!
//! To be copied, a server forks and sends everything it has, which is better done by one that serves nobody. There is more
//! to it: who is copied takes the copier for a replica for a while. Sentinels ask primaries alone who their replicas are,
//! and remember for ever. And a primary that had none takes a new replication id, by which Terrace knows its data.

use super::options::Options;
use super::wire::{Info, Wire};
use crate::failure::Failure;
use crate::text::plain;
use std::time::Duration;
use terrace::Store;
use tokio::time::{Instant, sleep};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The one that was chosen.
pub(super) struct Server {
    pub(super) wire: Wire,
    pub(super) is_replica: bool,
}

/// A replica that is in sync, else the primary.
pub(super) async fn choose(store: &Store, options: &Options) -> Result<Server, Failure> {
    let mut primary = Wire::open(store, None, options.timeout).await?;
    let replication = primary.info("replication").await?;
    let written = replication.number("master_repl_offset").unwrap_or_default();
    for (host, port) in replicas(&replication) {
        match try_replica(store, (&host, port), written, options.timeout).await {
            Ok(wire) => return Ok(Server { wire, is_replica: true }),
            Err(why) => {
                let (host, why) = (plain(&host), plain(&why.to_string()));
                eprintln!("warning: the replica at {host}:{port} is not copied: {why}");
            }
        }
    }
    if !has_backlog(&replication) && !options.new_epoch {
        return Err(Failure::runtime(format_args!(
            "Redis at {} never had a replica, and copying it would begin a new epoch: nothing that is stored would be used \
             again; expected a replica, `repl-backlog-ttl 0` and one copy with --new-epoch, or --new-epoch every time",
            primary.name()
        )));
    }
    Ok(Server { wire: primary, is_replica: false })
}

/// One that has everything the primary had `written` when it was asked.
async fn try_replica(store: &Store, at: (&str, u16), written: u64, patience: Duration) -> Result<Wire, Failure> {
    let mut wire = Wire::open(store, Some(at), patience).await?;
    let end = Instant::now() + patience;
    loop {
        let replication = wire.info("replication").await?;
        if replication.field("master_link_status") != Some("up") || !has_backlog(&replication) {
            return Err(Failure::runtime("it is not in sync"));
        }
        if replication.number("slave_repl_offset").is_some_and(|offset| offset >= written) {
            return Ok(wire);
        }
        if Instant::now() >= end {
            return Err(Failure::runtime("it lags behind for longer than --timeout"));
        }
        sleep(PAUSE).await;
    }
}

/// Without one, the first replica makes the server change its replication id.
fn has_backlog(replication: &Info) -> bool {
    replication.field("repl_backlog_active") == Some("1")
}

/// Those that are online, the one first that has most. Who has no port is no replica, but takes a copy as we do.
fn replicas(replication: &Info) -> Vec<(String, u16)> {
    let mut all: Vec<(u64, String, u16)> = replication.fields().filter_map(replica).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().map(|(_, host, port)| (host, port)).collect()
}

/// `slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=0`
fn replica((name, value): (&str, &str)) -> Option<(u64, String, u16)> {
    let number = name.strip_prefix("slave")?;
    number.parse::<u32>().ok()?;
    let field = |name| value.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let (host, port) = (field("ip")?.to_owned(), field("port")?.parse().ok().filter(|port| *port != 0)?);
    (field("state")? == "online").then_some((field("offset")?.parse().ok()?, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_that_has_most_comes_first_and_those_out_of_sync_do_not_come() {
        let info = Info::of(
            "role:master\r\nconnected_slaves:5\r\nslave0:ip=10.0.0.1,port=6379,state=online,offset=10,lag=0\r\n\
             slave1:ip=redis-2.redis,port=6380,state=online,offset=12,lag=1\r\nslave2:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=99,lag=0\r\n\
             slave3:ip=10.0.0.4,port=0,state=online,offset=99,lag=0\r\nslave4:nonsense\r\nslave_read_only:1\r\nrepl_backlog_active:1\r\n",
        );
        assert_eq!(replicas(&info), [("redis-2.redis".to_owned(), 6380), ("10.0.0.1".to_owned(), 6379)]);
        assert!(has_backlog(&info) && !has_backlog(&Info::of("repl_backlog_active:0\r\n")));
    }
}
