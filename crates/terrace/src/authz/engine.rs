//! The engine: what layers and handlers ask.

use super::decision::{Decision, Unavailable};
use super::facts::{Facts, Shares, Tagger};
use super::grants::Grants;
use super::key::{self, Keys};
use super::layer::AuthzLayer;
use super::load::Loaded;
use super::principal::{Principal, Who};
use super::requirement::Requirement;
use super::ring::{self, Ring};
use super::ruling::{Begun, Question, Ruling};
use super::source::{AnyAuthorizer, AnyIdentify, AnySource, Authorizer, Identify, Nothing, PermissionSource};
use crate::config::Config;
use crate::observe::Namespace;
use crate::observe::stats::{CacheName, CheckStatus, Stats};
use crate::store::refresh::Refreshes;
use crate::store::{Flights, Tiers};
use crate::{Error, Store};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Answers what subjects may do, from what is cached of their permissions. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Authz {
    pub(super) engine: Arc<Engine>,
}

pub(super) struct Engine {
    pub(super) store: Store,
    pub(super) tiers: Arc<Tiers<Facts>>,
    pub(super) flights: Flights<Loaded>,
    pub(super) keys: Keys,
    pub(super) tagger: Arc<Tagger>,
    pub(super) ring: Ring,
    pub(super) source: Box<dyn AnySource>,
    pub(super) authorizer: Option<Box<dyn AnyAuthorizer>>,
    pub(super) identifier: Option<Arc<dyn AnyIdentify>>,
    /// Calls of the source at once.
    pub(super) permits: Semaphore,
    /// The turn to compare facts with what the source says now.
    pub(super) samples: Refreshes,
    pub(super) shares: Shares,
    pub(super) config: Config,
    pub(super) namespace: Namespace,
    single_process: bool,
    /// How long facts are used at most where a server may have forgotten revocations unnoticed; `None` where none may.
    pub(super) unfenced: Option<Duration>,
    /// Tells it from others, in the extensions of a request.
    pub(super) id: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.store).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authz").field("store", &self.engine.store).finish_non_exhaustive()
    }
}

/// Puts an [`Authz`] together.
#[must_use = "a builder does nothing until it is built"]
pub struct AuthzBuilder {
    store: Store,
    config: Config,
    source: Box<dyn AnySource>,
    source_id: Box<str>,
    policy_version: Box<str>,
    authorizer: Option<Box<dyn AnyAuthorizer>>,
    authorizer_id: Option<Box<str>>,
    identifier: Option<Arc<dyn AnyIdentify>>,
    single_process: bool,
    unfenced: Option<Duration>,
}

impl fmt::Debug for AuthzBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthzBuilder").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Authz {
    /// Caches what `source` says in `store`, with the settings of that store.
    pub fn builder<S: PermissionSource>(store: Store, source: S) -> AuthzBuilder {
        AuthzBuilder {
            config: store.config().clone(),
            store,
            source: Box::new(source),
            source_id: std::any::type_name::<S>().into(),
            policy_version: "".into(),
            authorizer: None,
            authorizer_id: None,
            identifier: None,
            single_process: false,
            unfenced: None,
        }
    }

    /// As [`builder`](Self::builder), with the settings that the environment has (`AUTHZ_*`).
    ///
    /// # Errors
    ///
    /// As [`Config::from_env`].
    pub fn from_env<S: PermissionSource>(store: Store, source: S) -> Result<AuthzBuilder, Error> {
        Ok(AuthzBuilder { config: Config::from_env()?, ..Self::builder(store, source) })
    }

    /// As [`from_env`](Self::from_env), with these variables instead of the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::from_vars`].
    pub fn from_vars<S: PermissionSource, N: AsRef<str>, V: AsRef<str>>(
        store: Store,
        source: S,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<AuthzBuilder, Error> {
        Ok(AuthzBuilder { config: Config::from_vars(vars)?, ..Self::builder(store, source) })
    }

    /// For an application whose authorizer decides everything: nothing is cached but that nothing is known.
    pub fn deciding<A: Authorizer>(store: Store, authorizer: A) -> AuthzBuilder {
        Self::builder(store, Nothing).authorizer(authorizer)
    }
}

impl AuthzBuilder {
    /// Who says who sends a request. Layers need it.
    pub fn identify<I: Identify>(mut self, identifier: I) -> Self {
        self.identifier = Some(Arc::new(identifier));
        self
    }

    /// Who decides what a partial set of permissions does not.
    pub fn authorizer<A: Authorizer>(mut self, authorizer: A) -> Self {
        self.authorizer = Some(Box::new(authorizer));
        self
    }

    /// Caches what the authorizer decides, as permissions are cached: an allow for `AUTHZ_CACHE_TTL`, a deny for
    /// `AUTHZ_CACHE_DENY_TTL`, both until they are revoked. Without it, each check that permissions do not decide asks.
    ///
    /// It says that a decision depends on nothing else than its [`Query`](super::Query): on no clock, no address and no
    /// attribute that is not in its [`Context`](super::Context), and that whoever changes anything else that it depends
    /// on (a relation, an owner, a policy) revokes the subjects or the tenant.
    ///
    /// `id` names the authorizer: two of them that answer differently, for they have other rules or ask another service,
    /// need different names where they share a store.
    pub fn cache_decisions(mut self, id: impl Into<Box<str>>) -> Self {
        self.authorizer_id = Some(id.into());
        self
    }

    /// Names the source, so that engines with different sources can share a store. Defaults to the name of its type: two
    /// sources of one type need names of their own.
    pub fn source_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.source_id = id.into();
        self
    }

    /// Names the version of what grants mean to the source, and of what the authorizer decides by: facts of another version
    /// are not used.
    pub fn policy_version(mut self, version: impl Into<Box<str>>) -> Self {
        self.policy_version = version.into();
        self
    }

    /// Says that no other process changes what this one caches. Without Redis, others cannot be heard, and facts are
    /// cached for at most 30 seconds unless this is called.
    pub fn single_process(mut self) -> Self {
        self.single_process = true;
        self
    }

    /// Caches rights also where Redis does not say who it is, because the user may not run `INFO` or a proxy hides it. Such a
    /// server may be restarted, or replaced by one that lags, and nobody notices that it has forgotten a revocation: without
    /// this nothing is cached there, and no revocation acknowledged.
    ///
    /// Facts are then used for `ttl` at most, 30 seconds or less, also where the source fails and however well the server
    /// is known in the end. The [bound](Authz::revocation_bound) is no less than that. It is about stores that processes
    /// share, and changes nothing without Redis.
    pub fn unfenced(mut self, ttl: Duration) -> Self {
        self.unfenced = Some(ttl);
        self
    }

    /// Puts it together. Its settings are the store's from now on.
    ///
    /// # Errors
    ///
    /// If [`unfenced`](Self::unfenced) was given more than 30 seconds.
    ///
    /// If the store is one that processes share, and `AUTHZ_CACHE_KEYS` is not set or malformed, or has other keys than
    /// another engine of the store, or `CACHE_NAMESPACE` is not set. If decisions are to be cached, and there is no
    /// authorizer.
    pub fn build(self) -> Result<Authz, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Self { store, config, source, source_id, policy_version, authorizer, authorizer_id, .. } = self;
        let (identifier, single_process, unfenced) = (self.identifier, self.single_process, self.unfenced);
        if authorizer_id.is_some() && authorizer.is_none() {
            return Err(Error::config("cache_decisions needs an authorizer".to_owned()));
        }
        if let Some(ttl) = unfenced.filter(|ttl| *ttl > UNHEARD) {
            return Err(Error::config(format!("unfenced({ttl:?}) is too long; expected at most {UNHEARD:?}")));
        }
        let (limit, keys) = (config.authz_l1_limit(), config.authz_keys());
        let (tiers, vaults) = store.sealed_tiers(limit, ("AUTHZ_CACHE_KEYS", keys), key::family)?;
        store.settings().adopt_authz(&config);
        let unfenced = unfenced.filter(|_| tiers.is_shared());
        let ring = Ring::new(&vaults, unfenced.is_some());
        let tagger = if tiers.is_shared() {
            Tagger::Shared(vaults.into())
        } else {
            Tagger::Alone(tiers.mirror().tags().clone())
        };
        let engine = Engine {
            tiers,
            flights: Flights::new(),
            keys: Keys::new(store.namespace(), (&source_id, authorizer_id.as_deref()), &policy_version),
            tagger: Arc::new(tagger),
            ring,
            source,
            authorizer,
            identifier,
            permits: Semaphore::new(config.source_concurrency()),
            samples: Refreshes::default(),
            shares: Shares::default(),
            namespace: store.observe().namespace(store.namespace()),
            config,
            single_process,
            unfenced,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            store,
        };
        engine.tiers.observe().revocation_bound(engine.bound());
        let engine = Arc::new(engine);
        ring::start(&engine);
        Ok(Authz { engine })
    }
}

/// Without Redis other processes are not heard, and with one that may have forgotten something not all they said: this long
/// facts may outlive what they do.
const UNHEARD: Duration = Duration::from_secs(30);

impl Engine {
    /// How long facts are used.
    pub(super) fn ttl(&self) -> Duration {
        let ttl = self.tiers.settings().authz_ttl();
        let ttl = if self.is_heard() { ttl } else { ttl.min(UNHEARD) };
        self.unfenced.map_or(ttl, |most| ttl.min(most))
    }

    /// Whether everybody who changes anything is heard.
    pub(super) fn is_heard(&self) -> bool {
        self.tiers.is_shared() || self.single_process
    }

    /// How long a right survives its acknowledged revocation at most.
    pub(super) fn bound(&self) -> Duration {
        let settings = self.tiers.settings();
        let lag = match (self.tiers.is_shared(), self.single_process) {
            (true, _) => self.unfenced.unwrap_or_default().max(settings.max_lag()),
            (false, true) => Duration::ZERO,
            (false, false) => self.ttl(),
        };
        lag.max(settings.source_timeout())
    }
}

impl Authz {
    /// A layer that identifies the caller and requires this of them.
    pub fn require(&self, requirement: impl Into<Requirement>) -> AuthzLayer {
        AuthzLayer::new(self, Some(requirement.into()))
    }

    /// A layer that identifies the caller and requires nothing: handlers find the [`Identity`](super::Identity) among the
    /// request's extensions. A caller without a credential is anonymous; one that is not valid is answered with 401.
    pub fn identify(&self) -> AuthzLayer {
        AuthzLayer::new(self, None)
    }

    /// Whether somebody may do something.
    ///
    /// # Errors
    ///
    /// If there is no decision: treat that as no permission, and tell the caller to try again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is counted as an error. What it has asked of the source goes on, for others.
    pub async fn check(
        &self,
        principal: &Principal,
        requirement: impl Into<Requirement>,
    ) -> Result<Decision, Unavailable> {
        Ok(self.rule(principal, &requirement.into()).await?.decision())
    }

    /// Whether somebody may do each of these things, with one look-up for all.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), if one of them has no decision.
    pub async fn check_many(
        &self,
        principal: &Principal,
        requirements: impl IntoIterator<Item = impl Into<Requirement>>,
    ) -> Result<Vec<Decision>, Unavailable> {
        let requirements: Vec<Requirement> = requirements.into_iter().map(Into::into).collect();
        let begun = Begun::at(self.engine.tiers.clock().now());
        let questions = requirements.iter().map(Question::of).collect::<Result<Vec<_>, _>>();
        let questions = questions.inspect_err(|_| self.engine.fail(requirements.len(), begun))?;
        let rulings = self.engine.rule(principal, &questions, begun).await?;
        Ok(rulings.iter().map(Ruling::decision).collect())
    }

    /// All that somebody may do, as the source has it: explicit denies are in it too.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn permissions(&self, who: &Who) -> Result<Grants, Unavailable> {
        let known = self.engine.facts(who, self.engine.tiers.clock().now()).await?;
        Ok(known.facts().grants.clone())
    }

    /// Decides as [`check`](Self::check), and says on what grounds.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn explain(
        &self,
        principal: &Principal,
        requirement: impl Into<Requirement>,
    ) -> Result<Explanation, Unavailable> {
        let requirement = requirement.into();
        let ruling = self.rule(principal, &requirement).await?;
        Ok(ruling.explanation(&self.engine, &requirement))
    }

    async fn rule(&self, principal: &Principal, requirement: &Requirement) -> Result<Ruling, Unavailable> {
        let begun = Begun::at(self.engine.tiers.clock().now());
        let question = Question::of(requirement).inspect_err(|_| self.engine.fail(1, begun))?;
        let rulings = self.engine.rule(principal, &[question], begun).await?;
        Ok(rulings.into_iter().next().expect("there is a ruling on each question"))
    }

    /// What is counted, as far as it is about authorization.
    pub fn stats(&self) -> Stats {
        self.engine.store.stats().of(CacheName::Authz)
    }

    /// How long a right survives its acknowledged revocation at most: `authz_revocation_bound_seconds`.
    pub fn revocation_bound(&self) -> Duration {
        self.engine.bound()
    }
}

/// Why a check came out as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What came of it.
    pub decision: Decision,
    /// What was asked for.
    pub permissions: Vec<String>,
    /// Where the permission comes from, if it is granted and its source says so.
    pub via: Option<String>,
    /// How the check was answered.
    pub cache_status: CheckStatus,
    /// How old the facts are.
    pub age: Duration,
    /// The version of the source, if it said so.
    pub source_version: Option<super::SourceVersion>,
}
