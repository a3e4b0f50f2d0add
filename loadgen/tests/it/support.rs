//! A Mles relay of a few lines that can be told to tamper with one message, and the program itself.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mles::protocol::{HEADER_LEN, Message, frame_len};
use serde_json::Value;

/// Harm that the relay does to message number [`VICTIM`], on its way to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    Nothing,
    Lose,
    Double,
    Delay,
    /// Changes the bytes of the payload's stamp.
    Forge,
}

/// The message that is tampered with.
pub const VICTIM: u64 = 40;

type Members = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

/// Starts a relay that runs until the test program ends, and returns where.
pub fn relay(tamper: Tamper) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let members = Members::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let members = Arc::clone(&members);
            thread::spawn(move || serve(stream, &members, tamper));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, members: &Members, tamper: Tamper) -> Option<()> {
    let me = stream.peer_addr().ok()?;
    let join = read_frame(&mut stream)?;
    let channel = Message::decode(&join[HEADER_LEN..])
        .ok()?
        .channel
        .to_owned();
    members
        .lock()
        .ok()?
        .entry(channel.clone())
        .or_default()
        .push(stream.try_clone().ok()?);
    let mut late = None;
    let mut frame = join;
    loop {
        let sequence = sequence(&frame);
        let mut members = members.lock().ok()?;
        let others = members.get_mut(&channel)?.iter_mut();
        let others = others.filter(|member| member.peer_addr().is_ok_and(|addr| addr != me));
        for (index, member) in others.enumerate() {
            let mut out = vec![frame.clone()];
            if index == 0 && sequence == Some(VICTIM) {
                match tamper {
                    Tamper::Nothing => {}
                    Tamper::Lose => out.clear(),
                    Tamper::Double => out.push(frame.clone()),
                    Tamper::Delay => late = out.pop(),
                    Tamper::Forge => {
                        let stamp = frame.len() - PAYLOAD;
                        out[0][stamp] = 0x77;
                    }
                }
            } else if index == 0 && sequence > Some(VICTIM) {
                out.extend(late.take());
            }
            // A member that is gone needs nothing more.
            let _ = member.write_all(&out.concat());
        }
        drop(members);
        frame = read_frame(&mut stream)?;
    }
}

/// Bytes of the payload in these tests.
pub const PAYLOAD: usize = 32;

/// Returns the number in a counted message; `None` for joins and probes.
fn sequence(frame: &[u8]) -> Option<u64> {
    let payload = Message::decode(&frame[HEADER_LEN..]).ok()?.message;
    let stamp = u64::from_be_bytes(*payload.first_chunk()?);
    (stamp >> 48 == 0).then_some(stamp)
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER_LEN];
    stream.read_exact(&mut frame).ok()?;
    let len = frame_len(&frame)?;
    frame.resize(len, 0);
    stream.read_exact(&mut frame[HEADER_LEN..]).ok()?;
    Some(frame)
}

/// Runs the program.
pub fn loadgen(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(args)
        .output()
        .expect("it was built")
}

/// Runs the program with `--json` and returns its output and the report.
pub fn loadgen_json(args: &[&str]) -> (Output, Value) {
    let (output, report) = try_loadgen_json(args);
    let report =
        report.unwrap_or_else(|error| panic!("{error}; the program said: {}", said(&output)));
    (output, report)
}

/// Like [`loadgen_json`], where there may be no report.
pub fn try_loadgen_json(args: &[&str]) -> (Output, serde_json::Result<Value>) {
    let dir = tempfile::tempdir().expect("a directory for the report");
    let path = dir.path().join("report.json");
    let output = loadgen(&[args, &["--json", text(&path)]].concat());
    // Where nothing was measured there is no file; nothing is no JSON either.
    let report = std::fs::read(&path).unwrap_or_default();
    (output, serde_json::from_slice(&report))
}

/// Splits a command line into arguments, of which none has a space in it.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// Returns the program's standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Polls for what must come about within a generous time.
pub fn wait_for<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(it) = there() {
            return it;
        }
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}
