//! Who asks: by a signed token (RFC 7519) in `Authorization: Bearer`.

use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use terrace::authz::{Identify, Identity, IdentityError, Principal, Subject, Tenant, Who};

/// The keys of an identity provider, by their names.
pub(crate) struct Bearer {
    keys: HashMap<String, Key>,
}

struct Key {
    key: DecodingKey,
    /// With the algorithm that is the key's: what a token says of it does not count.
    validation: Validation,
}

/// What is read of a token, once its signature, `iss`, `aud`, `exp` and `nbf` are valid.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    org: String,
    exp: u64,
    scope: Option<String>,
}

impl Bearer {
    /// Reads a file of public keys (RFC 7517), as identity providers publish it. For keys that are replaced it has to be read
    /// again: start the process anew, or keep this in a lock that a task renews.
    pub(crate) fn read(file: &Path, issuer: &str, audience: &str) -> Result<Self, String> {
        let why = |error: &dyn std::fmt::Display| format!("the keys in {}: {error}", file.display());
        let text = std::fs::read(file).map_err(|error| why(&error))?;
        let set: JwkSet = serde_json::from_slice(&text).map_err(|error| why(&error))?;
        let keys = set.keys.iter().map(|jwk| named(jwk, issuer, audience));
        Ok(Self { keys: keys.collect::<Result<_, _>>().map_err(|error| why(&error))? })
    }

    fn principal(&self, token: &str) -> Result<Principal, IdentityError> {
        let header = decode_header(token).map_err(|_| IdentityError::Invalid)?;
        let key = header.kid.as_deref().and_then(|name| self.keys.get(name)).ok_or(IdentityError::Invalid)?;
        let claims = decode::<Claims>(token, &key.key, &key.validation).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => IdentityError::Expired,
            _ => IdentityError::Invalid,
        })?;
        claims.claims.principal().ok_or(IdentityError::Invalid)
    }
}

fn named(jwk: &Jwk, issuer: &str, audience: &str) -> Result<(String, Key), String> {
    let name = jwk.common.key_id.clone().ok_or("one has no kid")?;
    let algorithm = jwk.common.key_algorithm.ok_or_else(|| format!("{name} has no alg"))?;
    let algorithm: Algorithm = algorithm.to_string().parse().map_err(|_| format!("{name} is not for signatures"))?;
    let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("{name}: {error}"))?;
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.validate_nbf = true;
    // A principal ends when its token does; clocks that differ are the identity provider's to allow for.
    validation.leeway = 0;
    Ok((name, Key { key, validation }))
}

impl Claims {
    fn principal(self) -> Option<Principal> {
        let who = Who { tenant: Tenant::new(self.org).ok()?, subject: Subject::new(self.sub).ok()? };
        let end = UNIX_EPOCH.checked_add(Duration::from_secs(self.exp))?;
        let scopes: Arc<[Box<str>]> =
            self.scope.iter().flat_map(|all| all.split_whitespace()).map(Into::into).collect();
        // No scope limits nothing, but a scope of nothing is not that.
        let is_nothing = self.scope.is_some() && scopes.is_empty();
        (!is_nothing).then_some(Principal { who, valid_until: Some(end), scopes })
    }
}

impl Identify for Bearer {
    async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
        let field = parts.headers.get(AUTHORIZATION).ok_or(IdentityError::Missing)?;
        let (scheme, token) =
            field.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(IdentityError::Invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(IdentityError::Invalid);
        }
        self.principal(token.trim()).map(Identity::Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AUDIENCE, Issuer, NAME};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    struct House {
        issuer: Issuer,
        bearer: Bearer,
    }

    fn house() -> House {
        let directory = tempfile::tempdir().unwrap();
        let issuer = Issuer::open(directory.path(), NAME.into(), AUDIENCE.into()).unwrap();
        let bearer = Bearer::read(&issuer.publish(directory.path()).unwrap(), NAME, AUDIENCE).unwrap();
        House { issuer, bearer }
    }

    fn claims() -> Value {
        let end = jsonwebtoken::get_current_timestamp() + 60;
        json!({ "iss": NAME, "aud": AUDIENCE, "sub": "bob", "org": "acme", "exp": end })
    }

    async fn identified(house: &House, field: &str) -> Result<Principal, IdentityError> {
        let request = http::Request::builder().header(AUTHORIZATION, field).body(()).unwrap();
        match house.bearer.identify(&request.into_parts().0).await? {
            Identity::Known(principal) => Ok(principal),
            Identity::Anonymous => panic!("nobody is anonymous here"),
        }
    }

    #[tokio::test]
    async fn a_token_says_who_until_when_and_what_for() {
        let house = house();
        let token = house.issuer.token("acme", "bob", Some("openid invoice:read")).unwrap();
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let principal = identified(&house, &format!("{scheme} {token}")).await.unwrap();
            assert_eq!((principal.who.tenant.as_str(), principal.who.subject.as_str()), ("acme", "bob"));
            assert_eq!(principal.scopes.join(" "), "openid invoice:read");
            assert!(principal.valid_until.unwrap() > std::time::SystemTime::now());
        }
    }

    #[tokio::test]
    async fn what_is_not_signed_for_us_is_refused() {
        let (house, stranger) = (house(), house());
        let refused = async |field: String| identified(&house, &field).await.unwrap_err();
        let bob = house.issuer.token("acme", "bob", None).unwrap();
        let (front, signature) = bob.rsplit_once('.').unwrap();
        let head = front.split_once('.').unwrap().0;
        let alice = house.issuer.token("acme", "alice", None).unwrap();
        let of_alice = alice.split('.').nth(1).unwrap();
        for field in [
            format!("Basic {bob}"),
            format!("Bearer{bob}"),
            "Bearer ".into(),
            "Bearer x".into(),
            format!("Bearer {front}."),
            format!("Bearer {front}"),
            format!("Bearer {head}.{of_alice}.{signature}"),
            format!("Bearer {}", stranger.issuer.token("acme", "bob", None).unwrap()),
            format!("Bearer {}", house.issuer.token("acme", "bob", Some(" ")).unwrap()),
            format!("Bearer {}", house.issuer.token("", "bob", None).unwrap()),
            format!("Bearer {}", house.issuer.token("acme", &"x".repeat(257), None).unwrap()),
        ] {
            assert_eq!(refused(field.clone()).await, IdentityError::Invalid, "{field}");
        }
    }

    #[tokio::test]
    async fn claims_that_are_not_ours_or_not_now_are_refused() {
        let house = house();
        let change = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            format!("Bearer {}", house.issuer.sign(&claims).unwrap())
        };
        assert!(identified(&house, &change("sub", json!("bob"))).await.is_ok());
        for (name, value, error) in [
            ("iss", json!("https://other.example"), IdentityError::Invalid),
            ("aud", json!("other"), IdentityError::Invalid),
            ("aud", Value::Null, IdentityError::Invalid),
            ("org", Value::Null, IdentityError::Invalid),
            ("sub", json!(7), IdentityError::Invalid),
            ("exp", json!(1), IdentityError::Expired),
            ("exp", json!("never"), IdentityError::Invalid),
            ("exp", json!(u64::MAX), IdentityError::Invalid),
            ("nbf", json!(jsonwebtoken::get_current_timestamp() + 60), IdentityError::Invalid),
        ] {
            assert_eq!(identified(&house, &change(name, value.clone())).await.unwrap_err(), error, "{name} {value}");
        }
    }

    /// The public key is no secret, so nothing that is signed with it as if it were one may count.
    #[tokio::test]
    async fn the_algorithm_is_the_keys_and_not_the_tokens() {
        let house = house();
        let public = serde_json::to_vec(&house.issuer.public().unwrap()).unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(house.issuer.key_name().into());
        let forged = encode(&header, &claims(), &EncodingKey::from_secret(&public)).unwrap();
        assert_eq!(identified(&house, &format!("Bearer {forged}")).await.unwrap_err(), IdentityError::Invalid);
    }

    #[test]
    fn a_file_of_keys_that_is_of_no_use_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        let refused = || Bearer::read(&file, NAME, AUDIENCE).err().unwrap();
        assert!(refused().contains("No such file"), "{}", refused());
        for (text, why) in [
            ("{", "EOF"),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "one has no kid"),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"a"}]}"#, "a has no alg"),
            (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a","alg":"RSA-OAEP"}]}"#, "a is not for signatures"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(refused().contains("jwks.json: ") && refused().contains(why), "{text}: {}", refused());
        }
    }
}
