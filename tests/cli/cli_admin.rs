//! The commands that ask a running server: what they print of it, and of one that cannot be asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::common::wait_until;
use crate::program::{Mles, mles, taken};

/// A server with an admin listener, which is killed when the test is over.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    listener: String,
    /// The WebSocket listener, if there is one; else the same.
    web: String,
    admin: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = mles();
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listens on") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log is over");
        }
        let words = line.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
        let addresses = words.filter_map(|word| {
            let word = word.strip_prefix("http://").unwrap_or(word);
            word.parse::<SocketAddr>().ok()
        });
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        Self {
            child,
            log,
            listener: addresses[0].clone(),
            web: addresses[addresses.len() - 2].clone(),
            admin: addresses.last().unwrap().clone(),
        }
    }

    /// Joins a channel, and returns the client once it has its place.
    fn subscriber(&self, channel: &str) -> Mles {
        let client = Mles::start_at(
            &self.listener,
            &["sub", channel, "--uid", "alice"],
            |command| command.stdin(Stdio::null()),
        );
        wait_until("the session is there", || {
            let (_, out, _) = ask(&["status", "--json", "--admin", &self.admin]);
            let status: Value = serde_json::from_str(&out).unwrap();
            status["server"]["sessions"].as_u64() > Some(0)
        });
        client
    }

    /// Waits for its end, and returns the exit code and what else it has said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
fn ask(args: &[&str]) -> (i32, String, String) {
    taken(&mles().args(args).stdin(Stdio::null()).output().unwrap())
}

#[test]
fn status_fits_a_screen_and_names_what_an_operator_looks_for() {
    let server = Server::start(&[]);
    let _alice = server.subscriber("room");
    let published = mles()
        .args(["pub", "room", "hello", "--server", &server.listener])
        .status();
    assert!(published.unwrap().success());
    let (code, out, err) = ask(&["status", "--admin", &server.admin]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    for part in [
        "running, up ",
        "1 published",
        "Sessions",
        "Shards",
        "Busiest channels",
        "room",
        &server.listener,
    ] {
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
    assert!(out.lines().count() <= 40, "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 120), "{out}");
}

/// Returns the paths of all fields of an answer; of a list, those of its first element.
fn fields(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| fields(value, &format!("{path}.{name}")))
            .collect(),
        Value::Array(list) => match list.first() {
            Some(first) => fields(first, &format!("{path}[]")),
            None => vec![],
        },
        _ => vec![path.to_owned()],
    }
}

/// Tests of the dashboard and of `mles top` take these answers for those of a server: every field of them is one of a
/// server's, too.
#[test]
fn the_answers_that_tests_show_are_those_of_a_server() {
    let server = Server::start(&[]);
    let _alice = server.subscriber("room");
    let (code, out, err) = ask(&["status", "--json", "--admin", &server.admin]);
    assert_eq!((code, &*err), (0, ""));
    let real: Value = serde_json::from_str(&out).unwrap();
    for name in ["server", "shards", "channels", "sessions"] {
        let root = env!("CARGO_MANIFEST_DIR");
        let file = std::fs::read_to_string(format!("{root}/tests/data/admin/{name}.json")).unwrap();
        let shown: Value = serde_json::from_str(&file).unwrap();
        let known = fields(&real[name], name);
        for field in fields(&shown, name) {
            // What is null in one may have parts in the other.
            let is_known = known.iter().any(|known| {
                field.starts_with(known.as_str()) || known.starts_with(field.as_str())
            });
            assert!(is_known, "no {field} in {}", real[name]);
        }
    }
}

/// A fault that `scripts/drill` has put into a server, until it is dropped.
struct Fault(Child);

impl Fault {
    fn put_into(server: &Server, fault: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/drill");
        let mut command = Command::new(script);
        command
            .arg(fault)
            .env("MLES", env!("CARGO_BIN_EXE_mles"))
            .env("MLES_SERVER", &server.listener)
            .env("MLES_WEB", &server.web)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // It ends what it has started.
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.0.wait();
    }
}

/// The drill of `docs/DRILL.md`: what is wrong, and with whom, is on the one screen of `mles status`.
#[test]
fn the_faults_of_the_drill_are_named() {
    let drills: [(&str, &str, &[&str]); 3] = [
        (
            "slow",
            "Slowest members",
            &["slow-phone", "quotes", "stalled"],
        ),
        ("hot", "Busiest publishers", &["mad-sensor", "room-2"]),
        ("busy", "Shards", &["accept"]),
    ];
    for (fault, title, words) in drills {
        let server = Server::start(&["--ws", "127.0.0.1:0"]);
        let _life = Fault::put_into(&server, "life");
        let _fault = Fault::put_into(&server, fault);
        wait_until(&format!("{words:?} under {title}"), || {
            let (_, out, _) = ask(&["status", "--admin", &server.admin]);
            let section = out.split("\n\n").find(|section| section.starts_with(title));
            let mut lines = section.into_iter().flat_map(str::lines).skip(2);
            // It is the first of its list, unless shards are told apart.
            let has_all = |line: &str| words.iter().all(|word| line.contains(word));
            match title {
                "Shards" => lines.any(has_all),
                _ => lines.next().is_some_and(has_all),
            }
        });
    }
}

#[test]
fn drain_has_the_server_end_in_peace() {
    let server = Server::start(&[]);
    let (code, out, err) = ask(&["drain", "--admin", &server.admin]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out, format!("the server at {} is draining\n", server.admin));
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_token_is_taken_from_a_file_and_asked_for_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let right = file("right", "a-token-that-is-long-enough\n");
    let wrong = file("wrong", "another-token-than-the-one\n");
    let empty = file("empty", "\n");
    let server = Server::start(&["--admin-token-file", &right]);
    let status = |args: &[&str]| ask(&[&["status", "--admin", &server.admin], args].concat());
    assert_eq!(status(&["--admin-token-file", &right]).0, 0);
    for (args, reason) in [
        (&[][..], "wants a token: use --admin-token-file"),
        (
            &["--admin-token-file", &wrong],
            "wants a token: the one that was shown is wrong",
        ),
        (&["--admin-token-file", &empty], "does not hold a token"),
        (
            &["--admin-token-file", "/nonexistent"],
            "cannot read /nonexistent",
        ),
    ] {
        let (code, out, err) = status(args);
        assert_eq!((code, &*out, err.lines().count()), (1, "", 1), "{err}");
        assert!(err.starts_with("mles: ") && err.contains(reason), "{err}");
    }
    let mut by_environment = mles();
    by_environment.env("MLES_ADMIN", &server.admin);
    by_environment.env("MLES_ADMIN_TOKEN_FILE", &right);
    let output = by_environment.arg("status").output().unwrap();
    assert_eq!(taken(&output).0, 0);
}

/// Starts a listener that answers each connection with these bytes, and closes it.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut head = [0; 4096];
            // Who does not take the answer is the one that is tested.
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn whoever_is_no_admin_listener_is_told_in_one_line() {
    let server = Server::start(&[]);
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>\n";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{";
    for address in [
        server.listener.clone(),
        answering(page),
        answering(missing),
        answering(cut),
        answering("not HTTP at all\r\n\r\n"),
        answering(""),
    ] {
        for command in ["status", "reload", "drain"] {
            // A page says yes to everything.
            let (code, out, err) = ask(&[command, "--admin", &address]);
            let said = format!("mles: {address} is not the admin listener of an mles server\n");
            assert_eq!((code, &*out, err), (1, "", said), "{command}");
        }
    }
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, _, err) = ask(&["status", "--admin", &gone.to_string()]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(
        err.contains("connection refused (is `mles serve --admin` running there?)"),
        "{err}"
    );
    let (code, _, err) = ask(&["status", "--admin", "https://localhost:8078"]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
}

#[test]
fn top_needs_a_terminal_and_shows_the_server_in_one() {
    let server = Server::start(&[]);
    let _alice = server.subscriber("room");
    let (code, _, err) = ask(&["top", "--admin", &server.admin]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    let Some((mut terminal, mut screen, mut shown)) = top_in_a_terminal(&server) else {
        return;
    };
    terminal.stdin.take().unwrap().write_all(b"q").unwrap();
    screen.read_to_string(&mut shown).unwrap();
    assert_eq!(terminal.wait().unwrap().code(), Some(0), "{shown}");
    // The terminal is as it was: out of the alternate screen.
    assert!(shown.contains("\u{1b}[?1049l"), "{shown:?}");
}

/// A terminal that is closed with `mles top` in it takes the program with it.
#[test]
fn top_ends_with_its_terminal() {
    let server = Server::start(&[]);
    let _alice = server.subscriber("room");
    let Some((mut terminal, _screen, shown)) = top_in_a_terminal(&server) else {
        return;
    };
    let children = format!("/proc/{0}/task/{0}/children", terminal.id());
    let children = std::fs::read_to_string(children).unwrap();
    let top = children.split_whitespace().next().expect(&shown).to_owned();
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    // Its new parent may be slow to collect it.
    let is_running = || {
        std::fs::read_to_string(format!("/proc/{top}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    wait_until("mles top has ended", || !is_running());
}

/// Runs `mles top` in a terminal that `script` gives it, and returns it once it shows the channel `room`, with what it
/// has shown. `None` if there is no `script` here.
fn top_in_a_terminal(server: &Server) -> Option<(Child, ChildStdout, String)> {
    let program = env!("CARGO_BIN_EXE_mles");
    let mut terminal = Command::new("script");
    terminal.args([
        "-qec",
        &format!(
            "stty cols 100 rows 30; exec {program} top --admin {}",
            server.admin
        ),
    ]);
    let terminal = terminal
        .arg("/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut terminal = match terminal.spawn() {
        Ok(terminal) => terminal,
        Err(error) => {
            eprintln!("SKIPPED cli_admin::top: no `script`: {error}");
            return None;
        }
    };
    let mut screen = terminal.stdout.take().unwrap();
    let mut shown = String::new();
    while !(shown.contains("channels") && shown.contains("room") && shown.contains("quits")) {
        let mut bytes = [0; 4096];
        let n = screen.read(&mut bytes).unwrap();
        assert!(n > 0, "it ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    Some((terminal, screen, shown))
}
