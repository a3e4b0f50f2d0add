//! The API as clients of others use it: curl, and Python's `http.client`.
//!
//! Skipped, by name, where they are not installed.

use std::process::{Command, Stdio};

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
