//! A certificate for this machine, and how a process under test comes to trust it.

use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Where Linux keeps the roots that everybody trusts: Amazon Linux, Debian, Alpine.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

/// The only name the certificate is for.
pub const HOST: &str = "localhost";

/// What a process needs to trust the backend.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Every root of the system, and ours: a process reads as many as it does on Lambda.
    all: PathBuf,
    /// Ours alone.
    own: PathBuf,
    /// How many of the system's are in it.
    pub system_roots: usize,
}

impl Authority {
    /// Makes a root and, signed by it, a certificate for the backend. The files are written into `folder`.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn new(folder: &Path) -> Result<(Self, Arc<ServerConfig>)> {
        let (root, issuer) = root().map_err(Error::wrong("making a root certificate"))?;
        let (leaf, key) = leaf(&issuer).map_err(Error::wrong("making a certificate"))?;
        let own = pem(&root);
        let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let system_roots = system.matches("-----BEGIN CERTIFICATE-----").count();
        let authority = Self { all: folder.join("all-roots.pem"), own: folder.join("own-root.pem"), system_roots };
        let written = |path: &Path, text: String| fs::write(path, text).map_err(Error::io(path.display()));
        written(&authority.all, format!("{system}\n{own}"))?;
        written(&authority.own, own)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::wrong("TLS"))?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key.into())
            .map_err(Error::wrong("TLS"))?;
        Ok((authority, Arc::new(server)))
    }

    /// **The one place where a process under test is told its roots.** As many certificates are read as on Lambda: by who
    /// reads the system's, all of them; by who has its own compiled in and is given others instead, ours alone.
    pub fn make_trusted_by(&self, command: &mut Command) {
        // rustls-native-certs, OpenSSL.
        command.env("SSL_CERT_FILE", &self.all);
        // The functions, instead of what is compiled in.
        command.env("AWS_CA_BUNDLE", &self.own);
        // Node has its own compiled in, and takes this one besides.
        command.env("NODE_EXTRA_CA_CERTS", &self.own);
    }

    /// The same for boto3, which comes with a file of roots and reads all of it.
    pub fn for_boto3(&self) -> (String, String) {
        ("AWS_CA_BUNDLE".to_owned(), self.all.display().to_string())
    }
}

fn root() -> std::result::Result<(CertificateDer<'static>, Issuer<'static, KeyPair>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Sluice benchmark");
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((certificate, Issuer::new(params, key)))
}

fn leaf(
    issuer: &Issuer<'static, KeyPair>,
) -> std::result::Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([HOST.to_owned()])?;
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?.der().clone();
    Ok((certificate, PrivatePkcs8KeyDer::from(key.serialize_der())))
}

/// RFC 7468.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
