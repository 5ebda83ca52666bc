//! Looking at the server itself, whether or not it can be used: for checks before and after deploying.

use super::Redis;
use super::connect::{Connector, Failure, ask_rights, section};
use super::facts::ServerFacts;
use super::link::Line;
use super::settings::{Address, Place};
use redis::{RedisResult, Value, cmd};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;

/// What a Redis server, and the Sentinels that watch it, say about themselves. What a server does not tell, or does not
/// tell this user, is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examination {
    /// Where the server was found, as `host:port`.
    pub address: String,
    /// The fields of `INFO`, by name.
    pub info: BTreeMap<String, String>,
    /// Settings of the server (`CONFIG GET`), by name: `save`, `appendonly`, `maxclients`, `min-replicas-to-write`.
    pub config: BTreeMap<String, String>,
    /// The commands that every process needs and this user may not run; `None` if that could not be found out, as of a
    /// replica.
    pub denied: Option<Vec<String>>,
    /// The server's clock (`TIME`), between the call and its answer.
    pub time: Option<SystemTime>,
    /// What each Sentinel says, in the order of `REDIS_SENTINELS`; empty without them.
    pub sentinels: Vec<Sentinel>,
    /// How many connections a process with this environment may have open to the server.
    pub connections: u32,
}

/// What a Sentinel says about the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sentinel {
    /// Where it is, as `host:port`.
    pub address: String,
    /// What it says, or why it says nothing.
    pub answer: Result<Watch, String>,
}

/// How a Sentinel watches a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watch {
    /// Where it says that the primary is; `None` if it knows none of that name.
    pub primary: Option<String>,
    /// Whether enough Sentinels can be reached for a failover (`SENTINEL CKQUORUM`); if not, why.
    pub quorum: Result<(), String>,
    /// How many other Sentinels of this primary it knows.
    pub others: usize,
    /// How many replicas it knows of that are not down.
    pub replicas: usize,
}

const CONFIG: [&str; 4] = ["save", "appendonly", "maxclients", "min-replicas-to-write"];

impl Redis {
    /// # Errors
    ///
    /// Why no server could be asked.
    pub(crate) async fn examine(&self) -> Result<Examination, String> {
        let sentinels = self.connector.ask_each_sentinel().await;
        let (address, line) = self.connector.look().await?;
        let failed = |error| format!("cannot ask Redis at {address}: {error}");
        let info = info(&line).await.map_err(failed)?;
        let facts = ServerFacts::parse(&info, &info, &info);
        Ok(Examination {
            denied: self.denied(&address, &line, &facts).await,
            config: config(&line).await,
            time: time(&line).await,
            sentinels,
            // Those for messages are not in the pools.
            connections: self.usage().max + 1,
            info: fields(&info),
            address: address.to_string(),
        })
    }

    async fn denied(&self, address: &Address, line: &Line, facts: &ServerFacts) -> Option<Vec<String>> {
        let mut denied = match ask_rights(&self.names, line, facts).await {
            Ok(denied) => denied,
            Err(error) if error.code() == Some("NOPERM") => vec!["EVAL, EVALSHA or SCRIPT LOAD".to_owned()],
            Err(_) => return None,
        };
        let heard = self.connector.listen(address, &[self.connector.bell()], Box::new(drop)).await;
        if heard.is_err_and(|error| error.code() == Some("NOPERM")) {
            denied.push("SUBSCRIBE".to_owned());
        }
        Some(denied)
    }
}

impl Connector {
    /// Opens a connection to the server that would be used, even if it could not be: a replica, say.
    async fn look(&self) -> Result<(Address, Line), String> {
        let limit = self.settings().socket_timeout;
        let late = || Err(Failure::unreachable(&self.settings().place));
        let looked = match &self.settings().place {
            Place::Server(address) => {
                tokio::time::timeout(limit, self.look_at(address)).await.unwrap_or_else(|_| late())
            }
            Place::Sentinels { sentinels, primary, login } => {
                let mut found = late();
                for sentinel in sentinels {
                    let asked = async {
                        let address = self.primary_of(sentinel, primary, login).await?;
                        self.look_at(&address).await
                    };
                    found = tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| late());
                    if found.is_ok() {
                        break;
                    }
                }
                found
            }
            Place::Cluster(nodes) => {
                let mut found = late();
                for node in nodes {
                    found = tokio::time::timeout(limit, self.look_from(node)).await.unwrap_or_else(|_| late());
                    if found.is_ok() {
                        break;
                    }
                }
                found
            }
        };
        looked.map_err(Failure::into_text)
    }

    async fn ask_each_sentinel(&self) -> Vec<Sentinel> {
        let Place::Sentinels { sentinels, primary, login } = &self.settings().place else { return Vec::new() };
        let mut asked = JoinSet::new();
        for (at, sentinel) in sentinels.iter().enumerate() {
            let (opener, sentinel, primary) = (self.opener().clone(), sentinel.clone(), primary.clone());
            let (login, limit) = (login.clone(), self.settings().socket_timeout);
            asked.spawn(async move {
                let answer = async {
                    let line = opener.open(&sentinel, &login, 0).await?;
                    watch(&line, &primary).await
                };
                let answer = tokio::time::timeout(limit, answer).await;
                let answer = answer.map_or_else(
                    |_| Err("it takes too long".to_owned()),
                    |answer| answer.map_err(|error| said(&error)),
                );
                (at, Sentinel { address: sentinel.to_string(), answer })
            });
        }
        let mut all = asked.join_all().await;
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, sentinel)| sentinel).collect()
    }
}

fn said(error: &redis::RedisError) -> String {
    error.to_string()
}

async fn watch(line: &Line, primary: &str) -> RedisResult<Watch> {
    let ask = async |what: &str| -> RedisResult<Value> {
        cmd("SENTINEL").arg(what).arg(primary).query_async(&mut line.connection()).await
    };
    let found: Option<(String, u16)> = redis::from_redis_value(ask("get-master-addr-by-name").await?)?;
    let Some((host, port)) = found else {
        return Ok(Watch { primary: None, quorum: Err("no such name".to_owned()), others: 0, replicas: 0 });
    };
    Ok(Watch {
        primary: Some(Address { host, port }.to_string()),
        quorum: ask("ckquorum").await.map(drop).map_err(|error| said(&error)),
        others: alive(ask("sentinels").await?),
        replicas: alive(ask("replicas").await?),
    })
}

/// Of a list of what a Sentinel knows, each as names and values, those that it does not take for down.
fn alive(list: Value) -> usize {
    let Value::Array(all) = list else { return 0 };
    let is_up = |one: &Value| {
        let known = redis::from_redis_value_ref::<BTreeMap<String, String>>(one);
        let flags = known.ok().and_then(|mut known| known.remove("flags")).unwrap_or_default();
        !flags.split(',').any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
    };
    all.iter().filter(|one| is_up(one)).count()
}

async fn info(line: &Line) -> RedisResult<String> {
    section(cmd("INFO").query_async(&mut line.connection()).await.or_else(|error| {
        // A user who may not ask is one about whose server nothing is known.
        if error.code() == Some("NOPERM") { Ok(Value::SimpleString(String::new())) } else { Err(error) }
    })?)
}

fn fields(info: &str) -> BTreeMap<String, String> {
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

async fn config(line: &Line) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in CONFIG {
        let asked = cmd("CONFIG").arg("GET").arg(name).query_async(&mut line.connection()).await;
        let found: BTreeMap<String, String> = asked.unwrap_or_default();
        all.extend(found);
    }
    all
}

async fn time(line: &Line) -> Option<SystemTime> {
    let (seconds, microseconds): (u64, u64) = cmd("TIME").query_async(&mut line.connection()).await.ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
}
