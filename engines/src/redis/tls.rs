//! TLS for Redis: turns an address's TLS parameters into a handshaken stream. Knows no Redis.

use std::io;
use std::path::Path;
use std::sync::Arc;

use metaferry_pipeline::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::address::TlsOptions;
use super::socket::Socket;

/// A stream under TLS.
pub(super) type TlsStream = StreamOwned<ClientConnection, Socket>;

/// Shakes hands over `socket` with the server known as `host`, waiting for each answer as long as for a connection: a server that does
/// not speak TLS waits for more.
///
/// # Errors
/// `Config` for certificate files that cannot be used and for a server that is not trusted; `Engine` for the rest.
pub(super) fn connect(mut socket: Socket, host: &str, options: &TlsOptions) -> Result<TlsStream> {
    let name = options.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|cause| Error::config("TLS server name").because(cause))?;
    let mut session = ClientConnection::new(Arc::new(configuration(options)?), name)
        .map_err(|cause| Error::config("TLS parameters").because(cause))?;
    let timeouts = *socket.timeouts();
    socket.timeouts().read = timeouts.connect;
    while session.is_handshaking() {
        session.complete_io(&mut socket).map_err(handshake_failed)?;
    }
    *socket.timeouts() = timeouts;
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
    let verifier = Arc::new(Verifier::new(options, provider)?);
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |cause| Error::config(format!("TLS certificate {}", path.display())).because(cause);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unusable)?.collect::<Result<_, _>>().map_err(unusable)?;
    if found.is_empty() {
        return Err(Error::config(format!("no certificate in {}", path.display())));
    }
    Ok(found)
}

/// Trusts what the authorities have signed, and one certificate more than rustls would: an authority's own, given as
/// such, which self-made servers present as theirs and Go's clients take. Trusts anyone if `insecure-skip-verify` asks
/// for it; signatures are checked even then.
#[derive(Debug)]
struct Verifier {
    strict: Option<Arc<WebPkiServerVerifier>>,
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Self> {
        if options.insecure {
            return Ok(Self { strict: None, given: Vec::new(), provider });
        }
        let given = options.authorities.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let mut roots = RootCertStore::empty();
        if let Some(path) = &options.authorities {
            let unusable = |cause| Error::config(format!("TLS authorities {}", path.display())).because(cause);
            given.iter().try_for_each(|certificate| roots.add(certificate.clone())).map_err(unusable)?;
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let strict = strict.build().map_err(|cause| {
            Error::config("no TLS authorities on this system").because(cause).hint("give them with tls-ca-cert-file")
        })?;
        Ok(Self { strict: Some(strict), given, provider })
    }

    /// Whether this error only says that the server presents an authority's own certificate, and one that was given.
    /// It is found after the dates, before the name.
    fn is_given(&self, certificate: &CertificateDer<'_>, error: &rustls::Error) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(error)) = error else { return false };
        error.to_string() == "CaUsedAsEndEntity" && self.given.contains(certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.strict else { return Ok(ServerCertVerified::assertion()) };
        match strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if self.is_given(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::super::SyncStream;
    use super::super::server::{Server, open};
    use super::*;

    const CERTIFICATES: &str = r"set -e
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
    for name in server client; do
        openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
        printf 'subjectAltName=DNS:redis.test,IP:127.0.0.1' > ext
        openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
    done
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.pem
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=self -addext subjectAltName=IP:127.0.0.1 -keyout self.key -out self.pem";

    fn server(certificate: &str, clients: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", CERTIFICATES]).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(shell.status().unwrap().success(), "openssl must be installed for this test");
        let [pem, key] = ["pem", "key"].map(|extension| format!("{certificate}.{extension}"));
        let tls = ["--tls-cert-file", &pem, "--tls-key-file", &key, "--tls-ca-cert-file", "ca.pem"];
        Server::start_tls(folder, &[&tls[..], &["--tls-auth-clients", clients]].concat())
    }

    #[test]
    fn the_server_must_be_trusted() {
        let server = server("server", "no");
        let path = |name: &str| server.folder.path().join(name).display().to_string();
        let open = |host: &str, query: &str| open(&format!("rediss://{host}:{}/1?{query}", server.port));
        let ca = format!("tls-ca-cert-file={}", path("ca.pem"));
        let mut connection = open("127.0.0.1", &ca).unwrap();
        let large = vec![b'x'; 3 << 20];
        connection.command(&[b"SET", b"k", &large]).unwrap();
        assert_eq!(connection.command(&[b"GET", b"k"]).unwrap().bytes(), Some(&large[..]));
        open("localhost", &format!("{ca}&tls-server-name=redis.test")).unwrap();
        open("127.0.0.1", "insecure-skip-verify=true").unwrap();
        for (host, query) in [
            ("127.0.0.1", String::new()),
            ("127.0.0.1", format!("tls-ca-cert-file={}", path("other.pem"))),
            ("127.0.0.1", format!("{ca}&tls-server-name=wrong.test")),
            ("127.0.0.1", format!("{ca}&tls-server-name=not a name")),
            ("127.0.0.1", "tls-ca-cert-file=/nowhere".to_owned()),
            ("127.0.0.1", format!("tls-ca-cert-file={}", path("ca.key"))),
        ] {
            let error = open(host, &query).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{query}: {error:?}");
        }
    }

    #[test]
    fn a_self_signed_server_is_its_own_authority_where_it_is_given_as_such() {
        let server = server("self", "no");
        let path = |name: &str| server.folder.path().join(name).display().to_string();
        let open = |query: &str| open(&format!("rediss://127.0.0.1:{}?{query}", server.port));
        open(&format!("tls-ca-cert-file={}", path("self.pem"))).unwrap();
        for query in [
            format!("tls-ca-cert-file={}&tls-server-name=wrong.test", path("self.pem")),
            format!("tls-ca-cert-file={}", path("other.pem")),
            String::new(),
        ] {
            assert_eq!(open(&query).unwrap_err().kind(), ErrorKind::Config, "{query}");
        }
    }

    #[test]
    fn client_certificates_and_snapshots() {
        let server = server("server", "yes");
        let path = |name: &str| server.folder.path().join(name).display().to_string();
        let url = format!("rediss://127.0.0.1:{}?tls-ca-cert-file={}", server.port, path("ca.pem"));
        let error = open(&url).unwrap_err();
        assert!(format!("{error:?}").to_lowercase().contains("certificate"), "{error:?}");
        let url = format!("{url}&tls-cert-file={}&tls-key-file={}", path("client.pem"), path("client.key"));
        open(&url).unwrap().command(&[b"SET", b"k", &vec![b'x'; 1 << 20]]).unwrap();
        for diskless in [false, true] {
            let mut rdb = Vec::new();
            SyncStream::start(open(&url).unwrap(), diskless).unwrap().read_to_end(&mut rdb).unwrap();
            assert!(rdb.starts_with(b"REDIS00"));
            assert_eq!(rdb[rdb.len() - 9], 0xff);
        }
    }

    #[test]
    fn a_server_without_tls_is_told() {
        let server = Server::start(&[]);
        let error =
            open(&format!("rediss://127.0.0.1:{}?insecure-skip-verify=1&dial_timeout=300ms", server.port)).unwrap_err();
        assert!(error.what_to_do().unwrap().contains("redis://"), "{error:?}");
    }
}
