//! What the layer does, as a function: for middleware that is made of one.

use super::answer::{AuthorizeBody, Refusal};
use super::drive::{Passed, drive};
use super::engine::Authz;
use super::layer::Shared;
use super::requirement::Requirement;
use super::service::Step;
use http::{Request, Response};
use std::pin::Pin;
use std::sync::{Arc, Once};

/// A request that may pass, or the answer instead.
type Filtered<B, R> = Pin<Box<dyn Future<Output = Result<Request<B>, Response<R>>> + Send>>;

impl Authz {
    /// What [`require`](Self::require) does, for the layer of tower-http that authorizes: the returned function is an
    /// `AsyncAuthorizeRequest`, of any version of tower-http that has it. It gives the same answers, with an empty body, and
    /// puts [`Authorized`](crate::Authorized) into the extensions of the requests that pass.
    ///
    /// ```
    /// # use axum::{Router, routing::get};
    /// # use terrace::Authz;
    /// use tower_http::auth::AsyncRequireAuthorizationLayer;
    ///
    /// # fn example(authz: &Authz) {
    /// let app: Router = Router::new()
    ///     .route("/invoices", get(async || "invoices"))
    ///     .route_layer(AsyncRequireAuthorizationLayer::new(authz.authorize_request("invoice:read")));
    /// # let _ = app; }
    /// ```
    ///
    /// A function cannot touch the response of the inner service, which costs two things: there is no debug header, and a
    /// [`CacheLayer`](crate::CacheLayer) around it could not be told to store nothing. So requests that come through such a
    /// cache are answered with 503, and the log says `authz_layer_order`: put the cache inside.
    pub fn authorize_request<B, R>(
        &self,
        requirement: impl Into<Requirement>,
    ) -> impl Fn(Request<B>) -> Filtered<B, R> + Clone + Send + Sync + 'static
    where
        B: Send + 'static,
        R: Default,
    {
        let filter = Arc::new(Filter { shared: self.shared(Some(requirement.into())), misplaced: Once::new() });
        move |request| {
            let filter = Arc::clone(&filter);
            Box::pin(async move { filter.authorize(request).await.map_err(|refusal| refusal.response().map(empty)) })
        }
    }
}

fn empty<R: Default>(_: AuthorizeBody<R>) -> R {
    R::default()
}

struct Filter {
    shared: Arc<Shared>,
    /// A cache around it was reported.
    misplaced: Once,
}

impl Filter {
    async fn authorize<B>(&self, request: Request<B>) -> Result<Request<B>, Refusal> {
        let came = self.shared.engine.tiers.clock().now();
        let (parts, body) = request.into_parts();
        let Passed { parts, marks, .. } = match self.shared.start(parts, came) {
            Step::Pass(passed) => passed,
            Step::Refuse(refusal) => return Err(refusal),
            Step::Wait(waiting) => drive(Arc::clone(&self.shared), waiting, came).await?,
        };
        if marks {
            self.misplaced.call_once(|| self.shared.engine.tiers.observe().layer_order());
            return Err(Refusal::Unavailable);
        }
        Ok(Request::from_parts(parts, body))
    }
}
