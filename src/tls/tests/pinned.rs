//! Certificates that are trusted by themselves, as those that `openssl req -x509` makes.

use super::*;
use crate::tls::HandshakeError;

/// What `openssl req -x509` makes: a certificate that has signed itself, and is an authority.
fn own_authority(folder: &Path, file: &str, change: fn(&mut CertificateParams)) -> TlsSettings {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let settings = TlsSettings {
        cert: Some(folder.join(format!("{file}.crt"))),
        key: Some(folder.join(format!("{file}.key"))),
        ..TlsSettings::default()
    };
    fs::write(cert_of(&settings), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(key_of(&settings), key.serialize_pem()).unwrap();
    settings
}

fn trusting(file: &Path) -> ClientTls {
    ClientTls::new(ClientTlsOptions::default().ca(file)).unwrap()
}

/// What a client that trusts the certificate in `ca` says of a server with `settings`.
async fn met(settings: &TlsSettings, ca: &Path, host: &str) -> Result<(), HandshakeError> {
    let server = Echo::start(ServerTls::new(settings).unwrap()).await;
    let met = server.meet(&trusting(ca), host).await;
    met.map(drop)
        .map_err(|error| HandshakeError::of(&error).unwrap())
}

#[tokio::test]
async fn a_certificate_is_trusted_by_itself_even_if_it_is_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    met(&own, cert_of(&own), "localhost").await.unwrap();

    // Nobody else's is, whatever it is called.
    let other = own_authority(folder.path(), "other", |_| {});
    let said = met(&other, cert_of(&own), "localhost").await.unwrap_err();
    assert!(
        said.to_string().contains("that of an authority (CA:TRUE)"),
        "{said}"
    );
}

#[tokio::test]
async fn name_and_time_of_such_a_certificate_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    let said = met(&own, cert_of(&own), "other.example").await;
    assert!(
        matches!(said, Err(HandshakeError::WrongName(_))),
        "{said:?}"
    );

    let old = own_authority(folder.path(), "old", long_ago);
    let said = met(&old, cert_of(&old), "localhost").await;
    assert!(matches!(said, Err(HandshakeError::Expired(_))), "{said:?}");

    let nameless = own_authority(folder.path(), "nameless", |params| {
        params.subject_alt_names.clear();
    });
    let said = met(&nameless, cert_of(&nameless), "localhost").await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("it has none in subjectAltName"), "{said}");
}

#[tokio::test]
async fn whoever_shows_such_a_certificate_needs_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let own = own_authority(folder.path(), "own", |_| {});
    let other = own_authority(folder.path(), "other", |_| {});
    // Another key behind the trusted certificate.
    let stolen = rustls::sign::CertifiedKey::new(
        vec![in_file(cert_of(&own)).into()],
        crate::tls::pem::pair(cert_of(&other), key_of(&other))
            .unwrap()
            .key,
    );
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
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
        .meet(&trusting(cert_of(&own)), "localhost")
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
    let pem = |pair: &TlsSettings| fs::read_to_string(cert_of(pair)).unwrap();
    fs::write(&known, [pem(&member), pem(&old)].concat()).unwrap();
    let settings = TlsSettings {
        client_ca: Some(known),
        ..server.clone()
    };
    let echo = Echo::start(ServerTls::new(&settings).unwrap()).await;
    let meet = async |pair: &TlsSettings| {
        let options = ClientTlsOptions::default().ca(cert_of(&server));
        let client = ClientTls::new(options.identity(cert_of(pair), key_of(pair))).unwrap();
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
