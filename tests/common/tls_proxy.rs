//! TLS in front of a server that has none, with certificates made for the test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use mles::client::{ClientTls, ClientTlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

/// An authority, and a folder for what it signs.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        };
        fs::write(authority.ca(), authority.issuer.pem()).unwrap();
        authority
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for `name`.
    pub(crate) fn sign(&self, name: &str, change: fn(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let pair = Pair {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        fs::write(&pair.cert, cert.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// A certificate for `localhost`.
    pub(crate) fn localhost(&self) -> Pair {
        self.sign("localhost", |_| {})
    }

    /// Whom a client trusts that trusts this authority.
    pub(crate) fn trusted(&self) -> ClientTlsOptions {
        ClientTlsOptions::default().ca(self.ca())
    }

    /// A TLS configuration with these options.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::new(self.trusted()).unwrap()
    }
}

/// Makes a certificate one that has expired.
pub(crate) fn long_ago(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
}

/// Takes TLS off and passes on what is inside.
pub(crate) struct TlsProxy {
    pub(crate) port: u16,
    peers: Receiver<SocketAddr>,
    /// Ends the connections, without a goodbye of TLS, when it is dropped.
    _running: oneshot::Sender<()>,
}

impl TlsProxy {
    /// In front of `backend`, with the certificate in `pair`; clients need a certificate where
    /// `client_ca` is given.
    pub(crate) fn start(backend: &str, pair: &Pair, client_ca: Option<&Path>) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config(pair, client_ca)));
        let (tell, peers) = channel();
        let (running, stopped) = oneshot::channel::<()>();
        let backend = backend.to_owned();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = TcpListener::from_std(listener).unwrap();
                let accepting = async {
                    while let Ok((stream, peer)) = listener.accept().await {
                        let _ = tell.send(peer);
                        tokio::spawn(pass_on(acceptor.clone(), stream, backend.clone()));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            port,
            peers,
            _running: running,
        }
    }

    /// Its name, for which `Authority::localhost` has a certificate.
    pub(crate) fn server(&self) -> String {
        format!("tls://localhost:{}", self.port)
    }

    /// Where the next connection came from.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peers.recv_timeout(PATIENCE).unwrap()
    }
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, backend: String) -> std::io::Result<()> {
    let mut outside = acceptor.accept(stream).await?;
    let mut inside = TcpStream::connect(backend).await?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}

/// Starts what puts TLS around the connections that come to the address it returns, and passes them on to a server at
/// `backend` that has a certificate of `authority` for `localhost`. It runs as long as the test program.
pub(crate) fn tunnel(authority: &Authority, backend: SocketAddr) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(authority.ca()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut inside, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let stream = TcpStream::connect(backend).await?;
                    let name = "localhost".try_into().map_err(std::io::Error::other)?;
                    let mut outside = connector.connect(name, stream).await?;
                    copy_bidirectional(&mut inside, &mut outside).await?;
                    std::io::Result::Ok(())
                });
            }
        });
    });
    address
}

fn config(pair: &Pair, client_ca: Option<&Path>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_file(file).unwrap())
                .unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let cert = CertificateDer::from_pem_file(&pair.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    builder.with_single_cert(vec![cert], key).unwrap()
}
