//! Which server certificates are believed.

use std::{error::Error, fmt, sync::Arc};

use quail_protocol::version::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Which server certificates are believed, over QUIC and over `wss://`. A `ws://` has no TLS and asks nobody.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Trust {
    /// The public web's certificate authorities, as Mozilla lists them. The default.
    #[default]
    WebRoots,
    /// Exactly one certificate: the SHA-256 of the leaf's DER. Its names and dates are not looked at.
    Fingerprint([u8; 32]),
    /// These certificate authorities and no others.
    Roots(Vec<CertificateDer<'static>>),
}

/// A text that is not 32 bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits, with or without colons between the bytes")]
pub struct InvalidFingerprint;

impl Trust {
    /// Reads a fingerprint as tools print it: 64 hexadecimal digits, with or without colons between the bytes.
    ///
    /// ```
    /// use quail_client::Trust;
    ///
    /// assert!(Trust::fingerprint(&"ab".repeat(32)).is_ok());
    /// assert!(Trust::fingerprint("ab").is_err());
    /// ```
    pub fn fingerprint(text: &str) -> Result<Self, InvalidFingerprint> {
        parse_fingerprint(text).map(Self::Fingerprint).ok_or(InvalidFingerprint)
    }

    /// The TLS side of a QUIC connection.
    pub(crate) fn quic(&self) -> Result<QuicClientConfig, Box<dyn Error + Send + Sync>> {
        Ok(QuicClientConfig::try_from(self.client_config(ALPN)?)?)
    }

    /// The TLS side of a WebSocket.
    pub(crate) fn websocket(&self) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
        self.client_config(b"http/1.1")
    }

    fn client_config(&self, protocol: &[u8]) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
        let provider = Arc::new(crypto());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = match self {
            Self::WebRoots => {
                let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>();
                builder.with_root_certificates(roots)
            }
            Self::Roots(certificates) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates {
                    roots.add(certificate.clone())?;
                }
                builder.with_root_certificates(roots)
            }
            Self::Fingerprint(sha256) => {
                let verifier = Arc::new(Pinned { sha256: *sha256, provider });
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        }
        .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        // Each connection has its own configuration, so a cache of tickets would only cost memory.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// ring, AES-128-GCM first.
fn crypto() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..provider::default_provider()
    }
}

fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut rest = text.as_bytes();
    for (i, byte) in bytes.iter_mut().enumerate() {
        if i > 0 && text.contains(':') {
            rest = rest.strip_prefix(b":")?;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        *byte = digits.iter().try_fold(0, |value, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(value << 4 | u8::try_from(digit).ok()?)
        })?;
        rest = tail;
    }
    rest.is_empty().then_some(bytes)
}

/// Believes one certificate, whose holder must prove in the handshake that it has the key.
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if ring::digest::digest(&ring::digest::SHA256, leaf).as_ref() == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let expected: [u8; 32] = std::array::from_fn(|i| (i * 8) as u8);
        let plain = expected.map(|byte| format!("{byte:02x}")).concat();
        let colons = expected.map(|byte| format!("{byte:02X}")).join(":");
        assert_eq!(parse_fingerprint(&plain), Some(expected));
        assert_eq!(parse_fingerprint(&colons), Some(expected));
        for wrong in
            ["", "ab", &plain[1..], &format!("{plain}0"), &format!("{colons}:"), &plain.replace('0', "g")]
        {
            assert_eq!(parse_fingerprint(wrong), None, "{wrong}");
        }
        assert_eq!(parse_fingerprint(&colons.replacen(':', "", 1)), None);
    }
}
