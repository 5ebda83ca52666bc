use http::request::Parts;
use http::{HeaderName, Request, StatusCode};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::Policy;

/// What the cache does where the origin is silent, and what goes into a key.
///
/// Rules belong to a layer, so in axum each route may have its own. Put into a request's extensions they count for
/// that request instead. Cheap to clone.
///
/// ```
/// # use std::time::Duration;
/// # use terrace::{Query, Rules};
/// let rules = Rules::new()
///     .default_ttl(Duration::from_secs(60))
///     .stale_while_revalidate(Duration::from_secs(30))
///     .query(Query::without(["utm_source", "utm_campaign"]))
///     .tag_with(|request| request.headers.get("x-tenant").and_then(|id| id.to_str().ok()).map(|id| format!("tenant:{id}")));
/// ```
#[derive(Clone, Debug)]
pub struct Rules(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    policy: Policy,
    query: Query,
    version: Cow<'static, str>,
    key_part: Option<Arc<KeyPart>>,
    tags: Option<Arc<TagWith>>,
    tag_fields: Vec<HeaderName>,
    keep_tag_fields: bool,
    jitter: f64,
    early_refresh: f64,
    namespace: Option<Cow<'static, str>>,
}

type KeyPart = dyn Fn(&Parts) -> Option<String> + Send + Sync;
type TagWith = dyn Fn(&Parts) -> Vec<String> + Send + Sync;

/// Which query parameters tell requests apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// All, exactly as they are.
    #[default]
    Exact,
    /// All, in any order.
    Sorted,
    /// All but those of these names, in any order.
    Without(Vec<Cow<'static, str>>),
    /// Those of these names only, in any order.
    Only(Vec<Cow<'static, str>>),
}

impl Query {
    /// All parameters but those of these names, in any order.
    pub fn without<N: Into<Cow<'static, str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Without(names.into_iter().map(Into::into).collect())
    }

    /// The parameters of these names only, in any order.
    pub fn only<N: Into<Cow<'static, str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Only(names.into_iter().map(Into::into).collect())
    }
}

impl Rules {
    /// The safe defaults. Responses are stored if they say that they may be, or if these rules are told to by
    /// [`default_ttl`](Self::default_ttl); nothing that came with credentials or cookies is shared unless the response
    /// says `public`, `s-maxage` or a targeted lifetime; and clients cannot force a trip to the origin.
    #[expect(clippy::new_without_default, reason = "there are two sets of rules, and a user should say which")]
    pub fn new() -> Self {
        Self::with(Policy::safe())
    }

    /// Exactly RFC 9111, for a shared cache in front of origins that were written with one in mind.
    pub fn rfc9111() -> Self {
        Self::with(Policy::rfc9111())
    }

    fn with(policy: Policy) -> Self {
        Self(Arc::new(Inner {
            policy,
            query: Query::Exact,
            version: "".into(),
            key_part: None,
            tags: None,
            tag_fields: ["cache-tag", "surrogate-key"].map(HeaderName::from_static).into(),
            keep_tag_fields: false,
            jitter: 0.0,
            early_refresh: 0.0,
            namespace: None,
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The freshness lifetime of successful responses and permanent redirects that name none. Default: that of
    /// `CACHE_DEFAULT_TTL`, which is none.
    #[must_use]
    pub fn default_ttl(self, lifetime: Duration) -> Self {
        self.change(|rules| rules.policy.default_ttl = Some(lifetime))
    }

    /// The freshness lifetime of responses with this status code that name none: negative caching. Default: none for
    /// any code. Think twice before you name 401, 403 or 429, which depend on who asks.
    #[must_use]
    pub fn status_ttl(self, status: StatusCode, lifetime: Duration) -> Self {
        self.change(|rules| {
            rules.policy.status_ttl.retain(|(code, _)| *code != status);
            rules.policy.status_ttl.push((status, lifetime));
        })
    }

    /// The longest lifetime that is guessed from `Last-Modified` (RFC 9111 section 4.2.2); zero switches guessing off.
    /// Default: one day.
    #[must_use]
    pub fn heuristic_max(self, lifetime: Duration) -> Self {
        self.change(|rules| rules.policy.heuristic_max = lifetime)
    }

    /// For how long responses that do not say are served stale while they are revalidated. Default: not at all.
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.change(|rules| rules.policy.stale_while_revalidate = window)
    }

    /// For how long responses that do not say are served stale when the origin fails. Default: not at all.
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.change(|rules| rules.policy.stale_if_error = window)
    }

    /// The targeted fields (RFC 9213) that count for this cache, the first that is there and valid before all others.
    /// Default: `CDN-Cache-Control`.
    #[must_use]
    pub fn targeted_fields(self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.change(|rules| rules.policy.targeted = fields.into_iter().collect())
    }

    /// Whether requests may demand a fresher response than the stored one (`no-cache`, `max-age`, `min-fresh`), or
    /// accept a staler one (`max-stale`). Default: no under the safe rules, for it lets anybody send every request to
    /// the origin; yes under [`rfc9111`](Self::rfc9111).
    #[must_use]
    pub fn honor_reload(self, honor: bool) -> Self {
        self.change(|rules| rules.policy.honor_reload = honor)
    }

    /// Takes a random share, up to this one (0 to 1), off each lifetime, so that entries stored together do not expire
    /// together. Default: 0.
    #[must_use]
    pub fn jitter(self, share: f64) -> Self {
        self.change(|rules| rules.jitter = share.clamp(0.0, 1.0))
    }

    /// Refreshes entries before they expire, at random moments that are the likelier the less time is left and the
    /// longer the last fetch took (`XFetch`, Vattani et al. 2015). 1 is the optimum of the paper, more refreshes
    /// earlier, 0 never. Default: 0.
    #[must_use]
    pub fn early_refresh(self, beta: f64) -> Self {
        self.change(|rules| rules.early_refresh = beta.max(0.0))
    }

    /// Which query parameters are part of the key. Default: [`Query::Exact`].
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        self.change(|rules| rules.query = query)
    }

    /// A part of every key: entries of one version are invisible to another. Change it when the meaning of a URL
    /// changes, as with a new schema or a new validator. Default: empty.
    #[must_use]
    pub fn version(self, version: impl Into<Cow<'static, str>>) -> Self {
        self.change(|rules| rules.version = version.into())
    }

    /// Adds what the function returns to the key, for whatever beside the URL tells responses apart.
    ///
    /// It runs on every request before the cache is looked into, so it must be fast. `None` is not the same as an
    /// empty text. Use [`Partition`](crate::Partition) for what belongs to a user.
    #[must_use]
    pub fn key_with(self, part: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.change(|rules| rules.key_part = Some(Arc::new(part)))
    }

    /// Tags the responses to a request, see [`Store::purge_tag`](crate::Store::purge_tag). Runs only when the origin is asked.
    #[must_use]
    pub fn tag_with<T: IntoIterator<Item = String>>(self, tags: impl Fn(&Parts) -> T + Send + Sync + 'static) -> Self {
        self.change(|rules| rules.tags = Some(Arc::new(move |parts| tags(parts).into_iter().collect())))
    }

    /// The response fields that name tags, separated by commas or spaces. They are removed from answers unless
    /// [kept](Self::keep_tag_fields). Default: `Cache-Tag` and `Surrogate-Key`.
    #[must_use]
    pub fn tag_fields(self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.change(|rules| rules.tag_fields = fields.into_iter().collect())
    }

    /// Sends the fields that name tags on to clients. Default: they are removed.
    #[must_use]
    pub fn keep_tag_fields(self, keep: bool) -> Self {
        self.change(|rules| rules.keep_tag_fields = keep)
    }

    /// The `cache_namespace` of the requests' metrics; beyond 32 different ones they are counted as `other`. Default:
    /// that of `CACHE_NAMESPACE`. Of rules put into a request's extensions it does not count.
    #[must_use]
    pub fn namespace(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.change(|rules| rules.namespace = Some(name.into()))
    }
}

impl Rules {
    #[inline]
    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    #[inline]
    pub(super) fn query_rule(&self) -> &Query {
        &self.0.query
    }

    #[inline]
    pub(super) fn version_text(&self) -> &str {
        &self.0.version
    }

    #[inline]
    pub(super) fn key_part(&self) -> Option<&KeyPart> {
        self.0.key_part.as_deref()
    }

    /// The tags of a request, and the request.
    pub(super) fn tagged<B>(&self, request: Request<B>) -> (Request<B>, Vec<String>) {
        let Some(tags) = &self.0.tags else {
            return (request, Vec::new());
        };
        let (parts, body) = request.into_parts();
        let tags = tags(&parts);
        (Request::from_parts(parts, body), tags)
    }

    pub(super) fn tag_field_names(&self) -> &[HeaderName] {
        &self.0.tag_fields
    }

    pub(super) fn keeps_tag_fields(&self) -> bool {
        self.0.keep_tag_fields
    }

    pub(super) fn jitter_share(&self) -> f64 {
        self.0.jitter
    }

    #[inline]
    pub(super) fn early_refresh_beta(&self) -> f64 {
        self.0.early_refresh
    }

    pub(super) fn namespace_name(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("policy", &self.policy)
            .field("query", &self.query)
            .field("version", &self.version)
            .field("tag_fields", &self.tag_fields)
            .field("jitter", &self.jitter)
            .field("early_refresh", &self.early_refresh)
            .finish_non_exhaustive()
    }
}
