//! A stand-in for an identity provider, so that there is something to try: `JWKS_FILE` takes its place.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The `iss` of its tokens.
pub(crate) const NAME: &str = "https://login.example";
/// Their `aud`.
pub(crate) const AUDIENCE: &str = "invoices";

const HOUR: u64 = 3600;

pub(crate) struct Issuer {
    key: EncodingKey,
    key_name: String,
    name: String,
    audience: String,
}

impl Issuer {
    /// Its key is in the directory, so that processes that share it take one another's tokens.
    pub(crate) fn open(directory: &Path, name: String, audience: String) -> Result<Self, Box<dyn Error>> {
        let file = directory.join("issuer.pk8");
        if !file.exists() {
            let made = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?;
            // Readable by its owner alone, whole or not there.
            match written(directory, made.as_ref())?.persist_noclobber(&file) {
                // Another process was quicker.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                other => drop(other?),
            }
        }
        let key = EncodingKey::from_ed_der(&fs::read(&file)?);
        let key_name = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?.thumbprint(ThumbprintHash::SHA256)?;
        Ok(Self { key, key_name, name, audience })
    }

    /// Writes its public key where those who check its tokens read it.
    pub(crate) fn publish(&self, directory: &Path) -> Result<PathBuf, Box<dyn Error>> {
        let file = directory.join("jwks.json");
        written(directory, &serde_json::to_vec(&self.public()?)?)?.persist(&file)?;
        Ok(file)
    }

    pub(crate) fn public(&self) -> Result<JwkSet, Box<dyn Error>> {
        let mut key = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA)?;
        key.common.key_id = Some(self.key_name.clone());
        Ok(JwkSet { keys: vec![key] })
    }

    /// A token for an hour.
    pub(crate) fn token(&self, org: &str, user: &str, scope: Option<&str>) -> Result<String, Box<dyn Error>> {
        let end = get_current_timestamp() + HOUR;
        let mut claims = json!({ "iss": self.name, "aud": self.audience, "sub": user, "org": org, "exp": end });
        if let Some(scope) = scope {
            claims["scope"] = scope.into();
        }
        self.sign(&claims)
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, Box<dyn Error>> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_name.clone());
        Ok(encode(&header, claims, &self.key)?)
    }

    #[cfg(test)]
    pub(crate) fn key_name(&self) -> &str {
        &self.key_name
    }
}

fn written(directory: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}
