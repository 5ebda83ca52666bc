//! What the application implements. Its futures are boxed here, so that no layer has a type parameter for it.

use super::context::Context;
use super::decision::{Decision, Unavailable, UnavailableReason};
use super::grants::{Grants, SourceVersion};
use super::principal::{Identity, IdentityError, Who};
use http::request::Parts;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

/// Says who sends a request, by its head.
///
/// ```
/// use http::request::Parts;
/// use terrace::authz::{Identify, Identity, IdentityError, Principal, Subject, Tenant, Who};
///
/// /// Trusts a gateway that has authenticated the caller.
/// struct Gateway;
///
/// impl Identify for Gateway {
///     async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
///         let user = parts.headers.get("x-user").ok_or(IdentityError::Missing)?;
///         let user = user.to_str().map_err(|_| IdentityError::Invalid)?;
///         let subject = Subject::new(user).map_err(|_| IdentityError::Invalid)?;
///         Ok(Identity::Known(Principal::new(Who { tenant: Tenant::single(), subject })))
///     }
/// }
/// ```
pub trait Identify: Send + Sync + 'static {
    /// Finds out who sends a request. If that takes longer than `AUTHZ_CACHE_SOURCE_TIMEOUT_MS`, the caller is answered with
    /// 503, as for [`IdentityError::Unavailable`], and what is under way is dropped.
    ///
    /// # Errors
    ///
    /// See [`IdentityError`]: a caller whose tenant is not known is [`IdentityError::Missing`].
    fn identify(&self, parts: &Parts) -> impl Future<Output = Result<Identity, IdentityError>> + Send;
}

/// Knows what subjects may do: the whole set in one read.
///
/// ```
/// use terrace::authz::{Grants, LoadHint, PermissionSource, Who};
///
/// struct Everybody;
///
/// impl PermissionSource for Everybody {
///     type Error = std::io::Error;
///
///     async fn load(&self, who: &Who, _: LoadHint<'_>) -> Result<Grants, Self::Error> {
///         let own = format!("profile:write:{}", who.subject.as_str());
///         Ok(Grants::complete(["invoice:read".to_owned(), own]))
///     }
/// }
/// ```
pub trait PermissionSource: Send + Sync + 'static {
    /// Why it may fail. Whatever it is, nobody is allowed or denied by it.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads what somebody may do. It is called in a task of its own, which ends with `AUTHZ_CACHE_SOURCE_TIMEOUT_MS`,
    /// not with the request that needs it.
    ///
    /// It is given all that the answer may depend on: what depends on more is for an [`Authorizer`].
    ///
    /// # Errors
    ///
    /// If it cannot be read now. The check is answered with 503.
    fn load(&self, who: &Who, hint: LoadHint<'_>) -> impl Future<Output = Result<Grants, Self::Error>> + Send;
}

/// What a source may want to know beside whose permissions to read.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LoadHint<'a> {
    /// Older versions than this are of no use: read from where it is.
    pub at_least: Option<SourceVersion>,
    life: PhantomData<&'a ()>,
}

impl LoadHint<'_> {
    pub(super) fn at_least(version: Option<SourceVersion>) -> Self {
        Self { at_least: version, life: PhantomData }
    }
}

/// Decides one question at a time, by whatever it is about: resources, relations, attributes. Its decisions are not
/// cached, unless [`cache_decisions`](super::AuthzBuilder::cache_decisions) says that they depend on nothing else than
/// their [`Query`].
pub trait Authorizer: Send + Sync + 'static {
    /// Why it may fail. Whatever it is, nobody is allowed or denied by it.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decides.
    ///
    /// # Errors
    ///
    /// If it cannot decide now. The check is answered with 503.
    fn check(&self, query: &Query<'_>) -> impl Future<Output = Result<Decision, Self::Error>> + Send;

    /// Decides several questions of one caller, in their order. By default one after the other.
    ///
    /// # Errors
    ///
    /// If one of them cannot be decided now.
    fn check_many(&self, queries: &[Query<'_>]) -> impl Future<Output = Result<Vec<Decision>, Self::Error>> + Send {
        async move {
            let mut decisions = Vec::with_capacity(queries.len());
            for query in queries {
                decisions.push(self.check(query).await?);
            }
            Ok(decisions)
        }
    }
}

/// One question, and all that its answer may depend on if it is to be cached.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Query<'a> {
    /// Who asks.
    pub who: &'a Who,
    /// The permission that is needed.
    pub action: &'a str,
    /// On which resource, if it is about one.
    pub resource: Option<&'a str>,
    /// Under which circumstances, as far as the application says so.
    pub context: &'a Context,
}

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any [`PermissionSource`].
pub(super) trait AnySource: Send + Sync {
    fn load<'a>(&'a self, who: &'a Who, hint: LoadHint<'a>) -> Boxed<'a, Result<Grants, Unavailable>>;
}

impl<S: PermissionSource> AnySource for S {
    fn load<'a>(&'a self, who: &'a Who, hint: LoadHint<'a>) -> Boxed<'a, Result<Grants, Unavailable>> {
        Box::pin(async move { PermissionSource::load(self, who, hint).await.map_err(Unavailable::source) })
    }
}

/// Any [`Authorizer`].
pub(super) trait AnyAuthorizer: Send + Sync {
    fn check_many<'a>(&'a self, queries: &'a [Query<'a>]) -> Boxed<'a, Result<Vec<Decision>, Unavailable>>;
}

impl<A: Authorizer> AnyAuthorizer for A {
    fn check_many<'a>(&'a self, queries: &'a [Query<'a>]) -> Boxed<'a, Result<Vec<Decision>, Unavailable>> {
        Box::pin(async move { Authorizer::check_many(self, queries).await.map_err(Unavailable::source) })
    }
}

/// What came of an attempt to identify, with the head of the request.
pub(super) type Identified = (Parts, Result<Identity, IdentityError>);

/// Any [`Identify`]. It takes the head and gives it back, so that it can go on where it was begun.
pub(super) trait AnyIdentify: Send + Sync {
    fn identify(self: std::sync::Arc<Self>, parts: Parts) -> Boxed<'static, Identified>;
}

impl<I: Identify> AnyIdentify for I {
    fn identify(self: std::sync::Arc<Self>, parts: Parts) -> Boxed<'static, Identified> {
        Box::pin(async move {
            let identity = caught(std::pin::pin!(Identify::identify(&*self, &parts))).await;
            let identity = identity.unwrap_or(Err(IdentityError::Unavailable));
            (parts, identity)
        })
    }
}

/// A source that knows nothing, for an application whose [`Authorizer`] decides everything.
pub(super) struct Nothing;

impl PermissionSource for Nothing {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        Ok(Grants::nothing())
    }
}

/// What a future comes to, unless it panics.
pub(super) async fn caught<T>(
    mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
) -> Result<T, UnavailableReason> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => std::task::Poll::Ready(Err(UnavailableReason::Panic)),
    })
    .await
}
