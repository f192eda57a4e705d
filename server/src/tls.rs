//! Certificates: from files, or made for development.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quail_protocol::{Timestamp, version::ALPN};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};

/// Where the certificate is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// A certificate chain and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM of the kind it should.
    #[error("{path} is not usable: {source}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// Certificate and key do not fit, or the key is of a kind rustls does not take.
    #[error("certificate and key cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// A development certificate lives as long as browsers allow one they are shown only a hash of (14 days), less one.
const DEVELOPMENT_LIFETIME: Duration = Duration::from_secs(13 * 24 * 3600);

/// A certificate is not reused on its last day, so that one shown at start holds for a day at least.
const RENEW_BEFORE: Duration = Duration::from_secs(24 * 3600);

/// Clocks of clients may be behind by this much.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

impl Identity {
    /// A certificate chain, leaf first, and the key of its leaf.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }

    /// Reads PEM files.
    pub fn from_files(config: &Config) -> Result<Self, TlsError> {
        let pem = |path: &Path, source| TlsError::Pem { path: path.to_owned(), source };
        let chain = CertificateDer::pem_file_iter(&config.certificate)
            .and_then(Iterator::collect)
            .map_err(|source| pem(&config.certificate, source))?;
        let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|source| pem(&config.key, source))?;
        Ok(Self { chain, key })
    }

    /// The development certificate in `directory`: the one made before while it is valid, else a new one.
    pub fn for_development(directory: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let certificate = directory.join("certificate.der");
        let key = directory.join("certificate.key.der");
        let expires = directory.join("certificate.expires");
        let until = fs::read_to_string(&expires).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let reusable = until.is_some_and(|until| until > now.seconds() + RENEW_BEFORE.as_secs());
        if reusable && certificate.exists() && key.exists() {
            let chain = vec![CertificateDer::from(read(&certificate)?)];
            return Ok(Self { chain, key: PrivatePkcs8KeyDer::from(read(&key)?).into() });
        }
        let made = Self::self_signed(now)?;
        write_private(&key, made.key.secret_der())?;
        write_private(&certificate, &made.chain[0])?;
        let until = now.seconds() + DEVELOPMENT_LIFETIME.as_secs();
        write_private(&expires, format!("{until}\n").as_bytes())?;
        Ok(made)
    }

    /// A new self-signed P-256 certificate for this machine.
    pub fn self_signed(now: Timestamp) -> Result<Self, TlsError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        params.subject_alt_names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
        let start = std::time::UNIX_EPOCH + Duration::from_secs(now.seconds());
        params.not_before = (start - BACKDATE).into();
        params.not_after = (start + DEVELOPMENT_LIFETIME).into();
        let certificate = params.self_signed(&pair)?;
        let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
        Ok(Self { chain: vec![certificate.der().clone()], key: key.into() })
    }

    /// SHA-256 of the leaf certificate, by which a client can pin it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        if let Some(leaf) = self.chain.first() {
            fingerprint.copy_from_slice(::ring::digest::digest(&::ring::digest::SHA256, leaf).as_ref());
        }
        fingerprint
    }

    /// TLS 1.3 for QUIC.
    pub fn quic(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        self.server_config(ALPN)
    }

    /// TLS 1.3 for WebSockets. HTTP/2 is not offered: it has no upgrade.
    pub fn websocket(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        self.server_config(b"http/1.1")
    }

    /// Without 0-RTT: what a replayed flight could repeat must not be served.
    fn server_config(&self, protocol: &[u8]) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![protocol.to_vec()];
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

/// ring, with AES-128-GCM first: the cheapest cipher on machines with AES instructions.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    write_owner_only(path, bytes).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_owner_only(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
