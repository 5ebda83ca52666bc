//! From a request to its route.

use super::answer::{AdminBody, Refusal};
use super::{Inner, ask, explain, flags, inspect, page, purge, stats};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Page,
    Stats,
    Flags,
    /// The flag of this name.
    Flag(&'a str),
    Purge,
    Inspect,
    Explain,
}

const NOT_FOUND: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "there are stats, flags, purge, inspect and explain here");

impl<'a> Route<'a> {
    /// By the end of the path: what is before it depends on where the routes are mounted.
    fn of(path: &'a str) -> Option<Self> {
        let (before, last) = path.rsplit_once('/').unwrap_or(("", path));
        match last {
            _ if before.ends_with("/flags") || before == "flags" => Some(Self::Flag(last)),
            "" => Some(Self::Page),
            "stats" => Some(Self::Stats),
            "flags" => Some(Self::Flags),
            "purge" => Some(Self::Purge),
            "inspect" => Some(Self::Inspect),
            "explain" => Some(Self::Explain),
            _ => None,
        }
    }

    /// The method, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Page | Self::Stats | Self::Flags | Self::Inspect => "GET, HEAD",
            Self::Flag(_) => "PUT",
            Self::Purge | Self::Explain => "POST",
        }
    }
}

pub(super) async fn answer<B: Body>(admin: &Inner, request: Request<B>) -> Response<AdminBody> {
    let (parts, body) = request.into_parts();
    routed(admin, &parts, body).await.unwrap_or_else(Refusal::into_response)
}

async fn routed<B: Body>(admin: &Inner, parts: &Parts, body: B) -> Result<Response<AdminBody>, Refusal> {
    let route = Route::of(parts.uri.path());
    if route != Some(Route::Page) || !admin.admission.shows_page() {
        admin.admission.admit(parts)?;
    }
    let route = route.ok_or(NOT_FOUND)?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if !(reads && route.methods().starts_with("GET") || parts.method.as_str() == route.methods()) {
        return Err(Refusal::method(route.methods()));
    }
    match route {
        Route::Page => Ok(page::answer()),
        Route::Stats => Ok(stats::answer(admin)),
        Route::Flags => Ok(flags::answer(&admin.store)),
        Route::Inspect => inspect::answer(admin, &ask::parameter(parts, "url")?).await,
        Route::Flag(name) => flags::set(&admin.store, name, ask::object(parts, body).await?).await,
        Route::Purge => purge::answer(&admin.store, ask::object(parts, body).await?).await,
        Route::Explain => explain::answer(admin, ask::object(parts, body).await?).await,
    }
}
