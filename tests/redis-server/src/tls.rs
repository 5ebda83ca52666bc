use redis::Value;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// An authority, and the certificate of `localhost` and 127.0.0.1 that it has signed.
#[derive(Clone, Debug)]
pub struct Certificates {
    directory: Arc<TempDir>,
    authority: String,
}

impl Certificates {
    /// Makes new ones.
    ///
    /// # Panics
    ///
    /// If there is nowhere to put them.
    #[must_use]
    pub fn new() -> Self {
        let (authority, certificate, key) = sign().expect("keys and certificates");
        let directory = TempDir::new().expect("a temporary directory");
        for (name, text) in [("ca.pem", &authority), ("server.pem", &certificate), ("key.pem", &key)] {
            fs::write(directory.path().join(name), text).expect("a file in a new directory");
        }
        Self { directory: Arc::new(directory), authority }
    }

    /// The certificate of the authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where that is.
    #[must_use]
    pub fn authority_file(&self) -> String {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(crate) fn options(&self) -> Vec<String> {
        let files =
            [("--tls-cert-file", "server.pem"), ("--tls-key-file", "key.pem"), ("--tls-ca-cert-file", "ca.pem")];
        let files = files.into_iter().flat_map(|(option, file)| [option.to_owned(), self.file(file)]);
        files.chain(["--tls-auth-clients".to_owned(), "no".to_owned()]).collect()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn sign() -> Result<(String, String, String), rcgen::Error> {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let mut parameters = CertificateParams::new([])?;
    // Else it has the same name as what it signs, which OpenSSL takes for signed by itself.
    parameters.distinguished_name.push(DnType::CommonName, "authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = parameters.self_signed(&key)?.pem();
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate()?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?.pem();
    Ok((authority, certificate, key.serialize_pem()))
}

/// Through redis-cli, which comes with the server.
pub(crate) fn command(port: u16, words: &[&str]) -> Value {
    let port = port.to_string();
    let mut command = Command::new("redis-cli");
    let output = command.args(["--tls", "--insecure", "-p", &port]).args(words).output().expect("redis-cli");
    assert!(output.status.success(), "{words:?}: {output:?}");
    Value::BulkString(output.stdout)
}
