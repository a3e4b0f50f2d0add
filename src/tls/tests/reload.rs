//! Certificates that change while a server runs.

use std::os::unix::fs::symlink;

use super::*;
use crate::tls::{CertificateWatch, HandshakeError};

/// Often enough for a test.
const OFTEN: Duration = Duration::from_millis(10);

/// Copies the pair `from` over the pair `to`.
fn replace(to: &PairFiles, from: &PairFiles) {
    fs::copy(&from.key, &to.key).unwrap();
    fs::copy(&from.cert, &to.cert).unwrap();
}

/// Connects until the server shows the certificate in `file`: each time as a client that has no
/// session to resume, since a certificate is not shown again then.
async fn until_shown(server: &Echo, authority: &Authority, file: &Path) {
    let wanted = in_file(file);
    let met = async {
        while shown(&server.meet(&authority.client(), "localhost").await.unwrap()) != wanted {
            tokio::time::sleep(OFTEN).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap();
}

#[tokio::test]
async fn new_sessions_get_the_new_certificate_and_old_ones_go_on() {
    let authority = Authority::new("authority");
    let (pair, next) = (authority.localhost("server"), authority.localhost("next"));
    let before = in_file(&pair.cert);
    let tls = load(&pair).unwrap();
    let server = Echo::start(tls.clone()).await;
    let mut old = server.meet(&authority.client(), "localhost").await.unwrap();
    assert_eq!(shown(&old), before);

    replace(&pair, &next);
    tls.reload().unwrap();
    let new = server.meet(&authority.client(), "localhost").await.unwrap();
    assert_eq!(shown(&new), in_file(&next.cert));
    say(&mut old).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_loaded_changes_nothing() {
    let authority = Authority::new("authority");
    let (pair, next) = (authority.localhost("server"), authority.localhost("next"));
    let before = in_file(&pair.cert);
    let tls = load(&pair).unwrap();
    let server = Echo::start(tls.clone()).await;
    let breaks: [&dyn Fn(); 3] = [
        &|| assert!(fs::copy(&next.key, &pair.key).is_ok()),
        &|| fs::write(&pair.cert, "").unwrap(),
        &|| fs::remove_file(&pair.cert).unwrap(),
    ];
    for broken in breaks {
        broken();
        tls.reload().unwrap_err();
        let met = server.meet(&authority.client(), "localhost").await.unwrap();
        assert_eq!(shown(&met), before);
    }
    replace(&pair, &next);
    tls.reload().unwrap();
    let met = server.meet(&authority.client(), "localhost").await.unwrap();
    assert_eq!(shown(&met), in_file(&next.cert));
}

#[tokio::test]
async fn files_that_are_written_over_are_loaded_again() {
    let authority = Authority::new("authority");
    let (pair, next) = (authority.localhost("server"), authority.localhost("next"));
    let tls = load(&pair).unwrap();
    let _watch = CertificateWatch::start(Some(tls.clone()), None, OFTEN).unwrap();
    let server = Echo::start(tls).await;
    until_shown(&server, &authority, &pair.cert).await;
    replace(&pair, &next);
    until_shown(&server, &authority, &next.cert).await;
}

#[tokio::test]
async fn links_that_are_swapped_above_the_files_are_followed() {
    let authority = Authority::new("authority");
    // As Kubernetes mounts secrets: files are links through `current`, which is swapped whole.
    let folders = ["one", "two"].map(|name| {
        let (folder, pair) = (
            authority.path(&format!("{name}.d")),
            authority.localhost(name),
        );
        fs::create_dir(&folder).unwrap();
        fs::rename(&pair.cert, folder.join("tls.crt")).unwrap();
        fs::rename(&pair.key, folder.join("tls.key")).unwrap();
        folder
    });
    let (current, swap) = (authority.path("current"), authority.path("swap"));
    symlink(&folders[0], &current).unwrap();
    let file = |name: &str| {
        let link = authority.path(name);
        symlink(current.join(name), &link).unwrap();
        link
    };
    let pair = PairFiles {
        cert: file("tls.crt"),
        key: file("tls.key"),
    };
    let tls = load(&pair).unwrap();
    let _watch = CertificateWatch::start(Some(tls.clone()), None, OFTEN).unwrap();
    let server = Echo::start(tls).await;
    until_shown(&server, &authority, &folders[0].join("tls.crt")).await;
    symlink(&folders[1], &swap).unwrap();
    fs::rename(&swap, &current).unwrap();
    until_shown(&server, &authority, &folders[1].join("tls.crt")).await;
}

#[tokio::test]
async fn a_client_whose_authority_is_no_longer_trusted_cannot_resume() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let clients = ours.path("clients.pem");
    fs::copy(ours.ca(), &clients).unwrap();
    let tls = ServerTls::new(ours.localhost("server"), Some(clients.clone())).unwrap();
    let server = Echo::start(tls.clone()).await;
    let client = identified(&ours.ca(), &ours.localhost("client"));
    server.meet(&client, "localhost").await.unwrap();

    fs::copy(other.ca(), &clients).unwrap();
    tls.reload().unwrap();
    let error = server.meet(&client, "localhost").await.unwrap_err();
    let said = HandshakeError::of(&error);
    assert!(
        matches!(said, Some(HandshakeError::CertificateRefused(_))),
        "{error}"
    );
}

#[test]
fn a_watch_that_is_dropped_ends_and_lets_go() {
    let authority = Authority::new("authority");
    let tls = load(&authority.localhost("server")).unwrap();
    let watch =
        CertificateWatch::start(Some(tls.clone()), None, Duration::from_secs(3600)).unwrap();
    assert!(watch.is_some());
    drop(watch);
    assert_eq!(Arc::strong_count(&tls), 1);
}
