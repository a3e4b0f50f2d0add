//! Certificates from files, handshakes over loopback, and certificates that change.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod dates;
mod explain;
mod files;
mod formats;
mod handshakes;
mod pinning;
mod reload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{ClientTls, ClientTlsOptions, PairFiles, ServerTls, TlsError, explain_io_error};

type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// The longest time that anything a test waits for may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, and a folder for what it signs.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer,
        };
        fs::write(authority.ca(), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Signs a certificate for `names` and writes it and its key.
    fn sign(&self, file: &str, names: &[&str], change: fn(&mut CertificateParams)) -> PairFiles {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        write_pair(self.folder.path(), file, cert.pem(), key.serialize_pem())
    }

    /// A certificate for `localhost`.
    fn localhost(&self, file: &str) -> PairFiles {
        self.sign(file, &["localhost"], |_| {})
    }

    /// A client that trusts this authority.
    fn client(&self) -> ClientTls {
        trusting(&self.ca())
    }
}

/// Writes a certificate and its key into `folder`.
fn write_pair(
    folder: &Path,
    name: &str,
    cert: impl AsRef<[u8]>,
    key: impl AsRef<[u8]>,
) -> PairFiles {
    let pair = PairFiles {
        cert: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    };
    fs::write(&pair.cert, cert).unwrap();
    fs::write(&pair.key, key).unwrap();
    pair
}

/// Returns a certificate for `localhost` that has signed itself, in PEM, and its key.
fn self_signed(change: impl Fn(&mut CertificateParams)) -> (String, KeyPair) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key)
}

/// Loads a certificate for a server that asks its clients for none.
fn load(pair: &PairFiles) -> Result<Arc<ServerTls>, TlsError> {
    ServerTls::new(pair.clone(), None)
}

/// A client that trusts the certificates in a file.
fn trusting(ca: &Path) -> ClientTls {
    ClientTls::new(ClientTlsOptions::default().ca(ca)).unwrap()
}

/// A client that also has a certificate of its own.
fn identified(ca: &Path, pair: &PairFiles) -> ClientTls {
    let options = ClientTlsOptions::default().ca(ca);
    ClientTls::new(options.identity(&pair.cert, &pair.key)).unwrap()
}

/// Makes a certificate one that has expired.
fn long_ago(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
}

/// A TLS server that sends back what it reads.
struct Echo {
    port: u16,
}

impl Echo {
    async fn start(tls: Arc<ServerTls>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(tls.mles());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut bytes = [0; 64];
                    loop {
                        let len = stream.read(&mut bytes).await?;
                        if len == 0 {
                            return stream.shutdown().await;
                        }
                        stream.write_all(&bytes[..len]).await?;
                    }
                });
            }
        });
        Self { port }
    }

    /// Connects, and says something to be sure of the session.
    async fn meet(&self, client: &ClientTls, host: &str) -> io::Result<ClientStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut stream = client.connect(host, stream).await?;
        say(&mut stream).await?;
        Ok(stream)
    }
}

/// Says something and hears it again.
async fn say(stream: &mut ClientStream) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    let mut echo = [0; 5];
    stream
        .read_exact(&mut echo)
        .await
        .map_err(explain_io_error)?;
    assert_eq!(&echo, b"hello");
    Ok(())
}

/// The certificate that the server has shown.
fn shown(stream: &ClientStream) -> Vec<u8> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].to_vec()
}

/// The certificate in a file.
fn in_file(path: &Path) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    CertificateDer::from_pem_file(path).unwrap().to_vec()
}
