//! Handshakes that succeed, and those that are refused.

use super::*;
use crate::tls::HandshakeError;
use rustls::{HandshakeKind, ProtocolVersion};

/// Returns the error of a client that trusts `authority`, of a server with `pair` that it calls `host`.
async fn refusal(authority: &Authority, pair: &PairFiles, host: &str) -> HandshakeError {
    let server = Echo::start(load(pair).unwrap()).await;
    let error = server.meet(&authority.client(), host).await.unwrap_err();
    HandshakeError::of(&error).unwrap()
}

#[tokio::test]
async fn a_server_with_the_right_name_from_a_trusted_authority() {
    let authority = Authority::new("authority");
    let pair = authority.sign("server", &["localhost", "127.0.0.1", "::1"], |_| {});
    let server = Echo::start(load(&pair).unwrap()).await;
    for host in ["localhost", "127.0.0.1", "::1", "::1%lo"] {
        let stream = server.meet(&authority.client(), host).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(session.alpn_protocol(), Some(&b"mles"[..]));
    }
}

#[tokio::test]
async fn a_server_that_signed_itself_is_trusted_by_its_own_certificate() {
    let authority = Authority::new("authority");
    let (cert, key) = self_signed(|_| {});
    let pair = write_pair(authority.folder.path(), "self", cert, key.serialize_pem());
    let server = Echo::start(load(&pair).unwrap()).await;
    let client = trusting(&pair.cert);
    server.meet(&client, "localhost").await.unwrap();
    let refused = server.meet(&authority.client(), "localhost").await;
    let said = HandshakeError::of(&refused.unwrap_err());
    assert_eq!(said, Some(HandshakeError::UnknownIssuer));
}

#[tokio::test]
async fn servers_that_are_refused_and_why() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let foreign = other.localhost("server");
    assert_eq!(
        refusal(&ours, &foreign, "localhost").await,
        HandshakeError::UnknownIssuer
    );

    let named = ours.sign("named", &["a.example", "192.0.2.1"], |_| {});
    let said = refusal(&ours, &named, "localhost").await;
    let names = ["a.example", "192.0.2.1"].map(str::to_owned).to_vec();
    assert_eq!(said, HandshakeError::WrongName(names));
    assert_eq!(
        said.to_string(),
        "the server's certificate is not for this name, but for a.example, 192.0.2.1"
    );

    let old = ours.sign("old", &["localhost"], long_ago);
    let said = refusal(&ours, &old, "localhost").await;
    assert!(matches!(said, HandshakeError::Expired(Some(_))), "{said}");
    assert!(said.to_string().ends_with(" days ago"), "{said}");

    let young = ours.sign("young", &["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    assert_eq!(
        refusal(&ours, &young, "localhost").await,
        HandshakeError::NotYetValid
    );

    let said = refusal(&ours, &young, "no name").await;
    assert_eq!(said, HandshakeError::BadName("no name".to_owned()));
}

#[tokio::test]
async fn whoever_trusts_anyone_gets_in_anywhere() {
    let authority = Authority::new("authority");
    let pair = authority.sign("server", &["other.example"], long_ago);
    let server = Echo::start(load(&pair).unwrap()).await;
    let client = ClientTls::new(ClientTlsOptions::default().insecure()).unwrap();
    server.meet(&client, "localhost").await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_told() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let error = Echo { port }
        .meet(&Authority::new("authority").client(), "localhost")
        .await
        .unwrap_err();
    assert_eq!(HandshakeError::of(&error), Some(HandshakeError::NotTls));
}

#[tokio::test]
async fn what_listens_for_http_does_not_take_mles() {
    let authority = Authority::new("authority");
    let tls = load(&authority.localhost("server")).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(tls.http()).accept(stream).await.map(drop)
    });
    let error = Echo { port }.meet(&authority.client(), "localhost").await;
    let said = HandshakeError::of(&error.unwrap_err());
    assert_eq!(said, Some(HandshakeError::NotMles));
}

#[tokio::test]
async fn clients_need_a_certificate_where_authorities_for_them_are_named() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let tls = ServerTls::new(ours.localhost("server"), Some(ours.ca())).unwrap();
    let server = Echo::start(tls).await;
    let client = |pair: &PairFiles| identified(&ours.ca(), pair);
    let (member, stranger) = (ours.localhost("member"), other.localhost("stranger"));
    server.meet(&client(&member), "localhost").await.unwrap();

    let without = server.meet(&ours.client(), "localhost").await.unwrap_err();
    let said = HandshakeError::of(&without);
    assert_eq!(said, Some(HandshakeError::CertificateRequired), "{without}");
    let strange = server.meet(&client(&stranger), "localhost").await;
    let said = HandshakeError::of(&strange.unwrap_err());
    assert!(
        matches!(said, Some(HandshakeError::CertificateRefused(_))),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let authority = Authority::new("authority");
    let tls = load(&authority.localhost("server")).unwrap();
    let server = Echo::start(tls).await;
    let client = authority.client();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = server.meet(&client, "localhost").await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
    }
}
