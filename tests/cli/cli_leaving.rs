//! Clients leave so that nothing is lost and the server drops them at once.

use std::process::Stdio;

use crate::cli_serve::Broker;
use crate::fake_server::{FakeServer, frame};
use crate::program::{Mles, mles};

fn publish(server: &str, args: &[&str]) {
    let mut command = mles();
    command.args(["pub", "room", "--server", server]).args(args);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nothing_is_lost_of_what_many_short_commands_publish() {
    const COMMANDS: usize = 200;
    let mut broker = Broker::start(&[]);
    let server = broker.server();
    let count = (2 * COMMANDS).to_string();
    let sub = Mles::start_at(&server, &["sub", "room", "-n", &count], |command| {
        command.stdin(Stdio::null())
    });
    broker.wait_for("joined=1 ");
    // In channels with a history and without a publisher gets data, or not; here it does.
    let halves = [0, 1].map(|half| {
        let server = server.clone();
        std::thread::spawn(move || {
            for number in (half..COMMANDS).step_by(2) {
                publish(&server, &[&format!("{number} a"), &format!("{number} b")]);
            }
        })
    });
    for half in halves {
        half.join().unwrap();
    }
    let (code, stdout, stderr) = sub.end();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..COMMANDS)
        .flat_map(|number| [format!("{number} a"), format!("{number} b")])
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn the_server_drops_those_that_have_left() {
    let mut broker = Broker::start(&[]);
    let server = broker.server();
    publish(&server, &["one"]);
    broker.wait_for("connections=0 ");
    let chat = Mles::start_at(&server, &["chat", "room"], |command| {
        command.stdin(Stdio::null())
    });
    assert_eq!(chat.end().0, 0);
    broker.wait_for("connections=0 ");
    let sub = Mles::start_at(&server, &["sub", "room", "-n1"], |command| {
        command.stdin(Stdio::null())
    });
    assert_eq!(sub.end().0, 0);
    broker.wait_for("connections=0 ");
    let mut sub = Mles::start_at(&server, &["sub", "quiet"], |command| {
        command.stdin(Stdio::null())
    });
    broker.wait_for("connections=1 ");
    sub.signal("-KILL");
    sub.code();
    broker.wait_for("connections=0 ");
}

#[test]
fn a_server_that_reads_late_still_gets_everything() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["pub", "news", "one", "two", "three"]);
    // It has ended before anything is read.
    assert_eq!(mles.end(), (0, String::new(), String::new()));
    let mut peer = server.accept();
    let bodies = peer.read_bodies(3);
    for (body, message) in bodies.iter().zip(["one", "two", "three"]) {
        assert!(body.ends_with(message.as_bytes()));
    }
    peer.expect_end();
    // And it is gone altogether.
    assert!(peer.try_send(&frame("bob", "news", "late")).is_err());
}

#[test]
fn a_refusal_is_noticed_by_a_short_command() {
    let broker = Broker::start(&["--key", "right"]);
    for key in [&[][..], &["--key", "wrong"]] {
        let mut command = mles();
        // On a busy machine the server takes its time.
        command.args([
            "pub",
            "room",
            "x",
            "--linger",
            "20s",
            "--server",
            &broker.server(),
        ]);
        let output = command.args(key).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
}
