//! The log on real NATS servers, which are killed, paused, and put back. Skipped, by name, where there is none.

#[path = "../../../tests/common/nats.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests of whole nodes use it too")]
mod server;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::server::{NatsCluster, NatsServer};
use super::{NatsLog, NatsTail, NewLog};
use crate::log::{Log as _, LogError, Tail as _};
use crate::order::Sequence;
use crate::settings::{FleetLogin, FleetSettings};

/// The longest wait for what must come: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

const SMALL: NewLog = NewLog {
    replicas: 1,
    max_age: Duration::from_secs(3600),
    max_bytes: 1 << 30,
};

fn settings(urls: &[String]) -> FleetSettings {
    FleetSettings {
        servers: urls.iter().map(|url| url.parse().unwrap()).collect(),
        name: Some("demo".parse().unwrap()),
        ..FleetSettings::default()
    }
}

async fn connect(server: &NatsServer) -> NatsLog {
    NatsLog::connect(&settings(&[server.url()])).await.unwrap()
}

/// Returns a server with a log on it.
async fn started() -> Option<(NatsServer, NatsLog)> {
    let server = NatsServer::start()?;
    let log = connect(&server).await;
    log.make(&SMALL).await.unwrap();
    Some((server, log))
}

/// Appends as a node does: until it is there.
async fn append(log: &NatsLog, number: u64) -> Sequence {
    let record = Bytes::from(format!("record {number}"));
    let id = format!("id-{number}");
    let appended = async {
        loop {
            match log.append(&id, record.clone()).await {
                Ok(sequence) => return sequence,
                Err(LogError::Unreachable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, appended).await.expect("it is taken")
}

async fn next(tail: &mut NatsTail) -> (u64, String) {
    let entry = timeout(PATIENCE, tail.next()).await.expect("an entry");
    let entry = entry.unwrap();
    let text = String::from_utf8(entry.bytes.to_vec()).unwrap();
    (entry.sequence.0, text)
}

/// Waits until a tail ends, and returns why.
async fn end(tail: &mut NatsTail) -> String {
    let ended = async {
        loop {
            if let Err(error) = tail.next().await {
                return error.to_string();
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("the tail ends")
}

/// Opens a tail as soon as the log can be reached.
async fn open(log: &NatsLog, sequence: u64) -> NatsTail {
    let opened = async {
        loop {
            match log.tail(Sequence(sequence)).await {
                Ok(tail) => return tail,
                Err(LogError::Unreachable(_)) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, opened).await.expect("a tail")
}

/// Asks JetStream something that no node asks.
async fn ask(log: &NatsLog, subject: &str, question: &Value) -> Value {
    log.connection.ask(subject, question).await.unwrap()
}

#[tokio::test]
async fn what_is_appended_comes_back_in_order() {
    let Some((_server, log)) = started().await else {
        return;
    };
    let empty = log.describe().await.unwrap();
    assert_eq!((empty.first, empty.last), (Sequence(1), Sequence(0)));
    assert_eq!(empty.epoch.number, 1);
    let mut tail = log.tail(empty.last).await.unwrap();
    for number in 1..=20 {
        assert_eq!(append(&log, number).await, Sequence(number));
    }
    for number in 1..=20 {
        assert_eq!(next(&mut tail).await, (number, format!("record {number}")));
    }
    let mut late = log.tail(Sequence(15)).await.unwrap();
    assert_eq!(next(&mut late).await, (16, "record 16".to_owned()));
    let full = log.describe().await.unwrap();
    assert_eq!((full.first, full.last), (Sequence(1), Sequence(20)));
    assert_eq!(full.epoch, empty.epoch);
    let entry = log.get(Sequence(7)).await.unwrap().unwrap();
    assert_eq!(entry.bytes, "record 7");
    assert!(entry.at_ms > 1_700_000_000_000, "{}", entry.at_ms);
    assert!(log.get(Sequence(21)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_that_is_appended_again_is_there_once() {
    let Some((_server, log)) = started().await else {
        return;
    };
    assert_eq!(append(&log, 1).await, Sequence(1));
    assert_eq!(append(&log, 1).await, Sequence(1));
    assert_eq!(append(&log, 2).await, Sequence(2));
    assert_eq!(log.describe().await.unwrap().last, Sequence(2));
}

#[tokio::test]
async fn a_tail_is_quiet_for_as_long_as_nobody_appends() {
    let Some((_server, log)) = started().await else {
        return;
    };
    let mut tail = log.tail(Sequence(0)).await.unwrap();
    // Longer than the silence that ends one without heartbeats.
    let quiet = timeout(Duration::from_secs(5), tail.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    append(&log, 1).await;
    assert_eq!(next(&mut tail).await.0, 1);
}

/// Far more than a consumer sends before it wants to be told to go on.
#[tokio::test]
async fn a_slow_reader_gets_everything_and_can_be_interrupted() {
    let Some((_server, log)) = started().await else {
        return;
    };
    let record = Bytes::from(vec![7; 200_000]);
    for number in 0..400 {
        let id = number.to_string();
        log.append(&id, record.clone()).await.unwrap();
    }
    let mut tail = log.tail(Sequence(0)).await.unwrap();
    let mut read = 0;
    let whole = async {
        while read < 400 {
            // Dropped in the middle, again and again.
            if let Ok(entry) = timeout(Duration::from_micros(50), tail.next()).await {
                let entry = entry.unwrap();
                read += 1;
                assert_eq!((entry.sequence.0, entry.bytes.len()), (read, 200_000));
            }
        }
    };
    timeout(PATIENCE, whole).await.expect("all of it");
}

#[tokio::test]
async fn a_log_is_made_once_and_by_nobody_else() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let log = connect(&server).await;
    let missing = "there is no stream MLES_demo_0: make it with `mles fleet init --name demo`, or find out who has \
                   deleted it";
    assert_eq!(log.describe().await.unwrap_err().to_string(), missing);
    assert_eq!(
        log.tail(Sequence(0)).await.unwrap_err().to_string(),
        missing
    );
    assert_eq!(log.get(Sequence(1)).await.unwrap_err().to_string(), missing);
    let error = log.append("id", Bytes::from("record")).await.unwrap_err();
    assert!(matches!(error, LogError::Unreachable(_)), "{error}");
    assert_eq!(log.describe().await.unwrap_err().to_string(), missing);
    assert!(log.make(&SMALL).await.unwrap());
    let made = log.describe().await.unwrap();
    assert!(!log.make(&SMALL).await.unwrap());
    assert_eq!(log.describe().await.unwrap(), made);
}

#[tokio::test]
async fn a_stream_that_is_deleted_ends_the_tail_and_another_is_told_apart() {
    let Some((_server, log)) = started().await else {
        return;
    };
    let before = log.describe().await.unwrap();
    append(&log, 1).await;
    let mut tail = log.tail(Sequence(0)).await.unwrap();
    assert_eq!(next(&mut tail).await.0, 1);
    let deleted = ask(&log, "STREAM.DELETE.MLES_demo_0", &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    end(&mut tail).await;
    log.make(&SMALL).await.unwrap();
    let after = log.describe().await.unwrap();
    assert_ne!(after.epoch.id, before.epoch.id);
    assert!(log.get(Sequence(1)).await.unwrap().is_none());
    // A consumer would wait for what comes behind it, and leave out the first record.
    let error = log.tail(Sequence(1)).await.unwrap_err().to_string();
    assert!(
        error.contains("something was lost, or has been put back"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_killed_ends_the_tail_and_a_new_one_goes_on() {
    let Some((mut server, log)) = started().await else {
        return;
    };
    append(&log, 1).await;
    let mut tail = log.tail(Sequence(0)).await.unwrap();
    assert_eq!(next(&mut tail).await.0, 1);
    server.kill();
    end(&mut tail).await;
    let error = log
        .append("id-2", Bytes::from("record 2"))
        .await
        .unwrap_err();
    assert!(matches!(error, LogError::Unreachable(_)), "{error}");
    server.restart();
    assert_eq!(append(&log, 2).await, Sequence(2));
    let mut tail = open(&log, 1).await;
    assert_eq!(next(&mut tail).await, (2, "record 2".to_owned()));
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_by_all_and_goes_on() {
    let Some((server, log)) = started().await else {
        return;
    };
    let mut tail = log.tail(Sequence(0)).await.unwrap();
    server.pause();
    let error = log
        .append("id-1", Bytes::from("record 1"))
        .await
        .unwrap_err();
    assert!(matches!(error, LogError::Unreachable(_)), "{error}");
    assert!(log.describe().await.is_err());
    assert!(log.get(Sequence(1)).await.is_err());
    assert!(log.tail(Sequence(0)).await.is_err());
    end(&mut tail).await;
    server.resume();
    append(&log, 1).await;
    append(&log, 2).await;
    let mut tail = open(&log, 0).await;
    assert_eq!(next(&mut tail).await.1, "record 1");
    assert_eq!(next(&mut tail).await.1, "record 2");
}

#[tokio::test]
async fn what_was_put_back_is_gone_and_no_tail_hides_it() {
    let Some((mut server, log)) = started().await else {
        return;
    };
    append(&log, 1).await;
    append(&log, 2).await;
    server.kill();
    let saved = tempfile::tempdir().unwrap();
    copy(&server.data(), saved.path());
    server.restart();
    assert_eq!(append(&log, 3).await, Sequence(3));
    let mut tail = open(&log, 2).await;
    assert_eq!(next(&mut tail).await.0, 3);
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    copy(&saved.path().join("data"), server.data().parent().unwrap());
    server.restart();
    end(&mut tail).await;
    assert_eq!(append(&log, 4).await, Sequence(3));
    let other = log.get(Sequence(3)).await.unwrap().unwrap();
    assert_eq!(other.bytes, "record 4");
}

fn copy(from: &Path, into: &Path) {
    let status = Command::new("cp").arg("-a").args([from, into]).status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn a_record_that_is_too_long_for_the_servers_is_told() {
    let Some((_server, log)) = started().await else {
        return;
    };
    let longest = log.describe().await.unwrap().max_record;
    assert!((1_000_000..1 << 20).contains(&longest), "{longest}");
    log.append("a", Bytes::from(vec![0; longest]))
        .await
        .unwrap();
    let error = log.append("b", Bytes::from(vec![0; longest + 1])).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, LogError::Unusable(text) if text.contains("max_payload")),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_told_in_one_line() {
    let nobody = settings(&["nats://127.0.0.1:1".to_owned()]);
    let error = NatsLog::connect(&nobody).await.unwrap_err().to_string();
    let expected = "cannot connect to nats://127.0.0.1:1: Connection refused (os error 111)";
    assert_eq!(error, expected);
    let Some(server) = NatsServer::with("jetstream: disabled") else {
        return;
    };
    let error = connect(&server)
        .await
        .make(&SMALL)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("JetStream "), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_told() {
    let old = Path::new("/usr/sbin/nats-server");
    let Some(found) = server::version(old).filter(|version| *version < (2, 11)) else {
        return;
    };
    let server = NatsServer::of(old, "");
    let error = NatsLog::connect(&settings(&[server.url()])).await;
    let expected = format!("nats-server {}.{}.", found.0, found.1);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(&expected), "{error}");
    assert!(
        error.ends_with(" is too old: a fleet needs 2.11 or later"),
        "{error}"
    );
}

/// Makes a login of the path of the file that has its secret.
type Login = fn(&Path) -> FleetLogin;

/// Returns the settings with a login whose secret is in a file.
fn with_login(url: &str, dir: &Path, secret: &str, login: Login) -> FleetSettings {
    let path = dir.join("secret");
    fs::write(&path, format!("{secret}\n")).unwrap();
    FleetSettings {
        login: login(&path),
        ..settings(&[url.to_owned()])
    }
}

fn by_token(path: &Path) -> FleetLogin {
    FleetLogin {
        token_file: Some(path.to_owned()),
        ..FleetLogin::default()
    }
}

fn by_password(path: &Path) -> FleetLogin {
    FleetLogin {
        user: Some("node".to_owned()),
        password_file: Some(path.to_owned()),
        ..FleetLogin::default()
    }
}

fn by_nkey(path: &Path) -> FleetLogin {
    FleetLogin {
        nkey_file: Some(path.to_owned()),
        ..FleetLogin::default()
    }
}

#[tokio::test]
async fn each_login_lets_in_and_a_wrong_one_does_not() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let (seed, wrong) = (key.seed().unwrap(), other.seed().unwrap());
    let nkey = format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        key.public_key()
    );
    let token = "authorization { token: \"hunter2\" }".to_owned();
    let user = "authorization { user: node, password: \"hunter2\" }".to_owned();
    let cases: [(String, Login, &str, &str); 3] = [
        (token, by_token, "hunter2", "hunter3"),
        (user, by_password, "hunter2", "hunter3"),
        (nkey, by_nkey, &seed, &wrong),
    ];
    for (config, login, right, wrong) in cases {
        let Some(server) = NatsServer::with(&config) else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let url = server.url();
        let bad = with_login(&url, dir.path(), wrong, login);
        let refused = format!("{url}: wrong login, or none");
        for settings in [&bad, &settings(std::slice::from_ref(&url))] {
            let error = NatsLog::connect(settings).await.unwrap_err();
            assert_eq!(error.to_string(), refused);
        }
        let good = with_login(&url, dir.path(), right, login);
        let log = NatsLog::connect(&good).await.unwrap();
        log.make(&SMALL).await.unwrap();
        append(&log, 1).await;
    }
}

#[tokio::test]
async fn a_secret_may_be_replaced_while_the_node_runs() {
    let config = "authorization { token: \"first\" }";
    let Some(mut server) = NatsServer::with(config) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let settings = with_login(&server.url(), dir.path(), "first", by_token);
    let log = NatsLog::connect(&settings).await.unwrap();
    log.make(&SMALL).await.unwrap();
    server.replace_in_config("first", "second");
    with_login(&server.url(), dir.path(), "second", by_token);
    server.restart();
    append(&log, 1).await;
}

#[tokio::test]
async fn a_permission_that_is_missing_is_told() {
    let config = "authorization { users: [{ user: node, password: \"hunter2\", permissions: { \
                  publish: { deny: [\"$JS.API.CONSUMER.CREATE.>\", \"mles.>\"] } } }] }";
    let Some(server) = NatsServer::with(config) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let settings = with_login(&server.url(), dir.path(), "hunter2", by_password);
    let log = NatsLog::connect(&settings).await.unwrap();
    log.make(&SMALL).await.unwrap();
    let failed = log.try_out().await;
    let failed: Vec<_> = failed.iter().map(ToString::to_string).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed[0].starts_with("no permission at NATS: ") && failed[0].contains("CONSUMER.CREATE"),
        "{failed:?}"
    );
    assert!(failed[1].contains("mles.demo.0"), "{failed:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_found() {
    let Some((_server, log)) = started().await else {
        return;
    };
    append(&log, 1).await;
    let tail = log.tail(Sequence(0)).await.unwrap();
    let good = log.inspect().await.unwrap();
    assert_eq!(good.faults, [""; 0]);
    assert!(good.warnings[0].starts_with("replicas = 1: "), "{good:?}");
    assert_eq!((good.records, good.consumers.len()), (1, 1), "{good:?}");
    assert_eq!(good.max_bytes, Some(SMALL.max_bytes));
    assert!(log.try_out().await.is_empty());
    assert_eq!(
        log.describe().await.unwrap().last,
        Sequence(1),
        "trying appends nothing"
    );
    drop(tail);
    let info = ask(&log, "STREAM.INFO.MLES_demo_0", &Value::Null).await;
    let mut config = info["config"].clone();
    config["max_msgs"] = json!(10);
    config["max_age"] = json!(60_000_000_000_u64);
    config["duplicate_window"] = json!(1_000_000_000);
    config["allow_rollup_hdrs"] = json!(false);
    let updated = ask(&log, "STREAM.UPDATE.MLES_demo_0", &config).await;
    assert!(updated.get("error").is_none(), "{updated}");
    let bad = log.inspect().await.unwrap();
    assert_eq!(bad.faults.len(), 2, "{bad:?}");
    assert!(bad.faults[0].contains("no limit of messages"), "{bad:?}");
    assert!(
        bad.faults[1].contains("max_age must be at least"),
        "{bad:?}"
    );
    assert!(
        bad.warnings[1].starts_with("duplicate_window is 1s"),
        "{bad:?}"
    );
}

/// Records are taken all the while, each is there once, and their order stays.
#[tokio::test]
async fn a_cluster_goes_on_when_the_leader_is_killed_or_hangs() {
    let Some(mut cluster) = NatsCluster::start() else {
        return;
    };
    let log = NatsLog::connect(&settings(&cluster.urls())).await.unwrap();
    let new = NewLog {
        replicas: 3,
        ..SMALL
    };
    log.make(&new).await.unwrap();
    let mut appended = 0;
    for pause in [false, true] {
        for _ in 0..5 {
            appended += 1;
            append(&log, appended).await;
        }
        let leader = log.inspect().await.unwrap().leader.expect("a leader");
        let server = cluster.server(&leader);
        if pause {
            server.pause()
        } else {
            server.kill()
        }
        for _ in 0..5 {
            appended += 1;
            append(&log, appended).await;
        }
        let server = cluster.server(&leader);
        if pause {
            server.resume()
        } else {
            server.restart()
        }
    }
    let mut tail = open(&log, 0).await;
    for number in 1..=appended {
        // A tail that breaks goes on from where it was.
        let entry = loop {
            match timeout(PATIENCE, tail.next()).await.expect("an entry") {
                Ok(entry) => break entry,
                Err(_) => tail = open(&log, number - 1).await,
            }
        };
        assert_eq!(entry.sequence, Sequence(number));
        assert_eq!(entry.bytes, format!("record {number}"));
    }
}
