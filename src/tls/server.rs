//! TLS for servers: the certificate of all TLS listeners, which can change while they run.

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
use super::explain::explain_error;
use super::pair::PairFiles;
use super::provider::{ALPN_HTTP, ALPN_MLES, VERSIONS, provider};
use super::validity::CertificateFile;
use super::verifier::client_verifier;

/// The certificate of a broker's TLS listeners, and the authorities of their clients.
#[derive(Debug)]
pub(crate) struct ServerTls {
    files: RwLock<ServerFiles>,
    certificate: Arc<CurrentCertificate>,
    configs: RwLock<ServerConfigs>,
    /// The dates of the certificates in the files.
    contents: RwLock<Vec<CertificateFile>>,
    /// Held while files are loaded, so that two loads do not mix.
    loading: Mutex<()>,
}

/// The files of a server.
#[derive(Clone, Debug)]
struct ServerFiles {
    pair: PairFiles,
    client_ca: Option<PathBuf>,
}

/// The configurations in use.
#[derive(Clone, Debug)]
struct ServerConfigs {
    mles: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// The authorities of clients that the configurations were made with.
    client_ca: Option<Authorities>,
}

/// The content of the files.
struct LoadedFiles {
    pair: CertifiedKey,
    client_ca: Option<Authorities>,
    contents: Vec<CertificateFile>,
}

/// Certificates that have been loaded and are not in use yet; see [`ServerTls::load`].
pub(crate) struct LoadedTls {
    files: ServerFiles,
    loaded: LoadedFiles,
    /// Set if clients' certificates come from other authorities than before.
    configs: Option<ServerConfigs>,
}

/// The certificate in use.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
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
        let files = ServerFiles { pair, client_ca };
        let loaded = files.load()?;
        let certificate = Arc::new(CurrentCertificate(RwLock::new(Arc::new(loaded.pair))));
        let configs = ServerConfigs::new(&certificate, loaded.client_ca)?;
        Ok(Arc::new(Self {
            files: RwLock::new(files),
            certificate,
            configs: RwLock::new(configs),
            contents: RwLock::new(loaded.contents),
            loading: Mutex::new(()),
        }))
    }

    /// Returns the configuration of connections that speak Mles v1 inside. It must be asked for with each
    /// connection: one that is kept follows the certificate, but not the authorities of clients.
    pub(crate) fn mles(&self) -> Arc<ServerConfig> {
        self.configs().mles
    }

    /// Returns the configuration of connections that speak HTTP or WebSocket inside, like
    /// [`mles`](Self::mles).
    pub(crate) fn http(&self) -> Arc<ServerConfig> {
        self.configs().http
    }

    /// Loads the files again. New connections use what is there now, others keep what they have. Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]. Nothing has changed then.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let _only = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.load_files(self.files())?;
        self.put_in_use(loaded);
        Ok(())
    }

    /// Loads other files, or the same ones again, for [`use_loaded`](Self::use_loaded). Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub(crate) fn load(
        &self,
        pair: PairFiles,
        client_ca: Option<PathBuf>,
    ) -> Result<LoadedTls, TlsError> {
        self.load_files(ServerFiles { pair, client_ca })
    }

    /// Returns `true` if what was loaded is not what is in use.
    pub(crate) fn is_other(&self, loaded: &LoadedTls) -> bool {
        let current = self.certificate.0.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        loaded.configs.is_some() || current.cert != loaded.loaded.pair.cert
    }

    /// Puts what was loaded in use: for new connections, others keep what they have.
    pub(crate) fn use_loaded(&self, loaded: LoadedTls) {
        let _only = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            "certificates reloaded: {}",
            loaded.files.pair.cert.display()
        );
        self.put_in_use(loaded);
    }

    fn load_files(&self, files: ServerFiles) -> Result<LoadedTls, TlsError> {
        let loaded = files.load()?;
        let before = self.configs();
        // A client that resumes a session is not asked for its certificate again: tickets are good
        // for one set of authorities only.
        let configs = if certificates(&before.client_ca) == certificates(&loaded.client_ca) {
            None
        } else {
            let client_ca = loaded.client_ca.clone();
            Some(ServerConfigs::new(&self.certificate, client_ca)?)
        };
        Ok(LoadedTls {
            files,
            loaded,
            configs,
        })
    }

    fn put_in_use(&self, loaded: LoadedTls) {
        if let Some(configs) = loaded.configs {
            *self.configs.write().unwrap_or_else(PoisonError::into_inner) = configs;
        }
        let mut current = self
            .certificate
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(loaded.loaded.pair);
        *self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner) = loaded.loaded.contents;
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = loaded.files;
    }

    /// Returns the warnings at `now`; see [`ClientTls::warnings`](super::ClientTls::warnings).
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents
            .iter()
            .flat_map(|file| file.warnings(now))
            .collect()
    }

    /// Returns the path of the certificate.
    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.files().pair.cert
    }

    /// Returns when the first certificate of the server's own chain expires; `None` if none of them says so.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents.first()?.expires()
    }

    /// Returns those of the warnings that are about time.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Vec<String> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let warnings = contents.iter().filter_map(|file| file.out_of_date(now));
        warnings.collect()
    }

    /// Loads the files again, like [`reload`](Self::reload), and logs the result.
    pub(crate) fn reload_and_log(&self) -> Result<(), TlsError> {
        let result = self.reload();
        match &result {
            Ok(()) => {
                tracing::info!(
                    "certificates reloaded: {}",
                    self.files().pair.cert.display()
                );
                for warning in self.warnings(SystemTime::now()) {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => {
                tracing::error!("certificates not reloaded, the current ones stay in use: {error}")
            }
        }
        result
    }

    /// Returns the paths of the files.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let ServerFiles { pair, client_ca } = self.files();
        [pair.cert, pair.key].into_iter().chain(client_ca)
    }

    fn files(&self) -> ServerFiles {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.clone()
    }

    fn configs(&self) -> ServerConfigs {
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner);
        configs.clone()
    }
}

impl ServerFiles {
    fn load(&self) -> Result<LoadedFiles, TlsError> {
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
        Ok(LoadedFiles {
            pair,
            client_ca,
            contents,
        })
    }
}

fn certificates(authorities: &Option<Authorities>) -> Option<&[CertificateDer<'static>]> {
    authorities.as_ref().map(|ca| ca.certificates.as_slice())
}

impl ServerConfigs {
    fn new(
        certificate: &Arc<CurrentCertificate>,
        client_ca: Option<Authorities>,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            mles: config(certificate, client_ca.clone(), ALPN_MLES)?,
            http: config(certificate, client_ca.clone(), ALPN_HTTP)?,
            client_ca,
        })
    }
}

fn config(
    certificate: &Arc<CurrentCertificate>,
    client_ca: Option<Authorities>,
    alpn: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let setup = |error: Error| TlsError::Setup(explain_error(&error, "this side"));
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

/// Explains an error of a handshake with a client.
pub(crate) fn explain_client_error(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what the client sends is not TLS".to_owned()
        }
        Some(Error::NoCertificatesPresented) => {
            "the client has shown no certificate, and client_ca asks for one".to_owned()
        }
        Some(error) => explain_error(error, "the client"),
        None => error.to_string(),
    }
}
