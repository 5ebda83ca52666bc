//! What the server says about itself, judged. Everything here is pure.

use crate::findings::Finding;
use crate::size;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use terrace::inspect::{Examination, Sentinel, Watch};

/// What is demanded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demands {
    /// Free memory, in bytes.
    pub(super) min_memory: Option<u64>,
    pub(super) processes: u32,
}

const USUAL_MEMORY: u64 = 2 << 30;
/// How far apart clocks may be.
const CLOCKS: Duration = Duration::from_secs(1);
/// How many seconds a replica may have said nothing, and how many it does if all is well: it says something in each.
const LAG: u64 = 5;
const USUAL_LAG: u64 = 1;
/// Of the connections that a server accepts, in percent.
const CLIENTS: u64 = 80;
/// With fewer, the loss of one ends all failovers.
const SENTINELS: usize = 3;
/// With one, nobody takes over while it is away, be it for an upgrade.
const REPLICAS: usize = 2;

/// Judges all of it. The server was asked between the two times of `asked`.
pub(super) fn judge(seen: &Examination, asked: (SystemTime, SystemTime), demands: Demands) -> Vec<Finding> {
    let server = Server(&seen.info, &seen.config);
    let mut all = vec![
        server.role(&seen.address),
        server.identity(),
        server.version(),
        rights(seen.denied.as_deref()),
        server.limit(),
        server.policy(),
        server.free(demands.min_memory),
        server.persistence(),
        server.min_replicas(),
        server.lag(),
        clock(seen.time, asked),
        server.clients(u64::from(seen.connections) * u64::from(demands.processes)),
    ];
    if !seen.sentinels.is_empty() {
        all.extend(sentinels(&seen.sentinels));
    }
    all
}

/// `INFO`, and settings.
struct Server<'a>(&'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

impl Server<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.1.get(name).map(String::as_str)
    }

    fn major(&self) -> Option<(u32, u32)> {
        let mut parts = self.text("redis_version")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    fn role(&self, address: &str) -> Finding {
        let fix = "point REDIS_* at the primary, or at Sentinels that know it";
        match self.text("role") {
            Some("master") => Finding::ok("redis-primary", format!("{address} is the primary")),
            Some(role) => Finding::fail("redis-primary", format!("{address} is a {role}"), fix),
            None => hidden("redis-primary", "role"),
        }
        .threshold("master")
    }

    /// By these two a restart and a failover are noticed.
    fn identity(&self) -> Finding {
        match (self.text("run_id"), self.text("master_replid")) {
            (Some(_), Some(_)) => Finding::ok("redis-fence-mode", "strict"),
            _ => Finding::fail(
                "redis-fence-mode",
                "off: the server hides run_id or master_replid, so a failover that loses writes is not noticed",
                "connect to the server itself and not through a proxy, and permit INFO",
            ),
        }
        .threshold("strict")
    }

    fn version(&self) -> Finding {
        let measured = self.text("redis_version").unwrap_or_default();
        match self.major() {
            Some(version) if version >= (7, 0) => Finding::ok("redis-version", measured),
            // Scripts are not refused there, and every invalidation is one.
            Some(version) if version >= (6, 2) && self.number("connected_slaves").is_some_and(|count| count > 0) => {
                Finding::fail(
                    "redis-version",
                    format!(
                        "{measured}: min-replicas-to-write has no effect, and a primary that is cut off acknowledges"
                    ),
                    "use Redis 7 or later",
                )
            }
            Some(version) if version >= (6, 2) => Finding::warn(
                "redis-version",
                measured,
                "use Redis 7 or later: invalidations then work with full memory",
            ),
            Some(_) => Finding::fail("redis-version", measured, "use Redis 7 or later"),
            None => hidden("redis-version", "redis_version"),
        }
        .threshold(">= 7, or 6.2 without replicas")
    }

    fn limit(&self) -> Finding {
        let fix = "set maxmemory in redis.conf, to less than the machine or the container has";
        match self.number("maxmemory") {
            Some(0) => Finding::fail("redis-memory-limit", "none", fix),
            Some(bytes) => Finding::ok("redis-memory-limit", size::shown(bytes)),
            None => hidden("redis-memory-limit", "maxmemory"),
        }
        .threshold("set")
    }

    fn policy(&self) -> Finding {
        let fix = "set maxmemory-policy volatile-lru";
        match self.text("maxmemory_policy") {
            Some(policy) if policy.starts_with("volatile") => Finding::ok("redis-eviction", policy),
            Some("noeviction") if self.major() >= Some((7, 0)) => {
                Finding::warn("redis-eviction", "noeviction: a full server takes no entries", fix)
            }
            Some(policy) if policy.starts_with("allkeys") => {
                let measured = format!("{policy}: Redis may evict the control record, and every entry is lost then");
                Finding::warn("redis-eviction", measured, fix)
            }
            Some(policy) => Finding::fail("redis-eviction", policy, fix),
            None => hidden("redis-eviction", "maxmemory_policy"),
        }
        .threshold("volatile-*")
    }

    /// Of its limit, or without one of the machine.
    fn free(&self, demanded: Option<u64>) -> Finding {
        let fix = "raise maxmemory or add memory; --min-memory says how much is enough";
        let all = self.number("maxmemory").filter(|bytes| *bytes > 0).or_else(|| self.number("total_system_memory"));
        let least = demanded.unwrap_or(USUAL_MEMORY);
        let finding = match all.zip(self.number("used_memory")) {
            None => hidden("redis-free-memory", "used_memory"),
            Some((all, used)) if all.saturating_sub(used) >= least => {
                Finding::ok("redis-free-memory", size::shown(all.saturating_sub(used)))
            }
            Some((all, used)) if demanded.is_some() => {
                Finding::fail("redis-free-memory", size::shown(all.saturating_sub(used)), fix)
            }
            Some((all, used)) => Finding::warn("redis-free-memory", size::shown(all.saturating_sub(used)), fix),
        };
        finding.threshold(format!(">= {}", size::shown(least)))
    }

    fn persistence(&self) -> Finding {
        let failed = ["rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"]
            .into_iter()
            .find(|name| self.text(name).is_some_and(|status| status != "ok"));
        if let Some(name) = failed {
            let fix = "look at the log of Redis: the disk is full, or the directory cannot be written";
            return Finding::fail("redis-persistence", format!("{name} is err"), fix);
        }
        let is_saved = self.setting("save").map(|save| !save.is_empty());
        let is_logged = self.text("aof_enabled").map(|enabled| enabled == "1");
        match (is_logged, is_saved) {
            (Some(true), Some(true)) => Finding::ok("redis-persistence", "AOF and RDB"),
            (Some(true), Some(false)) => Finding::warn("redis-persistence", "AOF alone", "set save 900 1"),
            (Some(false), Some(true)) => Finding::warn("redis-persistence", "RDB alone", "set appendonly yes"),
            (Some(false), Some(false)) => Finding::warn(
                "redis-persistence",
                "none: after a restart every entry is fetched anew",
                "set appendonly yes and save 900 1",
            ),
            (Some(true), None) => Finding::ok("redis-persistence", "AOF; the server does not tell save"),
            (None, Some(true)) => Finding::ok("redis-persistence", "RDB; the server does not tell aof_enabled"),
            _ => hidden("redis-persistence", "aof_enabled, or CONFIG GET save"),
        }
        .threshold("AOF and RDB")
    }

    fn min_replicas(&self) -> Finding {
        let (replicas, is_guarded) = (self.number("connected_slaves"), self.text("min_slaves_good_slaves").is_some());
        match replicas {
            None => hidden("redis-min-replicas", "connected_slaves"),
            Some(0) if !is_guarded => Finding::ok("redis-min-replicas", "no replica is connected"),
            Some(count) if is_guarded && self.is_torn(count) => Finding::fail(
                "redis-min-replicas",
                format!("too small for {count} replicas: after a failover the old primary may go on taking writes beside the new one"),
                "set it to more than half of the replicas but one: 2 for three or four",
            ),
            Some(count) if is_guarded => Finding::ok("redis-min-replicas", format!("set, with {count} replicas")),
            Some(count) => Finding::fail(
                "redis-min-replicas",
                format!("min-replicas-to-write is 0 with {count} replicas: one that is cut off goes on taking writes"),
                "set min-replicas-to-write 1 and min-replicas-max-lag 5",
            ),
        }
        .threshold(">= 1 with replicas")
    }

    /// Whether so many replicas, of which one is promoted, can leave both primaries enough of them.
    fn is_torn(&self, replicas: u64) -> bool {
        let least: Option<u64> = self.setting("min-replicas-to-write").and_then(|least| least.parse().ok());
        least.is_some_and(|least| least * 2 < replicas)
    }

    fn lag(&self) -> Finding {
        let fix = "look at the replica: its link, its disk, its memory";
        let slaves = self.0.iter().filter(|(name, _)| name.strip_prefix("slave").is_some_and(is_digits));
        let replicas: Vec<Replica> = slaves.map(|(_, text)| Replica::of(text)).collect();
        let worst = replicas.iter().filter_map(|replica| replica.lag).max();
        let off = replicas.iter().find(|replica| !replica.is_online || replica.lag.is_none_or(|lag| lag > LAG));
        match (off, worst) {
            (Some(replica), _) => Finding::fail("redis-replication-lag", replica.text(), fix),
            (None, Some(lag)) if lag > USUAL_LAG => {
                Finding::warn("redis-replication-lag", format!("{lag} s, of {}", replicas.len()), fix)
            }
            (None, Some(lag)) => Finding::ok("redis-replication-lag", format!("{lag} s, of {}", replicas.len())),
            (None, None) => Finding::ok("redis-replication-lag", "no replica is connected"),
        }
        .threshold(format!("<= {USUAL_LAG} s, fails above {LAG} s"))
    }

    fn clients(&self, connections: u64) -> Finding {
        let fix = "raise maxclients, or lower REDIS_MAX_CONNECTIONS; --processes says how many processes there are";
        let most = self.number("maxclients").or_else(|| self.setting("maxclients")?.parse().ok());
        let Some(most) = most else { return hidden("redis-clients", "maxclients") };
        let measured = format!("up to {connections} connections of {most}");
        if connections * 100 <= most * CLIENTS {
            Finding::ok("redis-clients", measured)
        } else {
            Finding::fail("redis-clients", measured, fix)
        }
        .threshold(format!("<= {CLIENTS} % of maxclients"))
    }
}

/// A line of a replica in `INFO`: `ip=…,port=…,state=online,offset=…,lag=0`.
struct Replica {
    address: String,
    is_online: bool,
    lag: Option<u64>,
}

impl Replica {
    fn of(text: &str) -> Self {
        let field = |name: &str| text.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let address = format!("{}:{}", field("ip").unwrap_or("?"), field("port").unwrap_or("?"));
        let lag = field("lag").and_then(|lag| lag.parse().ok());
        Self { address, is_online: field("state") == Some("online"), lag }
    }

    fn text(&self) -> String {
        let Self { address, is_online, lag } = self;
        let state = if *is_online { "is online" } else { "is not online" };
        format!("{address} {state}, {} s behind", lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string()))
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn rights(denied: Option<&[String]>) -> Finding {
    match denied {
        Some([]) => Finding::ok("redis-rights", "all commands are permitted"),
        Some(denied) => {
            let commands = denied.join(", ");
            let fix = format!("redis-cli ACL SETUSER, with what is denied: {commands}");
            Finding::fail("redis-rights", format!("not permitted: {commands}"), fix)
        }
        None => {
            Finding::unknown("redis-rights", "they cannot be tried on this server", "mend what is wrong with it first")
        }
    }
}

fn clock(server: Option<SystemTime>, (before, after): (SystemTime, SystemTime)) -> Finding {
    let fix = "synchronise the clocks of both machines (chrony, systemd-timesyncd)";
    let Some(server) = server else { return hidden("redis-clock", "TIME") };
    let ahead = server.duration_since(after).unwrap_or_default();
    let behind = before.duration_since(server).unwrap_or_default();
    let apart = ahead.max(behind);
    let measured = format!("{} ms apart", apart.as_millis());
    if apart <= CLOCKS { Finding::ok("redis-clock", measured) } else { Finding::fail("redis-clock", measured, fix) }
        .threshold("<= 1 s")
}

fn sentinels(all: &[Sentinel]) -> [Finding; 3] {
    let answers: Vec<&Watch> = all.iter().filter_map(|sentinel| sentinel.answer.as_ref().ok()).collect();
    let problem = all.iter().find_map(|sentinel| {
        let why = match &sentinel.answer {
            Err(why) => Some(why.clone()),
            Ok(watch) => watch.quorum.clone().err(),
        };
        why.map(|why| format!("{}: {why}", sentinel.address))
    });
    let mut primaries: Vec<_> = answers.iter().filter_map(|watch| watch.primary.as_deref()).collect();
    primaries.sort_unstable();
    primaries.dedup();
    let quorum = match (problem, &*primaries) {
        (None, [primary]) => Finding::ok("sentinel-quorum", format!("{} Sentinels agree on {primary}", all.len())),
        (Some(why), _) => {
            let fix =
                "start the Sentinels that are missing; check REDIS_SENTINELS, REDIS_MASTER_NAME and their password";
            Finding::fail("sentinel-quorum", why, fix)
        }
        (None, several) => {
            let fix = "wait until the failover has ended; SENTINEL RESET on those that are wrong";
            Finding::fail("sentinel-quorum", format!("they name {}", several.join(" and ")), fix)
        }
    };
    let known = answers.iter().map(|watch| watch.others + 1).max().unwrap_or(0);
    let replicas = answers.iter().map(|watch| watch.replicas).min().unwrap_or(0);
    [quorum.threshold("ckquorum on each"), enough(known), spare(replicas)]
}

fn enough(sentinels: usize) -> Finding {
    let (id, count) = ("sentinel-count", sentinels.to_string());
    if sentinels >= SENTINELS {
        Finding::ok(id, count)
    } else {
        Finding::fail(id, count, "start more Sentinels: with two, the loss of one ends all failovers")
    }
    .threshold(format!(">= {SENTINELS}"))
}

fn spare(replicas: usize) -> Finding {
    let (id, count) = ("sentinel-replicas", replicas.to_string());
    match replicas {
        0 => Finding::fail(id, count, "start replicas: without one nobody takes over"),
        few if few < REPLICAS => Finding::warn(id, count, "start another: while this one is away nobody takes over"),
        _ => Finding::ok(id, count),
    }
    .threshold(format!(">= {REPLICAS}, fails without one"))
}

fn hidden(id: &'static str, what: &str) -> Finding {
    Finding::warn(
        id,
        format!("the server does not tell {what}"),
        "permit INFO, TIME and CONFIG GET to this user, or look at the server",
    )
}

#[cfg(test)]
mod tests;
