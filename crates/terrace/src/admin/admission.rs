//! Who is admitted.

use super::answer::Refusal;
use crate::Error;
use http::header::{AUTHORIZATION, FORWARDED, HOST, HeaderValue, VIA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// The one way in.
pub(super) enum Admission {
    Token(SecretToken),
    Loopback,
    By(Box<dyn Fn(&Parts) -> bool + Send + Sync>),
}

/// The address that a connection comes from: a request extension, for servers other than axum's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What whoever is admitted knows.
///
/// Only its digest is kept; it is compared in constant time, and nothing shows it.
#[derive(Clone)]
pub struct SecretToken([u8; 32]);

impl SecretToken {
    /// A token of 16 visible ASCII characters or more, of which nobody can guess any: `openssl rand -hex 32` makes one.
    ///
    /// # Errors
    ///
    /// If it is shorter, or has other characters. The error does not show it.
    pub fn new(token: &str) -> Result<Self, Error> {
        const LEAST: usize = 16;
        if token.len() < LEAST {
            let len = token.len();
            return Err(Error::config(format!(
                "an admin token of {len} bytes is too short, at least {LEAST} are accepted"
            )));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::config("an admin token is made of visible ASCII characters without spaces".to_owned()));
        }
        Ok(Self::digest(token.as_bytes()))
    }

    fn digest(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, other: &[u8]) -> bool {
        // Of digests, so that not even the length tells anything.
        self.0.ct_eq(&Self::digest(other).0).into()
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretToken(…)")
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Loopback => "Loopback",
            Self::By(_) => "By",
        })
    }
}

impl Admission {
    /// Whether the page is for everyone: a browser that follows a link sends no token.
    pub(super) fn shows_page(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    pub(super) fn admit(&self, request: &Parts) -> Result<(), Refusal> {
        match self {
            Self::Token(token) => bearer(&request.headers)
                .filter(|given| token.is(given))
                .map(|_| ())
                .ok_or_else(|| UNKNOWN.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"terrace\""))),
            Self::Loopback => loopback(request),
            Self::By(admits) if admits(request) => Ok(()),
            Self::By(_) => Err(NOT_ADMITTED),
        }
    }
}

const UNKNOWN: Refusal = Refusal::new(StatusCode::UNAUTHORIZED, "send the token: `Authorization: Bearer …`");
const NOT_ADMITTED: Refusal = Refusal::new(StatusCode::FORBIDDEN, "you are not admitted");
const NO_PEER: Refusal = Refusal::new(
    StatusCode::FORBIDDEN,
    "the server does not say where the connection comes from: axum's into_make_service_with_connect_info does",
);
const NOT_LOOPBACK: Refusal = Refusal::new(StatusCode::FORBIDDEN, "only connections from this machine are admitted");
const RELAYED: Refusal =
    Refusal::new(StatusCode::FORBIDDEN, "a proxy has relayed this (Via, Forwarded, X-Forwarded-For, X-Real-IP)");
const FOREIGN_HOST: Refusal =
    Refusal::new(StatusCode::FORBIDDEN, "the Host is no loopback name: localhost, 127.0.0.1 or [::1]");

/// The one token of a request.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = given.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn loopback(request: &Parts) -> Result<(), Refusal> {
    let mut peers = peers(request).peekable();
    if peers.peek().is_none() {
        return Err(NO_PEER);
    }
    if !peers.all(|peer| peer.ip().to_canonical().is_loopback()) {
        return Err(NOT_LOOPBACK);
    }
    let relays = [VIA.as_str(), FORWARDED.as_str(), "x-forwarded-for", "x-real-ip"];
    if relays.iter().any(|field| request.headers.contains_key(*field)) {
        return Err(RELAYED);
    }
    // A page of another site, under a name that its owner made mean this machine, has that name here.
    if host(request).is_some_and(|host| is_loopback_name(host.host())) { Ok(()) } else { Err(FOREIGN_HOST) }
}

#[cfg(feature = "axum")]
fn peers(request: &Parts) -> impl Iterator<Item = SocketAddr> {
    let connected = request.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0);
    connected.into_iter().chain(request.extensions.get::<Peer>().map(|peer| peer.0))
}

#[cfg(not(feature = "axum"))]
fn peers(request: &Parts) -> impl Iterator<Item = SocketAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0).into_iter()
}

/// What the request calls this server; `None` if that is nothing, or ambiguous.
pub(super) fn host(request: &Parts) -> Option<Authority> {
    if let Some(authority) = request.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    Authority::try_from(host.as_bytes()).ok()
}

fn is_loopback_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_shows_nowhere() {
        let error = SecretToken::new("fifteen-bytes-x").unwrap_err();
        assert!(error.is_config() && !error.to_string().contains("fifteen"), "{error}");
        assert!(SecretToken::new("sixteen bytes xx").unwrap_err().to_string().contains("visible"));
        let token = SecretToken::new("sixteen-bytes-xx").unwrap();
        assert_eq!(format!("{token:?}"), "SecretToken(…)");
        assert!(token.is(b"sixteen-bytes-xx"));
        for other in [&b"sixteen-bytes-xy"[..], b"sixteen-bytes-x", b"sixteen-bytes-xxx", b""] {
            assert!(!token.is(other));
        }
    }

    #[test]
    fn loopback_has_few_names() {
        for name in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in
            ["", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "0.0.0.0", "2130706433"]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
