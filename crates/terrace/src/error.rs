//! What can go wrong where a cache is set up. Requests never see an error of the cache.

use std::fmt;

/// Why something could not be set up or changed. Its text names the culprit and says what would have been accepted,
/// and is not for parsing.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[cfg(feature = "metrics")]
type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
enum Kind {
    Config(String),
    Target(String),
    Unannounced,
    Unseen(Why),
    Untaken(Why),
    Unconfirmed(Option<Why>),
    #[cfg(feature = "metrics")]
    Metrics {
        doing: &'static str,
        source: Source,
    },
}

/// What Redis, or the way to it, said. It holds no password.
#[derive(Debug)]
struct Why(String);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Why {}

impl Error {
    #[cold]
    pub(crate) fn config(text: String) -> Self {
        Self(Box::new(Kind::Config(text)))
    }

    #[cold]
    pub(crate) fn purge(url: &str) -> Self {
        let expected = "expected an absolute URL like https://example.com/path, or a path that begins with a slash";
        Self(Box::new(Kind::Target(format!("cannot purge `{url}`: {expected}"))))
    }

    #[cold]
    pub(crate) fn subjects(count: usize, most: usize) -> Self {
        let advice = "revoke the tenant if they are more";
        Self(Box::new(Kind::Target(format!("a scope of subjects names {count}, but accepts 1 to {most}; {advice}"))))
    }

    #[cold]
    pub(crate) fn unseen(why: String) -> Self {
        Self(Box::new(Kind::Unseen(Why(why))))
    }

    #[cold]
    pub(crate) fn untaken(why: String) -> Self {
        Self(Box::new(Kind::Untaken(Why(why))))
    }

    #[cold]
    pub(crate) fn unannounced() -> Self {
        Self(Box::new(Kind::Unannounced))
    }

    #[cold]
    pub(crate) fn unconfirmed(why: Option<String>) -> Self {
        Self(Box::new(Kind::Unconfirmed(why.map(Why))))
    }

    #[cfg(feature = "metrics")]
    #[cold]
    pub(crate) fn metrics(doing: &'static str, source: impl Into<Source>) -> Self {
        let source = source.into();
        Self(Box::new(Kind::Metrics { doing, source }))
    }

    /// Whether an invalidation was not confirmed. In this process it is in effect; other processes may serve older data
    /// until it is: it is repeated until then, as long as this process lives. Its
    /// [source](std::error::Error::source) names the server and says why, as far as that is known.
    pub fn is_unconfirmed(&self) -> bool {
        matches!(*self.0, Kind::Unconfirmed(_))
    }

    /// Whether a setting is unknown, malformed, out of range, contradictory or cannot be changed now.
    pub fn is_config(&self) -> bool {
        matches!(*self.0, Kind::Config(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Config(text) | Kind::Target(text) => f.write_str(text),
            Kind::Unseen(why) => write!(f, "cannot look into Redis: {why}"),
            Kind::Untaken(why) => write!(f, "Redis did not do it: {why}"),
            Kind::Unannounced => {
                f.write_str("Redis did not take the announcement of a change; change nothing, and try again")
            }
            Kind::Unconfirmed(_) => f.write_str("Redis did not confirm the invalidation; it is repeated until it does"),
            #[cfg(feature = "metrics")]
            Kind::Metrics { doing, .. } => f.write_str(doing),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Config(_) | Kind::Target(_) | Kind::Unannounced | Kind::Unseen(_) | Kind::Untaken(_) => None,
            Kind::Unconfirmed(why) => why.as_ref().map(|why| why as _),
            #[cfg(feature = "metrics")]
            Kind::Metrics { source, .. } => Some(&**source),
        }
    }
}
