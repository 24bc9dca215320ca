//! TLS for Redis: turns an address's TLS parameters into a handshaken stream. Knows no Redis.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use metaferry_pipeline::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

use super::address::TlsOptions;

/// A stream under TLS.
pub(super) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands over `socket` with the server known as `host`.
///
/// # Errors
/// `Config` for certificate files that cannot be used and for a server that is not trusted; `Engine` for the rest.
pub(super) fn connect(mut socket: TcpStream, host: &str, options: &TlsOptions) -> Result<TlsStream> {
    let name = options.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|cause| Error::config("TLS server name").because(cause))?;
    let mut session = ClientConnection::new(Arc::new(configuration(options)?), name)
        .map_err(|cause| Error::config("TLS parameters").because(cause))?;
    while session.is_handshaking() {
        session.complete_io(&mut socket).map_err(handshake_failed)?;
    }
    Ok(StreamOwned::new(session, socket))
}

fn handshake_failed(cause: io::Error) -> Error {
    let rustls_cause = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (kind, hint) = match rustls_cause {
        Some(rustls::Error::InvalidCertificate(_)) => {
            (ErrorKind::Config, "give the authority with tls-ca-cert-file, or another name with tls-server-name")
        }
        Some(rustls::Error::AlertReceived(_)) => {
            (ErrorKind::Config, "the server may want a client certificate: tls-cert-file and tls-key-file")
        }
        _ => (ErrorKind::Engine, "does this port speak TLS? if not, use redis://"),
    };
    Error::new(kind, "TLS handshake").because(cause).hint(hint)
}

fn configuration(options: &TlsOptions) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::new(ErrorKind::Bug, "TLS versions").because(cause))?;
    let builder = if options.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(authorities(options)?)
    };
    match &options.client {
        Some((certificate, key)) => {
            let bad_key = |cause| Error::config(format!("TLS key {}", key.display())).because(cause);
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|cause| Error::config(format!("TLS key {}", key.display())).because(cause))?;
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(bad_key)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn authorities(options: &TlsOptions) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &options.authorities {
        for certificate in certificates(path)? {
            store
                .add(certificate)
                .map_err(|cause| Error::config(format!("TLS authorities {}", path.display())).because(cause))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err(Error::config("no TLS authorities on this system").hint("give them with tls-ca-cert-file"));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |cause| Error::config(format!("TLS certificate {}", path.display())).because(cause);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unusable)?.collect::<Result<_, _>>().map_err(unusable)?;
    if found.is_empty() {
        return Err(Error::config(format!("no certificate in {}", path.display())));
    }
    Ok(found)
}

/// Trusts any certificate, as `insecure-skip-verify` asks; signatures are still checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
