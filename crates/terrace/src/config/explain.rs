//! The whole environment at a glance: every variable with what is effective and where that came from.

use super::Config;
use super::accepts::Accepts;
use super::errors::contradiction;
use super::table::{Apply, SETTINGS, Setting, find, is_ours};

/// What an environment means to Terrace. Where [`Config::from_env`] stops at the first mistake, this has all of them.
///
/// ```
/// use terrace::config::{Environment, Source};
///
/// let environment = Environment::read([("ENABLE_METRICS", "off"), ("CACHE_L1_ENABLE", "off"), ("QDRANT_HOST", "q")]);
/// let metrics = environment.variables.iter().find(|variable| variable.name == "CACHE_METRICS_ENABLED").unwrap();
/// assert_eq!((metrics.value.as_str(), &metrics.source), ("off", &Source::Alias("ENABLE_METRICS".into())));
/// assert!(environment.problems[0].contains("the nearest one is CACHE_L1_ENABLED"));
/// assert_eq!(environment.foreign, ["QDRANT_HOST"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// Every variable that there is, given or not, in the manual's order: `CACHE_*` and `AUTHZ_*`, then `REDIS_*`.
    pub variables: Vec<Variable>,
    /// What a start would fail with: unknown names, malformed values, contradictions. No text shows a secret.
    pub problems: Vec<String>,
    /// Names that look like ours or like those of systems that were replaced, and that nobody here reads.
    pub foreign: Vec<String>,
    /// Variables of ours that have no effect, because nothing says where Redis is.
    pub idle: Vec<String>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name, which is not always the one that was given.
    pub name: &'static str,
    /// What is effective, as it was written; a secret is `***`, and what is not set is empty.
    pub value: String,
    /// Where that came from.
    pub source: Source,
    /// What it is if it is not given; empty if it is nothing then.
    pub default: &'static str,
    /// What its value may be.
    pub accepts: String,
    /// Whether its value must not be seen.
    pub is_secret: bool,
    /// Whether it can be changed while a store runs.
    pub is_live: bool,
    /// What it is for.
    pub meaning: &'static str,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody has said anything.
    Default,
    /// The variable itself.
    Environment,
    /// Another name for it, which is this one.
    Alias(String),
}

/// What names begin with that are listed if nobody reads them.
const FOREIGN: [&str; 6] =
    ["REDIS_", "QDRANT_", "AUTHZ_", "SEMANTIC_CACHE_", "ENABLE_PROMPT_COMPRESSION", "FORCE_CACHE_CONTROLLER"];

impl Environment {
    /// Reads variables, such as [`std::env::vars`]. Those that have nothing to do with Terrace are passed over.
    pub fn read<N: AsRef<str>, V: AsRef<str>>(vars: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut vars: Vec<(String, String)> =
            vars.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect();
        vars.sort();
        let mut environment = Self::default();
        environment.settings(&vars);
        environment.redis(&vars);
        let is_known = |name: &str| environment.variables.iter().any(|variable| variable.name == name);
        let names = vars.iter().map(|(name, _)| name).filter(|name| !is_ours(name) && !is_known(name));
        let foreign = names.filter(|name| FOREIGN.iter().any(|prefix| name.starts_with(prefix)));
        environment.foreign = foreign.cloned().collect();
        environment
    }

    fn settings(&mut self, vars: &[(String, String)]) {
        let mut given: [Option<(&str, &str)>; SETTINGS.len()] = [None; SETTINGS.len()];
        for (name, value) in vars.iter().filter(|(name, _)| is_ours(name)) {
            match find(name) {
                Err(unknown) => self.problems.push(unknown.to_string()),
                Ok(at) => {
                    self.problems.extend(mistake(at, name, value));
                    let other = given[at].filter(|(_, other)| differ(at, other, value));
                    self.problems.extend(other.map(|(other, _)| contradiction(other, name).to_string()));
                    // The name itself wins over others for it, which say the same.
                    if given[at].is_none() || *name == SETTINGS[at].name {
                        given[at] = Some((name, value));
                    }
                }
            }
        }
        self.variables.extend(SETTINGS.iter().zip(given).map(|(setting, given)| setting.explained(given)));
    }

    #[cfg(feature = "redis")]
    fn redis(&mut self, vars: &[(String, String)]) {
        let get = |name: &str| vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let explained = crate::store::explain_redis(get);
        let is_given = |variable: &&Variable| variable.source != Source::Default && !variable.value.is_empty();
        if explained.is_idle {
            self.idle = explained.variables.iter().filter(is_given).map(|variable| variable.name.to_owned()).collect();
        }
        self.problems.extend(explained.problem.map(|error| error.to_string()));
        self.variables.extend(explained.variables);
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unused_self, reason = "there is nothing to read")]
    fn redis(&mut self, _: &[(String, String)]) {}
}

/// What a start would say about this value.
fn mistake(at: usize, name: &str, value: &str) -> Option<String> {
    #[cfg(feature = "redis")]
    if matches!(SETTINGS[at].accepts, Accepts::Keys) && value != "none" {
        return crate::store::check_keys(SETTINGS[at].name, value).err().map(|error| error.to_string());
    }
    Config::default().set_at(at, name, value).err().map(|error| error.to_string())
}

/// Whether two texts mean different things. One that means nothing is a mistake of its own.
fn differ(at: usize, one: &str, other: &str) -> bool {
    let meant = |text: &str| {
        let mut config = Config::default();
        config.assign(at, text).map(|()| config)
    };
    meant(one).zip(meant(other)).is_some_and(|(one, other)| one != other)
}

impl Setting {
    fn explained(&self, given: Option<(&str, &str)>) -> Variable {
        let is_secret = matches!(self.accepts, Accepts::Keys);
        let (value, source) = match given {
            None => (self.default, Source::Default),
            Some((name, value)) if name == self.name => (value, Source::Environment),
            Some((name, value)) => (value, Source::Alias(name.to_owned())),
        };
        Variable {
            name: self.name,
            value: if is_secret && value != "none" { "***".to_owned() } else { value.to_owned() },
            source,
            default: self.default,
            accepts: self.accepts.to_string(),
            is_secret,
            is_live: !matches!(self.apply, Apply::Start),
            meaning: self.doc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(environment: &'a Environment, name: &str) -> &'a Variable {
        environment.variables.iter().find(|variable| variable.name == name).unwrap()
    }

    #[test]
    fn without_variables_everything_is_its_default_and_nothing_is_wrong() {
        let all = Environment::read::<&str, &str>([]);
        assert!(all.problems.is_empty() && all.foreign.is_empty() && all.idle.is_empty(), "{all:?}");
        assert!(all.variables.iter().all(|one| one.source == Source::Default && one.value == one.default));
        assert!(all.variables.iter().all(|one| !one.meaning.is_empty() && !one.accepts.is_empty()));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let all = Environment::read([
            ("CACHE_L1_MAX_BYTES", "much"),
            ("CACHE_UNKNOWN", "1"),
            ("CACHE_METRICS_ENABLED", "on"),
            ("ENABLE_METRICS", "off"),
            ("PATH", "/bin"),
        ]);
        let [bytes, metrics, unknown] = [
            "CACHE_L1_MAX_BYTES is \"much\"",
            "CACHE_METRICS_ENABLED and ENABLE_METRICS name the same setting",
            "CACHE_UNKNOWN is not a setting",
        ]
        .map(|start| all.problems.iter().filter(|problem| problem.starts_with(start)).count());
        assert_eq!((bytes, metrics, unknown, all.problems.len()), (1, 1, 1, 3), "{:?}", all.problems);
        assert_eq!(found(&all, "CACHE_METRICS_ENABLED").source, Source::Environment);
    }

    #[test]
    fn names_that_say_the_same_are_no_mistake() {
        let all = Environment::read([("CACHE_ENABLED", "no"), ("ENABLE_SEMANTIC_CACHE_V2", "0")]);
        assert!(all.problems.is_empty(), "{:?}", all.problems);
        assert_eq!(found(&all, "CACHE_ENABLED").value, "no");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn secrets_are_not_shown_whatever_is_wrong_with_them() {
        let all = Environment::read([
            ("CACHE_KEYS", "k1:hunter2"),
            ("AUTHZ_CACHE_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            ("REDIS_URL", "redis://me:hunter2@h:7000"),
            ("REDIS_SENTINEL_PASSWORD", "hunter2"),
        ]);
        assert!(!format!("{all:?}").contains("hunter2") && !format!("{all:?}").contains("AAEC"), "{all:?}");
        assert_eq!(found(&all, "AUTHZ_CACHE_KEYS").value, "***");
        assert_eq!(found(&all, "REDIS_URL").value, "redis://***@h:7000");
        assert!(all.problems.len() == 1 && all.problems[0].starts_with("CACHE_KEYS"), "{:?}", all.problems);
        let all = Environment::read([("REDIS_URL", "hunter2")]);
        assert!(!format!("{all:?}").contains("hunter2") && all.problems.len() == 1, "{all:?}");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn what_is_somebody_elses_and_what_has_no_effect_is_listed() {
        let vars = [("REDIS_PORT", "6380"), ("REDIS_PORT_6379_TCP", "tcp://10.0.0.1:6379"), ("QDRANT_HOST", "q")];
        let all = Environment::read(vars);
        assert_eq!(
            (&*all.foreign, &*all.idle),
            (&["QDRANT_HOST", "REDIS_PORT_6379_TCP"].map(String::from)[..], &["REDIS_PORT".to_owned()][..])
        );
        let all = Environment::read(vars.into_iter().chain([("REDIS_HOST", "h")]));
        assert!(all.idle.is_empty() && all.problems.is_empty(), "{all:?}");
        assert_eq!(found(&all, "REDIS_PORT").value, "6380");
        assert_eq!(found(&all, "REDIS_DB").source, Source::Default);
    }
}
