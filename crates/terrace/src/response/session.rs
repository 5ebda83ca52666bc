//! Clients that read what they wrote, whichever process they reach.

use crate::{Error, Receipt, Store};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Hands [`Receipt`]s to clients, and takes them back with their next requests, which are then never answered with older
/// data, by any process.
///
/// Put it around a [`CacheLayer`](crate::CacheLayer). A handler that has changed and purged something adds the receipt to
/// the extensions of its response; the client gets it as a field or a cookie, sealed with
/// [`CACHE_KEYS`](crate::manual::configuration). One that was not sealed with them is ignored: made up, it would let
/// anybody empty the cache.
///
/// ```
/// # use axum::{Extension, Router, http::StatusCode, routing::get};
/// # use terrace::{Receipt, Store};
/// use terrace::{CacheLayer, SessionLayer};
///
/// # fn example(store: Store) -> Result<Router, terrace::Error> {
/// async fn rename(Extension(store): Extension<Store>) -> Result<Extension<Receipt>, StatusCode> {
///     // … the transaction …
///     let receipt = store.purge_url("/products/7").await;
///     receipt.map(Extension).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
/// }
/// let app = Router::new()
///     .route("/products/{id}", get(async || "…").put(rename))
///     .layer(Extension(store.clone()))
///     .layer(CacheLayer::new(store.clone()))
///     .layer(SessionLayer::cookie(store, "seen")?);
/// # Ok(app) }
/// ```
#[derive(Clone, Debug)]
pub struct SessionLayer {
    store: Store,
    carrier: Carrier,
}

/// What a receipt travels in.
#[derive(Clone, Debug)]
enum Carrier {
    Field(HeaderName),
    Cookie(Box<str>),
}

impl SessionLayer {
    /// In a field of this name, in responses and requests alike, for clients that are programs.
    ///
    /// # Errors
    ///
    /// If the store is not shared through Redis, or has no keys to seal with.
    pub fn header(store: Store, name: HeaderName) -> Result<Self, Error> {
        store.can_seal()?;
        Ok(Self { store, carrier: Carrier::Field(name) })
    }

    /// In a cookie of this name, which the cache does not see and which lives as long as it matters: half a minute by
    /// default.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header), and for a name that is not a token (RFC 6265 section 4.1.1).
    pub fn cookie(store: Store, name: &str) -> Result<Self, Error> {
        store.can_seal()?;
        // Names of fields are tokens too.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::config(format!("`{name}` cannot name a cookie, which needs a token of RFC 9110")));
        }
        Ok(Self { store, carrier: Carrier::Cookie(name.into()) })
    }

    /// Takes what the client brought out of a request.
    fn take(&self, fields: &mut HeaderMap) -> Option<Receipt> {
        match &self.carrier {
            Carrier::Field(name) => self.store.open_receipt(fields.remove(name)?.to_str().ok()?),
            Carrier::Cookie(name) => take_cookie(fields, name).and_then(|text| self.store.open_receipt(&text)),
        }
    }

    fn put(&self, receipt: &Receipt, fields: &mut HeaderMap) {
        let Some(text) = self.store.seal_receipt(receipt) else {
            return;
        };
        let (name, value) = match &self.carrier {
            Carrier::Field(name) => (name.clone(), text),
            Carrier::Cookie(name) => {
                let life = self.store.receipt_life().as_secs() + 1;
                (SET_COOKIE, format!("{name}={text}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax"))
            }
        };
        // Base64 and a token have no other characters than a value may have.
        if let Ok(value) = HeaderValue::try_from(value) {
            fields.append(name, value);
        }
    }
}

/// Removes a cookie, and with the last one the field: requests with cookies are nobody else's business.
fn take_cookie(fields: &mut HeaderMap, name: &str) -> Option<String> {
    let (mut found, mut others) = (None, Vec::new());
    for line in fields.get_all(COOKIE) {
        // What is not text may be anybody's, and stays.
        let Ok(text) = line.to_str() else { return None };
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((known, value)) if known == name => found = Some(value.to_owned()),
                _ => others.push(pair),
            }
        }
    }
    found.as_ref()?;
    let others = HeaderValue::try_from(others.join("; ")).ok()?;
    fields.remove(COOKIE);
    if !others.is_empty() {
        fields.insert(COOKIE, others);
    }
    found
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, session: self.clone() }
    }
}

/// The middleware of [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    session: SessionLayer,
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let brought = self.session.take(request.headers_mut());
        if let Some(receipt) = brought {
            // What the application knows itself is not replaced by what the client knows.
            request.extensions_mut().get_or_insert_with(|| receipt);
        }
        SessionFuture { inner: self.inner.call(request), session: self.session.clone() }
    }
}

pin_project! {
    /// The response of [`SessionService`].
    #[derive(Debug)]
    pub struct SessionFuture<F> {
        #[pin]
        inner: F,
        session: SessionLayer,
    }
}

impl<F, R, E> Future for SessionFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(receipt) = response.extensions_mut().remove::<Receipt>() {
            this.session.put(&receipt, response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_taken_and_the_others_stay() {
        for (lines, taken, left) in [
            (&["a=1; seen=x; b=2"][..], Some("x"), Some("a=1; b=2")),
            (&["seen=x"], Some("x"), None),
            (&["a=1", "seen=x;seen=y; b"], Some("y"), Some("a=1; b")),
            (&["unseen=x; a=1"], None, Some("unseen=x; a=1")),
            (&["Seen=x"], None, Some("Seen=x")),
            (&["seen"], None, Some("seen")),
            (&[], None, None),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(COOKIE, HeaderValue::from_static(line));
            }
            assert_eq!(take_cookie(&mut fields, "seen").as_deref(), taken, "{lines:?}");
            assert_eq!(fields.get(COOKIE).map(|line| line.to_str().unwrap()), left, "{lines:?}");
        }
    }

    #[test]
    fn a_cookie_beside_one_that_is_not_text_is_left_alone() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, HeaderValue::from_static("seen=x"));
        fields.append(COOKIE, HeaderValue::from_bytes(b"a=\xff").unwrap());
        assert_eq!(take_cookie(&mut fields, "seen"), None);
        assert_eq!(fields.get_all(COOKIE).iter().count(), 2);
    }

    #[test]
    fn receipts_are_not_handed_out_without_keys() {
        let error = SessionLayer::cookie(Store::memory(), "seen").unwrap_err();
        assert!(error.is_config() && error.to_string().contains("CACHE_KEYS"), "{error}");
    }
}
