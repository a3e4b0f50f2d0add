//! A disk that is full for a while: what a server does meanwhile, and that it goes on by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use mles::protocol::ResumeRequest;
use mles::{Broker, StoreSync};

use crate::admin::{ask, get};
use crate::common::asker::Asker;
use crate::common::{start, wait_until};
use crate::store::{ASK, every, on_disk, since};

/// A disk of 4 MiB, in memory. Gone when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Makes one for the test of that name. `None` where it cannot be had, which is told.
    fn make(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(dir.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED {test}: needs root and `mount`");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        for len in [1 << 16, 1] {
            while file.write_all(&vec![1; len]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

fn start_on(disk: &SmallDisk, sync: StoreSync) -> Broker {
    let mut settings = on_disk(disk.path(), sync);
    settings.store.min_free = 0;
    start(settings)
}

/// Returns a message that does not fit into a page that is there already.
fn message(text: &str) -> String {
    format!("{text}{}", ".".repeat(20_000))
}

fn failure(broker: &Broker) -> Option<String> {
    let server = get(broker, "/api/server");
    server["store"]["failure"].as_str().map(str::to_owned)
}

/// Expects the channel to have these messages, also after the server was killed.
fn expect_on_disk(broker: Broker, disk: &SmallDisk, sync: StoreSync, texts: &[&str]) {
    // Dropped without a stop, it does not save anything any more.
    drop(broker);
    let broker = start_on(disk, sync);
    let mut bob = Asker::join(&broker, "bob", "room", ASK);
    for (offset, text) in (1..).zip(texts) {
        assert_eq!(bob.message(), (offset, message(text)));
    }
    assert_eq!(bob.welcome.position.offset, texts.len() as u64);
}

#[test]
fn with_an_interval_histories_go_on_in_memory_and_come_to_the_disk_later() {
    let Some(disk) = SmallDisk::make("with_an_interval_histories_go_on_in_memory") else {
        return;
    };
    let broker = start_on(&disk, every(1));
    let mut alice = Asker::join(&broker, "alice", "room", ASK);
    let mut bob = Asker::join(&broker, "bob", "room", ASK);
    alice.send(message("1").as_bytes());
    alice.receipt();
    let batches = || get(&broker, "/api/server")["store"]["batches"].as_u64();
    wait_until("it is written", || batches() > Some(0));
    disk.fill();
    for text in ["2", "3", "4"] {
        alice.send(message(text).as_bytes());
        alice.receipt();
    }
    wait_until("it is told", || failure(&broker).is_some());
    assert!(
        failure(&broker).unwrap().contains("No space left"),
        "{:?}",
        failure(&broker)
    );
    let ready = ask(&broker, "GET /readyz");
    assert_eq!(ready.status, 200, "it still takes clients: {}", ready.body);
    assert!(ready.body.contains("store"), "{}", ready.body);
    let metrics = ask(&broker, "GET /metrics").body;
    assert!(metrics.contains("\nmles_store_failing 1.0\n"), "{metrics}");
    alice.send(message("5").as_bytes());
    assert_eq!(alice.receipt(), (1, 5));
    for (offset, text) in (1..).zip(["1", "2", "3", "4", "5"]) {
        assert_eq!(bob.message(), (offset, message(text)));
    }
    disk.empty();
    let lag = || get(&broker, "/api/server")["store"]["lag_ms"].as_u64();
    wait_until("it goes on by itself", || {
        failure(&broker).is_none() && lag() == Some(0)
    });
    assert_eq!(ask(&broker, "GET /readyz").body, "ok\n");
    expect_on_disk(broker, &disk, every(1), &["1", "2", "3", "4", "5"]);
}

#[test]
fn where_each_batch_is_synced_publishers_wait_until_there_is_space() {
    let Some(disk) = SmallDisk::make("where_each_batch_is_synced_publishers_wait") else {
        return;
    };
    let broker = start_on(&disk, StoreSync::Batch);
    let request = ResumeRequest {
        publisher: Some(7),
        ..ASK
    };
    let mut alice = Asker::join(&broker, "alice", "room", request);
    alice.send(message("1").as_bytes());
    assert_eq!(alice.receipt(), (1, 1));
    disk.fill();
    let position = alice.position;
    alice.send(message("2").as_bytes());
    wait_until("it is told", || failure(&broker).is_some());
    let ready = ask(&broker, "GET /readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(ready.body.contains("No space left"), "{}", ready.body);
    let carol = Asker::join(&broker, "carol", "room", since(position));
    assert_eq!(carol.welcome.position, position, "nobody has seen it");
    disk.empty();
    assert_eq!(alice.receipt(), (1, 2), "it goes on by itself");
    wait_until("it is ready", || ask(&broker, "GET /readyz").status == 200);
    expect_on_disk(broker, &disk, StoreSync::Batch, &["1", "2"]);
}
