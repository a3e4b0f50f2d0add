//! The API as clients of others use it: curl, and Python's `http.client`.
//!
//! Skipped, by name, where they are not installed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use mles::Broker;
use serde_json::{Value, json};

use crate::common::start;
use crate::common::websocket::{Got, Ws, address, settings};

/// Runs a program, and returns what it prints. `None` if it is not installed.
fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = match command.args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED {test}: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {complaint}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn url(broker: &Broker) -> String {
    format!("http://{}/channels/room/messages", address(broker))
}

#[test]
fn curl_publishes_and_reads() {
    const TEST: &str = "curl_publishes_and_reads";
    let broker = start(settings());
    let url = url(&broker);
    let mut bob = Ws::v2(&broker, "bob", "room");
    let curl = |args: &[&str]| {
        run(
            TEST,
            "curl",
            &[&["-sS", "--fail-with-body"][..], args].concat(),
        )
    };
    let Some(printed) = curl(&["-d", "hello", &url]) else {
        return;
    };
    let receipt: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(receipt["offset"], 1, "{printed}");
    assert_eq!(bob.next(), Got::Text("hello".to_owned()));
    let lines = ["-H", "Content-Type: application/x-ndjson", "--data-binary"];
    let printed =
        curl(&[&lines[..], &["\"one\"\n{\"base64\":\"AP8=\"}\n", &url]].concat()).unwrap();
    let receipt: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&receipt["first"], &receipt["last"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(bob.next(), Got::Text("one".to_owned()));
    assert_eq!(bob.next(), Got::Binary(vec![0, 255]));
    // Over 1 MiB, so that it asks whether to go on; twice over one connection.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 3 << 20]).unwrap();
    let file = format!("@{}", file.path().display());
    curl(&["--data-binary", &file, &url, &url, "-o", "/dev/null"]).unwrap();
    for _ in 0..2 {
        assert_eq!(bob.next(), Got::Text("x".repeat(3 << 20)));
    }
    let printed = curl(&["-G", "-d", "limit=2", &url]).unwrap();
    let page: Value = serde_json::from_str(&printed).unwrap();
    let texts: Vec<_> = page["messages"].as_array().unwrap().iter().collect();
    assert_eq!(texts.len(), 2, "{printed}");
}

#[test]
fn python_publishes_and_reads_over_one_connection() {
    const TEST: &str = "python_publishes_and_reads_over_one_connection";
    const PROGRAM: &str = r#"
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1])
path = "/channels/room/messages"
for i in range(20):
    connection.request("POST", path, f"message {i}", {"Content-Type": "text/plain", "Mles-Uid": "py"})
    response = connection.getresponse()
    receipt = json.load(response)
    assert (response.status, receipt["offset"]) == (201, i + 1), receipt
connection.request("POST", path, (chunk for chunk in [b"in ", b"chunks"]), {"Content-Type": "text/plain"})
assert connection.getresponse().read()
since, texts = "", []
while True:
    connection.request("GET", f"{path}?limit=7{since}")
    page = json.load(connection.getresponse())
    if not page["messages"]:
        break
    texts += [message["text"] for message in page["messages"]]
    since = "&since=" + page["next"]
assert texts[-1] == "in chunks", texts
print(len(texts))
"#;
    let broker = start(settings());
    let at = address(&broker).to_string();
    let Some(printed) = run(TEST, "python3", &["-c", PROGRAM, &at]) else {
        return;
    };
    assert_eq!(printed.trim(), "21");
    assert_eq!(broker.stats().accepted, 1);
}

/// `curl -N` on the events of the room; killed when it is dropped.
struct Curl {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Curl {
    fn follow(broker: &Broker, last_event: Option<&str>) -> Self {
        let url = format!("http://{}/channels/room/events", address(broker));
        let mut command = Command::new("curl");
        command.args(["-sS", "-N", "--fail", &url]);
        if let Some(id) = last_event {
            command.args(["-H", &format!("Last-Event-ID: {id}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for the next message, and returns its id and its text.
    fn next(&mut self) -> (String, String) {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.lines.read_line(&mut line).unwrap(),
                0,
                "curl has ended"
            );
            if let Some(found) = line.strip_prefix("id: ") {
                found.trim_end().clone_into(&mut id);
            } else if let Some(data) = line.strip_prefix("data: ")
                && let Ok(data) = serde_json::from_str::<Value>(data)
                && let Some(text) = data["text"].as_str()
            {
                return (id, text.to_owned());
            }
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn curl_follows_events_and_goes_on_behind_the_last() {
    const TEST: &str = "curl_follows_events_and_goes_on_behind_the_last";
    let broker = start(settings());
    if run(TEST, "curl", &["--version"]).is_none() {
        return;
    }
    let mut bob = Ws::v2(&broker, "bob", "room");
    bob.send(0x81, b"one");
    bob.send(0x81, b"two");
    let mut curl = Curl::follow(&broker, None);
    assert_eq!(curl.next().1, "one");
    let (second, text) = curl.next();
    assert_eq!(text, "two");
    bob.send(0x81, b"three");
    assert_eq!(curl.next().1, "three");
    drop(curl);
    bob.send(0x81, b"four");
    let mut curl = Curl::follow(&broker, Some(&second));
    assert_eq!(curl.next().1, "three");
    assert_eq!(curl.next().1, "four");
    bob.send(0x81, b"five");
    assert_eq!(curl.next().1, "five");
}
