//! Certificates that are trusted by themselves, as those that `openssl req -x509` makes.

use super::*;
use crate::tls::HandshakeError;

/// Makes a certificate as `openssl req -x509` does: it has signed itself, and is an authority.
fn own_authority(folder: &Path, file: &str, change: fn(&mut CertificateParams)) -> PairFiles {
    let (cert, key) = self_signed(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        change(params);
    });
    write_pair(folder, file, cert, key.serialize_pem())
}

/// Lets a client that trusts the certificate in `ca` connect to a server with `pair`.
async fn met(pair: &PairFiles, ca: &Path, host: &str) -> Result<(), HandshakeError> {
    let server = Echo::start(load(pair).unwrap()).await;
    let met = server.meet(&trusting(ca), host).await;
    met.map(drop)
        .map_err(|error| HandshakeError::of(&error).unwrap())
}

#[tokio::test]
async fn a_certificate_is_trusted_by_itself_even_if_it_is_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    met(&own, &own.cert, "localhost").await.unwrap();

    // Nobody else's is, whatever it is called.
    let other = own_authority(folder.path(), "other", |_| {});
    let said = met(&other, &own.cert, "localhost").await.unwrap_err();
    assert!(
        said.to_string().contains("that of an authority (CA:TRUE)"),
        "{said}"
    );
}

#[tokio::test]
async fn name_and_time_of_such_a_certificate_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    let said = met(&own, &own.cert, "other.example").await;
    assert!(
        matches!(said, Err(HandshakeError::WrongName(_))),
        "{said:?}"
    );

    let old = own_authority(folder.path(), "old", long_ago);
    let said = met(&old, &old.cert, "localhost").await;
    assert!(matches!(said, Err(HandshakeError::Expired(_))), "{said:?}");

    let nameless = own_authority(folder.path(), "nameless", |params| {
        params.subject_alt_names.clear();
    });
    let said = met(&nameless, &nameless.cert, "localhost").await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("it has none in subjectAltName"), "{said}");
}

#[tokio::test]
async fn whoever_shows_such_a_certificate_needs_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    let other = own_authority(folder.path(), "other", |_| {});
    // Another key behind the trusted certificate.
    let stolen =
        rustls::sign::CertifiedKey::new(vec![in_file(&own.cert).into()], other.read().unwrap().key);
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .map(drop)
    });
    let error = Echo { port }
        .meet(&trusting(&own.cert), "localhost")
        .await
        .unwrap_err();
    let said = HandshakeError::of(&error);
    assert_eq!(said, Some(HandshakeError::UnknownIssuer), "{error}");
}

#[tokio::test]
async fn clients_are_known_by_their_own_certificates_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = own_authority(folder.path(), "server", |_| {});
    let [member, stranger, old] = ["member", "stranger", "old"].map(|name| {
        let change = if name == "old" {
            long_ago
        } else {
            |_: &mut _| {}
        };
        own_authority(folder.path(), name, change)
    });
    let known = folder.path().join("clients.pem");
    let pem = |pair: &PairFiles| fs::read_to_string(&pair.cert).unwrap();
    fs::write(&known, [pem(&member), pem(&old)].concat()).unwrap();
    let tls = ServerTls::new(server.clone(), Some(known)).unwrap();
    let echo = Echo::start(tls).await;
    let meet = async |pair: &PairFiles| {
        let client = identified(&server.cert, pair);
        let met = echo.meet(&client, "localhost").await;
        met.map(drop)
            .map_err(|error| HandshakeError::of(&error).unwrap())
    };
    meet(&member).await.unwrap();
    for refused in [&stranger, &old] {
        let said = meet(refused).await;
        assert!(
            matches!(said, Err(HandshakeError::CertificateRefused(_))),
            "{said:?}"
        );
    }
}
