//! What applications say about one request or one response, through `http::Extensions`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::ResponseDirectives;

/// A request extension: this request is forwarded as if there were no cache, and its response is not stored.
///
/// [`Rules`](crate::Rules) are a request extension too, and then count instead of the layer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bypass;

/// A request extension: entries for this request are kept apart from all others, for one user, tenant or role.
///
/// Within a partition, credentials and cookies in a request do not keep its response from being stored;
/// `private` and `no-store` in the response still do. Whatever sets it must have authenticated the request: whoever
/// can choose a partition can read what is stored in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// A partition of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A response extension: tags by which the stored response can be purged, see
/// [`Store::purge_tag`](crate::Store::purge_tag).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags(Vec<Cow<'static, str>>);

impl CacheTags {
    /// No tags yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tag.
    #[must_use]
    pub fn with(mut self, tag: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(tag.into());
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tag| &**tag)
    }
}

/// A response extension: how this cache treats the response, whatever its `Cache-Control` tells other caches.
///
/// It counts in the place of `Cache-Control`, `Expires` and targeted fields, like a targeted field of its own (RFC 9213).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseOverride(ResponseDirectives);

impl ResponseOverride {
    /// Fresh for this long. Stored even if the request carried credentials: it says that everybody may see the response.
    pub fn fresh_for(lifetime: Duration) -> Self {
        Self(ResponseDirectives::fresh_for(lifetime))
    }

    /// Not stored.
    pub fn no_store() -> Self {
        Self(ResponseDirectives::no_store())
    }

    /// Served stale for this long while it is revalidated (RFC 5861 section 3). Default: as the rules say.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.0.stale_while_revalidate = Some(window);
        self
    }

    /// Served stale for this long when the origin fails (RFC 5861 section 4). Default: as the rules say.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.0.stale_if_error = Some(window);
        self
    }

    pub(super) fn directives(&self) -> &ResponseDirectives {
        &self.0
    }
}
