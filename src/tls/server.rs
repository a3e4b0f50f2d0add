//! The server's side: the certificate of all TLS listeners, which can change while they run.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InvalidMessage, ServerConfig};

use super::authorities::Authorities;
use super::error::TlsError;
use super::pair::PairFiles;
use super::provider::{ALPN_HTTP, ALPN_MLES, VERSIONS, provider};
use super::validity::CertificateFile;
use super::verifier::client_verifier;
use super::words::of_error;

/// What the TLS listeners of a broker share: the certificate and whom they let in.
#[derive(Debug)]
pub(crate) struct ServerTls {
    files: Files,
    certificate: Arc<Current>,
    configs: RwLock<Configs>,
    /// What is in the files.
    contents: RwLock<Vec<CertificateFile>>,
    /// Held while something is loaded, so that two at once do not mix.
    loading: Mutex<()>,
}

/// Where it all comes from.
#[derive(Debug)]
struct Files {
    pair: PairFiles,
    client_ca: Option<PathBuf>,
}

/// The configurations in use.
#[derive(Clone, Debug)]
struct Configs {
    mles: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// The authorities of clients that they were made with.
    client_ca: Option<Authorities>,
}

/// What was read from the files.
struct Loaded {
    pair: CertifiedKey,
    client_ca: Option<Authorities>,
    contents: Vec<CertificateFile>,
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

impl ServerTls {
    /// Loads a certificate and its key, and the authorities that clients' certificates may come from,
    /// if clients need one. Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub(crate) fn new(pair: PairFiles, client_ca: Option<PathBuf>) -> Result<Arc<Self>, TlsError> {
        let files = Files { pair, client_ca };
        let loaded = files.load()?;
        let certificate = Arc::new(Current(RwLock::new(Arc::new(loaded.pair))));
        let configs = Configs::new(&certificate, loaded.client_ca)?;
        Ok(Arc::new(Self {
            files,
            certificate,
            configs: RwLock::new(configs),
            contents: RwLock::new(loaded.contents),
            loading: Mutex::new(()),
        }))
    }

    /// For connections that speak Mles v1 inside. To be asked for with each connection: one that is
    /// kept follows the certificate, but not the authorities of clients.
    pub(crate) fn mles(&self) -> Arc<ServerConfig> {
        self.configs().mles
    }

    /// Like [`mles`](Self::mles), for HTTP and WebSocket.
    pub(crate) fn http(&self) -> Arc<ServerConfig> {
        self.configs().http
    }

    /// Loads the files again. New connections get what is there now, others keep what they have.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: nothing has changed then.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let _only = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.files.load()?;
        let before = self.configs();
        // A client that resumes a session is not asked for its certificate again: tickets are good
        // for one set of authorities only.
        if certificates(&before.client_ca) != certificates(&loaded.client_ca) {
            let configs = Configs::new(&self.certificate, loaded.client_ca)?;
            *self.configs.write().unwrap_or_else(PoisonError::into_inner) = configs;
        }
        let mut current = self
            .certificate
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(loaded.pair);
        *self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner) = loaded.contents;
        Ok(())
    }

    /// What to warn of at `now`, see [`ClientTls::warnings`](super::ClientTls::warnings).
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents
            .iter()
            .flat_map(|file| file.warnings(now))
            .collect()
    }

    /// The part of these that changes with time.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Vec<String> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let warnings = contents.iter().filter_map(|file| file.out_of_date(now));
        warnings.collect()
    }

    /// As [`reload`](Self::reload); says in the log what came of it.
    pub(crate) fn reload_and_tell(&self) -> Result<(), TlsError> {
        let result = self.reload();
        match &result {
            Ok(()) => {
                tracing::info!(
                    "certificates are loaded again: {}",
                    self.files.pair.cert.display()
                );
                for warning in self.warnings(SystemTime::now()) {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => tracing::error!("certificates stay as they are: {error}"),
        }
        result
    }

    /// The files that it comes from.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let Files { pair, client_ca } = &self.files;
        [&pair.cert, &pair.key].into_iter().chain(client_ca)
    }

    fn configs(&self) -> Configs {
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner);
        configs.clone()
    }
}

impl Files {
    fn load(&self) -> Result<Loaded, TlsError> {
        let pair = self.pair.read()?;
        let consequence = "clients will refuse it";
        let own = CertificateFile::chain(&self.pair.cert, &pair.cert, consequence);
        let mut contents = vec![own];
        let mut client_ca = None;
        if let Some(path) = &self.client_ca {
            let authorities = Authorities::read(path)?;
            let consequence = "clients that it has signed are refused";
            let certificates = &authorities.certificates;
            contents.push(CertificateFile::authorities(
                path,
                certificates,
                consequence,
            ));
            client_ca = Some(authorities);
        }
        Ok(Loaded {
            pair,
            client_ca,
            contents,
        })
    }
}

fn certificates(authorities: &Option<Authorities>) -> Option<&[CertificateDer<'static>]> {
    authorities.as_ref().map(|ca| ca.certificates.as_slice())
}

impl Configs {
    fn new(certificate: &Arc<Current>, client_ca: Option<Authorities>) -> Result<Self, TlsError> {
        Ok(Self {
            mles: config(certificate, client_ca.clone(), ALPN_MLES)?,
            http: config(certificate, client_ca.clone(), ALPN_HTTP)?,
            client_ca,
        })
    }
}

fn config(
    certificate: &Arc<Current>,
    client_ca: Option<Authorities>,
    alpn: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let setup = |error: Error| TlsError::Setup(of_error(&error, "this side"));
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(setup)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => builder.with_client_cert_verifier(client_verifier(authorities)?),
    };
    let mut config = builder.with_cert_resolver(certificate.clone());
    config.alpn_protocols = vec![alpn.to_vec()];
    // Sessions are kept by the clients, in tickets: many that come back at once cost less, and
    // nothing here for those that do not.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(setup)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Says why a handshake with a client failed.
pub(crate) fn client_failed(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what the client sends is not TLS".to_owned()
        }
        Some(Error::NoCertificatesPresented) => {
            "the client has shown no certificate, and client_ca asks for one".to_owned()
        }
        Some(error) => of_error(error, "the client"),
        None => error.to_string(),
    }
}
