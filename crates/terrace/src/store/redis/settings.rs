//! Where Redis is and how to log in, from the strings of the environment.

use crate::Error;
use crate::config::{Source, Variable, parse_bool, parse_digits, parse_time};
use std::fmt;
use std::time::Duration;

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A variable that says something about Redis.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Empty: nothing.
    pub(crate) default: &'static str,
    pub(crate) accepts: &'static str,
    pub(crate) is_secret: bool,
    pub(crate) doc: &'static str,
}

const fn row(name: &'static str, default: &'static str, accepts: &'static str, doc: &'static str) -> Row {
    Row { name, default, accepts, is_secret: false, doc }
}

const fn secret(name: &'static str, doc: &'static str) -> Row {
    Row { name, default: "", accepts: "a text", is_secret: true, doc }
}

/// All of them. Errors say what a value may be with the words from here.
pub(crate) const TABLE: [Row; 15] = [
    row(
        "REDIS_URL",
        "",
        "redis://[[user]:password@]host[:port][/db], or the same with rediss:// for TLS",
        "Where Redis is, in one line.",
    ),
    row("REDIS_HOST", "", "a host name or an address", "Where Redis is, with `REDIS_PORT`, `REDIS_DB`, `REDIS_TLS`."),
    row(
        "REDIS_SENTINELS",
        "",
        "host:port,host:port,… (without :port, 26379)",
        "The Sentinels that know the primary, with `REDIS_MASTER_NAME`.",
    ),
    row(
        "REDIS_CLUSTER_NODES",
        "",
        "host:port,host:port,… (without :port, 6379)",
        "Some nodes of a Redis Cluster, by which the others are found.",
    ),
    row("REDIS_PORT", "6379", "1 to 65535", "The port of `REDIS_HOST`."),
    row("REDIS_DB", "0", "0 to 65535", "The database; a cluster has only 0."),
    row("REDIS_USERNAME", "", "a text", "Who logs in; a user name needs a password."),
    secret("REDIS_PASSWORD", "The password of the login."),
    row("REDIS_TLS", "off", BOOLEAN, "Encrypts, and checks the server's certificate."),
    row("REDIS_MASTER_NAME", "", "a text", "The name under which the Sentinels watch the primary."),
    row("REDIS_SENTINEL_USERNAME", "", "a text", "Who logs in at the Sentinels."),
    secret("REDIS_SENTINEL_PASSWORD", "The password of the login at the Sentinels."),
    row(
        "REDIS_MAX_CONNECTIONS",
        "50",
        "1 to 10000",
        "Connections for look-ups; a dozen for fills, control and messages come on top.",
    ),
    row(
        "REDIS_SOCKET_TIMEOUT",
        "1s",
        "10ms to 1m, as `500ms` or `5s`, or as seconds",
        "How long connecting may take, and how long a connection may leave a command unanswered.",
    ),
    row(
        "REDIS_SOCKET_KEEPALIVE",
        "on",
        "`1 true yes on` (it is always on)",
        "Whether the system asks if the other side is still there.",
    ),
];

/// What a variable accepts.
fn accepts(name: &str) -> &'static str {
    TABLE.iter().find(|row| row.name == name).map_or("", |row| row.accepts)
}

/// What the environment says about Redis.
pub(crate) struct Explained {
    pub(crate) variables: Vec<Variable>,
    pub(crate) problem: Option<Error>,
    /// Nothing says where it is, so that the rest is not read.
    pub(crate) is_idle: bool,
}

/// Reads `REDIS_*` through `get`, for people.
pub(crate) fn explain(get: impl Fn(&str) -> Option<String>) -> Explained {
    let read = RedisSettings::from_vars(&get);
    let is_sound = read.is_ok();
    let variables = TABLE.iter().map(|row| row.explained(get(row.name), is_sound)).collect();
    Explained { variables, is_idle: matches!(read, Ok(None)), problem: read.err() }
}

impl Row {
    /// A text that is malformed may hold a password anywhere.
    fn explained(&self, given: Option<String>, is_sound: bool) -> Variable {
        let source = if given.is_some() { Source::Environment } else { Source::Default };
        let value = match given {
            None => self.default.to_owned(),
            Some(text) if text.is_empty() => text,
            Some(_) if self.is_secret => "***".to_owned(),
            Some(url) if self.name == "REDIS_URL" => without_login(&url, is_sound),
            Some(text) if is_sound || !text.contains('@') => text,
            Some(_) => "***".to_owned(),
        };
        let Self { name, default, accepts, is_secret, doc } = *self;
        Variable { name, value, source, default, accepts: accepts.to_owned(), is_secret, is_live: false, meaning: doc }
    }
}

fn without_login(url: &str, is_sound: bool) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) if is_sound => format!("{scheme}://***@{rest}"),
        (Some(_), None) if is_sound => url.to_owned(),
        _ => "***".to_owned(),
    }
}

/// How to reach Redis.
#[derive(Clone, Debug)]
pub(crate) struct RedisSettings {
    pub(super) place: Place,
    pub(super) login: Login,
    pub(super) db: u16,
    pub(super) tls: bool,
    /// For look-ups; the few for fills, for control and for messages come on top.
    pub(super) max_connections: u32,
    /// How long connecting may take, and how long a connection may leave a command unanswered before it is given up.
    pub(super) socket_timeout: Duration,
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Server(Address),
    Sentinels {
        sentinels: Vec<Address>,
        primary: String,
        login: Login,
    },
    /// Any nodes; the others are found from them.
    Cluster(Vec<Address>),
}

impl Place {
    /// Whether Sentinels say who the primary is.
    pub(super) const fn is_watched(&self) -> bool {
        matches!(self, Self::Sentinels { .. })
    }
}

/// For people, without what it takes to log in.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &[Address]| all.iter().map(Address::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Server(address) => write!(f, "Redis at {address}"),
            Self::Sentinels { sentinels, primary, .. } => {
                write!(f, "Redis `{primary}`, watched by Sentinels at {}", list(sentinels))
            }
            Self::Cluster(nodes) => write!(f, "the Redis cluster of {}", list(nodes)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const MAX_CONNECTIONS: u32 = 50;
const SOCKET_TIMEOUT: Duration = Duration::from_secs(1);

/// Only one of these says where Redis is.
const PLACES: [&str; 4] = ["REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS", "REDIS_CLUSTER_NODES"];

impl RedisSettings {
    /// Reads `REDIS_*` through `get`; `None` if nothing says where Redis is.
    ///
    /// # Errors
    ///
    /// If a value is malformed or contradicts another. The error names both and what is accepted, and never holds a
    /// password.
    pub(crate) fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let given: Vec<&str> = PLACES.into_iter().filter(|name| get(name).is_some()).collect();
        match *given {
            [] => Ok(None),
            [_] => Vars(&get).read().map(Some),
            [one, other, ..] => Err(contradiction(one, other)),
        }
    }
}

/// The variables, and how each is read.
struct Vars<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Vars<'_> {
    fn read(&self) -> Result<RedisSettings, Error> {
        let mut settings = RedisSettings {
            place: Place::Cluster(Vec::new()),
            login: self.login("REDIS_USERNAME", "REDIS_PASSWORD")?,
            db: self.parse("REDIS_DB", |text| text.parse().ok())?.unwrap_or(0),
            tls: self.parse("REDIS_TLS", parse_bool)?.unwrap_or(false),
            max_connections: self.parse("REDIS_MAX_CONNECTIONS", count)?.unwrap_or(MAX_CONNECTIONS),
            socket_timeout: self.parse("REDIS_SOCKET_TIMEOUT", timeout)?.unwrap_or(SOCKET_TIMEOUT),
        };
        self.parse("REDIS_SOCKET_KEEPALIVE", |text| parse_bool(text).filter(|on| *on))?;
        settings.place = self.place(&mut settings)?;
        if settings.tls && !cfg!(feature = "redis-tls") {
            return Err(Error::config("TLS to Redis needs the feature `redis-tls` of terrace".to_owned()));
        }
        Ok(settings)
    }

    fn place(&self, settings: &mut RedisSettings) -> Result<Place, Error> {
        if let Some(url) = self.get("REDIS_URL") {
            self.none_of("REDIS_URL", &["REDIS_PORT", "REDIS_DB", "REDIS_TLS", "REDIS_MASTER_NAME"])?;
            return self.url(&url, settings);
        }
        if let Some(host) = self.get("REDIS_HOST") {
            self.none_of("REDIS_HOST", &["REDIS_MASTER_NAME"])?;
            let host = host_name(&host).ok_or_else(|| malformed("REDIS_HOST", &host, accepts("REDIS_HOST")))?;
            let port = self.parse("REDIS_PORT", port)?.unwrap_or(PORT);
            return Ok(Place::Server(Address { host, port }));
        }
        if let Some(list) = self.get("REDIS_SENTINELS") {
            self.none_of("REDIS_SENTINELS", &["REDIS_PORT"])?;
            return self.sentinels(&list);
        }
        self.none_of("REDIS_CLUSTER_NODES", &["REDIS_PORT", "REDIS_DB", "REDIS_MASTER_NAME"])?;
        let nodes = self.get("REDIS_CLUSTER_NODES").unwrap_or_default();
        Ok(Place::Cluster(addresses("REDIS_CLUSTER_NODES", &nodes, PORT)?))
    }

    fn sentinels(&self, list: &str) -> Result<Place, Error> {
        let sentinels = addresses("REDIS_SENTINELS", list, SENTINEL_PORT)?;
        let primary = self.get("REDIS_MASTER_NAME").filter(|name| !name.is_empty());
        let missing = "REDIS_SENTINELS needs REDIS_MASTER_NAME, the name under which the Sentinels watch the primary";
        let primary = primary.ok_or_else(|| Error::config(missing.to_owned()))?;
        let login = self.login("REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD")?;
        Ok(Place::Sentinels { sentinels, primary, login })
    }

    /// What the URL says, without ever repeating it: it may hold a password.
    fn url(&self, url: &str, settings: &mut RedisSettings) -> Result<Place, Error> {
        let refused = || {
            let accepts = accepts("REDIS_URL");
            Error::config(format!(
                "REDIS_URL (not shown, because it may hold a password) is malformed; it accepts {accepts}"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
        settings.tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(refused()),
        };
        if rest.contains(['?', '#']) {
            return Err(refused());
        }
        let info: redis::ConnectionInfo = format!("redis://{rest}").parse().map_err(|_| refused())?;
        let redis::ConnectionAddr::Tcp(host, port @ 1..) = info.addr().clone() else { return Err(refused()) };
        let redis = info.redis_settings();
        settings.db = u16::try_from(redis.db()).map_err(|_| refused())?;
        if redis.username().is_some() || redis.password().is_some() {
            self.none_of("REDIS_URL with a login", &["REDIS_USERNAME", "REDIS_PASSWORD"])?;
            let password = redis.password().map(|password| Secret(password.into()));
            settings.login = Login { username: redis.username().map(str::to_owned), password };
        }
        Ok(Place::Server(Address { host, port }))
    }

    fn login(&self, username: &str, password: &str) -> Result<Login, Error> {
        // A password that is optional is often handed down as an empty one.
        let given = |name| self.get(name).filter(|text| !text.is_empty());
        let login = Login { username: given(username), password: given(password).map(|text| Secret(text.into())) };
        if login.username.is_some() && login.password.is_none() {
            return Err(Error::config(format!("{username} needs {password}")));
        }
        Ok(login)
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn parse<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| malformed(name, &text, accepts(name)))
    }

    fn none_of(&self, one: &str, others: &[&str]) -> Result<(), Error> {
        let other = others.iter().find(|other| self.get(other).is_some_and(|text| !text.is_empty()));
        other.map_or(Ok(()), |other| Err(contradiction(one, other)))
    }
}

const BOOLEAN: &str = "`1 0 true false yes no on off`";

fn count(text: &str) -> Option<u32> {
    parse_digits(text).and_then(|count| u32::try_from(count).ok()).filter(|count| (1..=10_000).contains(count))
}

fn port(text: &str) -> Option<u16> {
    parse_digits(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn timeout(text: &str) -> Option<Duration> {
    let time = parse_time(text).map(Duration::from_nanos)?;
    (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&time).then_some(time)
}

/// A name, or an address with or without brackets.
fn host_name(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=253).contains(&inner.len()) && inner.bytes().all(allowed);
    (is_name || inner.parse::<std::net::Ipv6Addr>().is_ok()).then(|| inner.to_owned())
}

fn addresses(name: &str, list: &str, default_port: u16) -> Result<Vec<Address>, Error> {
    let parts = list.split(',').map(|part| address(part.trim(), default_port));
    let all: Option<Vec<Address>> = parts.collect();
    all.ok_or_else(|| malformed(name, list, accepts(name)))
}

fn address(text: &str, default_port: u16) -> Option<Address> {
    let has_no_port = text.ends_with(']') || text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits)) if !has_no_port => (host, port(digits)?),
        _ => (text, default_port),
    };
    Some(Address { host: host_name(host)?, port })
}

#[cold]
fn malformed(name: &str, value: &str, accepts: &str) -> Error {
    let kubernetes = if name == "REDIS_PORT" && value.starts_with("tcp://") {
        "; a Kubernetes Service called `redis` sets it in every pod: set `enableServiceLinks: false`"
    } else {
        ""
    };
    // A password in the wrong place: `user:password@host` is no host.
    let value = match value.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => value.chars().take(64).collect(),
    };
    Error::config(format!("{name} is {value:?}, but accepts {accepts}{kubernetes}"))
}

#[cold]
fn contradiction(one: &str, other: &str) -> Error {
    Error::config(format!("{one} and {other} are both set; one of them says it all"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn read(vars: &[(&str, &str)]) -> Result<Option<RedisSettings>, Error> {
        let vars: HashMap<&str, &str> = vars.iter().copied().collect();
        RedisSettings::from_vars(|name| vars.get(name).map(|value| (*value).to_owned()))
    }

    fn settings(vars: &[(&str, &str)]) -> RedisSettings {
        read(vars).unwrap().unwrap()
    }

    #[test]
    fn the_defaults_of_the_table_are_those_that_are_taken() {
        let given = |name: &str| TABLE.iter().find(|row| row.name == name).map(|row| row.default.to_owned());
        let all = RedisSettings::from_vars(|name| {
            if name == "REDIS_HOST" { Some("h".into()) } else { given(name).filter(|text| !text.is_empty()) }
        });
        let (all, none) = (all.unwrap().unwrap(), settings(&[("REDIS_HOST", "h")]));
        assert_eq!(format!("{all:?}"), format!("{none:?}"));
    }

    #[test]
    fn without_a_place_there_is_no_redis() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("REDIS_PORT", "tcp://10.0.0.1:6379"), ("REDIS_PASSWORD", "x")]).unwrap().is_none());
    }

    #[test]
    fn a_host_has_defaults_for_the_rest() {
        let all = settings(&[("REDIS_HOST", "cache")]);
        let Place::Server(address) = &all.place else { panic!("{all:?}") };
        assert_eq!(address.to_string(), "cache:6379");
        assert_eq!((all.db, all.tls, all.max_connections, all.socket_timeout.as_secs()), (0, false, 50, 1));
        assert!(all.login.username.is_none() && all.login.password.is_none());
    }

    #[test]
    fn a_url_says_the_same_in_one_line() {
        let all = settings(&[("REDIS_URL", "redis://me:p%40ss@[::1]:7000/3"), ("REDIS_SOCKET_TIMEOUT", "250ms")]);
        let Place::Server(address) = &all.place else { panic!("{all:?}") };
        assert_eq!((address.to_string(), all.db), ("[::1]:7000".to_owned(), 3));
        assert_eq!(all.login.username.as_deref(), Some("me"));
        assert_eq!(all.login.password.as_ref().unwrap().expose(), "p@ss");
        assert_eq!(all.socket_timeout, Duration::from_millis(250));
        let later = settings(&[("REDIS_URL", "redis://h"), ("REDIS_PASSWORD", "later"), ("REDIS_USERNAME", "")]);
        assert_eq!(later.login.password.unwrap().expose(), "later");
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let all = settings(&[
            ("REDIS_SENTINELS", "a, b:5000,[::1]:5001"),
            ("REDIS_MASTER_NAME", "main"),
            ("REDIS_PASSWORD", "one"),
            ("REDIS_SENTINEL_PASSWORD", "two"),
        ]);
        let Place::Sentinels { sentinels, primary, login } = &all.place else { panic!("{all:?}") };
        let sentinels: Vec<String> = sentinels.iter().map(Address::to_string).collect();
        assert_eq!((sentinels.join(" "), &**primary), ("a:26379 b:5000 [::1]:5001".to_owned(), "main"));
        assert_eq!(login.password.as_ref().unwrap().expose(), "two");
        assert_eq!(all.login.password.as_ref().unwrap().expose(), "one");
    }

    #[test]
    fn errors_name_the_variable_and_what_is_accepted() {
        for (vars, names) in [
            (&[("REDIS_HOST", "a b")][..], ["REDIS_HOST", "a b"]),
            (&[("REDIS_HOST", "h"), ("REDIS_PORT", "0")], ["REDIS_PORT", "1 to 65535"]),
            (&[("REDIS_HOST", "h"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], ["REDIS_PORT", "enableServiceLinks"]),
            (&[("REDIS_HOST", "h"), ("REDIS_DB", "-1")], ["REDIS_DB", "0 to 65535"]),
            (&[("REDIS_HOST", "h"), ("REDIS_TLS", "maybe")], ["REDIS_TLS", "maybe"]),
            (&[("REDIS_HOST", "h"), ("REDIS_MAX_CONNECTIONS", "0")], ["REDIS_MAX_CONNECTIONS", "10000"]),
            (&[("REDIS_HOST", "h"), ("REDIS_SOCKET_TIMEOUT", "5 s")], ["REDIS_SOCKET_TIMEOUT", "500ms"]),
            (&[("REDIS_HOST", "h"), ("REDIS_SOCKET_KEEPALIVE", "0")], ["REDIS_SOCKET_KEEPALIVE", "always on"]),
            (&[("REDIS_HOST", "h"), ("REDIS_USERNAME", "u")], ["REDIS_USERNAME", "REDIS_PASSWORD"]),
            (&[("REDIS_HOST", "h"), ("REDIS_URL", "redis://h")], ["REDIS_URL", "REDIS_HOST"]),
            (&[("REDIS_URL", "redis://h"), ("REDIS_PORT", "1")], ["REDIS_URL", "REDIS_PORT"]),
            (&[("REDIS_URL", "redis://:x@h"), ("REDIS_PASSWORD", "y")], ["REDIS_URL", "REDIS_PASSWORD"]),
            (&[("REDIS_SENTINELS", "a")], ["REDIS_SENTINELS", "REDIS_MASTER_NAME"]),
            (&[("REDIS_SENTINELS", "a:b"), ("REDIS_MASTER_NAME", "m")], ["REDIS_SENTINELS", "a:b"]),
            (&[("REDIS_CLUSTER_NODES", "a,,b")], ["REDIS_CLUSTER_NODES", "a,,b"]),
            (&[("REDIS_CLUSTER_NODES", "a"), ("REDIS_DB", "1")], ["REDIS_CLUSTER_NODES", "REDIS_DB"]),
        ] {
            let error = read(vars).unwrap_err();
            let text = error.to_string();
            assert!(error.is_config() && names.iter().all(|name| text.contains(name)), "{vars:?}: {text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://:hunter2@",
            "hunter2",
            "redis:/hunter2",
            "http://u:hunter2@h",
            "redis://u:hunter2@h?x",
            "redis://u:hunter2@h:x",
        ] {
            let error = read(&[("REDIS_URL", url)]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let error = read(&[("REDIS_HOST", "u:hunter2@h")]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let all = settings(&[("REDIS_URL", "redis://me:hunter2@h")]);
        assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn tls_without_its_feature_is_an_error() {
        assert!(read(&[("REDIS_URL", "rediss://h")]).unwrap_err().to_string().contains("redis-tls"));
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn tls_is_asked_for_by_scheme_or_by_name() {
        assert!(settings(&[("REDIS_URL", "rediss://h")]).tls);
        assert!(settings(&[("REDIS_HOST", "h"), ("REDIS_TLS", "on")]).tls);
        assert!(!settings(&[("REDIS_HOST", "h"), ("REDIS_TLS", "0")]).tls);
    }
}
