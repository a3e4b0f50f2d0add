//! The server's side: the certificate of all TLS listeners, which can change while they run.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};

use super::error::TlsError;
use super::handshake::{between, in_words};
use super::{ALPN_HTTP, ALPN_MLES, VERSIONS, pem, provider};
use crate::settings::TlsSettings;

/// What the TLS listeners of a broker share: the certificate and whom they let in.
#[derive(Debug)]
pub(crate) struct ServerTls {
    files: Files,
    certificate: Arc<Current>,
    configs: RwLock<Configs>,
    /// Held while something is loaded, so that two at once do not mix.
    loading: Mutex<()>,
}

/// Where it all comes from.
#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The configurations in use.
#[derive(Clone, Debug)]
struct Configs {
    mles: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// The authorities of clients that they were made with.
    client_ca: Option<Arc<RootCertStore>>,
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
    /// Loads what `settings` names. Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub(crate) fn new(settings: &TlsSettings) -> Result<Arc<Self>, TlsError> {
        let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
            return Err(TlsError::HalfAPair);
        };
        let files = Files {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: settings.client_ca.clone(),
        };
        let (pair, client_ca) = files.load()?;
        let certificate = Arc::new(Current(RwLock::new(Arc::new(pair))));
        let configs = Configs::new(&certificate, client_ca)?;
        Ok(Arc::new(Self {
            files,
            certificate,
            configs: RwLock::new(configs),
            loading: Mutex::new(()),
        }))
    }

    /// For connections that speak Mles v1 inside. To be asked for with each connection: one that is
    /// kept follows the certificate, but not the authorities of clients.
    pub(crate) fn mles(&self) -> Arc<ServerConfig> {
        self.configs().mles
    }

    /// The same for HTTP and WebSocket.
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
        let (pair, client_ca) = self.files.load()?;
        let before = self.configs();
        let roots = |ca: &Option<Arc<RootCertStore>>| ca.as_ref().map(|ca| ca.roots.clone());
        // A client that resumes a session is not asked for its certificate again: tickets are good
        // for one set of authorities only.
        if roots(&before.client_ca) != roots(&client_ca) {
            let configs = Configs::new(&self.certificate, client_ca)?;
            *self.configs.write().unwrap_or_else(PoisonError::into_inner) = configs;
        }
        let mut current = self
            .certificate
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(pair);
        Ok(())
    }

    /// As [`reload`](Self::reload); says in the log what came of it.
    pub(crate) fn reload_and_tell(&self) -> Result<(), TlsError> {
        let result = self.reload();
        match &result {
            Ok(()) => tracing::info!(
                "certificates are loaded again: {}",
                self.files.cert.display()
            ),
            Err(error) => tracing::error!("certificates stay as they are: {error}"),
        }
        result
    }

    /// The files that it comes from.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let Files {
            cert,
            key,
            client_ca,
        } = &self.files;
        [cert, key].into_iter().chain(client_ca)
    }

    fn configs(&self) -> Configs {
        let configs = self.configs.read().unwrap_or_else(PoisonError::into_inner);
        configs.clone()
    }
}

impl Files {
    fn load(&self) -> Result<(CertifiedKey, Option<Arc<RootCertStore>>), TlsError> {
        let pair = pem::pair(&self.cert, &self.key)?;
        let client_ca = self.client_ca.as_deref().map(pem::roots).transpose()?;
        for certificate in &pair.cert {
            if let Some(reason) = out_of_date(certificate, UnixTime::now()) {
                let path = self.cert.display();
                tracing::warn!("a certificate in {path} {reason}: clients will refuse it");
            }
        }
        Ok((pair, client_ca.map(Arc::new)))
    }
}

impl Configs {
    fn new(
        certificate: &Arc<Current>,
        client_ca: Option<Arc<RootCertStore>>,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            mles: config(certificate, client_ca.clone(), ALPN_MLES)?,
            http: config(certificate, client_ca.clone(), ALPN_HTTP)?,
            client_ca,
        })
    }
}

fn config(
    certificate: &Arc<Current>,
    client_ca: Option<Arc<RootCertStore>>,
    alpn: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| setup(&error))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| setup(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(certificate.clone());
    config.alpn_protocols = vec![alpn.to_vec()];
    // Sessions are kept by the clients, in tickets: many that come back at once cost less, and
    // nothing here for those that do not.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| setup(&error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Why a certificate is of no use at `now`, to follow its name; `None` when its time is right.
pub(super) fn out_of_date(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<String> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    // Time is checked before everything else; whether the rest would do is for clients to say.
    let algorithms = provider().signature_verification_algorithms.all;
    let checked = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms);
    match checked {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
            let ago = in_words(between(not_after, time));
            Some(format!("has expired {ago} ago"))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            time,
            not_before,
        })) => {
            let wait = in_words(between(time, not_before));
            Some(format!("is not valid before {wait} from now"))
        }
        _ => None,
    }
}
