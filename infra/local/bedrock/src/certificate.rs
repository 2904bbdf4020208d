//! The door's certificate: an authority of this start alone, and what it vouches for, 127.0.0.1 and localhost.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("the certificate cannot be used: {0}")]
    Used(#[from] rustls::Error),
    #[error("the certificate's key cannot be used: {0}")]
    Key(&'static str),
}

/// What the door shows, and what its callers have to trust.
pub struct Certificate {
    pub server: Arc<ServerConfig>,
    /// The authority, in PEM: for `AWS_CA_BUNDLE`, `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS`.
    pub authority_pem: String,
}

impl Certificate {
    /// Both protocols are offered, HTTP/2 first. The authority is called `name`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn made(name: &str) -> Result<Self, CertificateError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_pem = pem(authority.self_signed(&authority_key)?.der());
        let issuer = Issuer::new(authority, authority_key);

        let mut own = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        own.distinguished_name.push(DnType::CommonName, "localhost");
        own.use_authority_key_identifier_extension = true;
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let own_key = KeyPair::generate()?;
        let own = own.signed_by(&own_key, &issuer)?;

        let key = PrivateKeyDer::try_from(own_key.serialize_der()).map_err(CertificateError::Key)?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), authority_pem })
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}
