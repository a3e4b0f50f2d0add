//! The reference server of `mles-utils` 1.1.7 as a process of its own.
//!
//! `server_run` never returns and cannot be stopped, so a test that wants to stop or restart it
//! needs a process to kill. This one also ends when its standard input does: a test run that dies
//! leaves no server behind.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{ExitCode, exit};
use std::thread;

const USAGE: &str = "usage: reference-server ADDR:PORT [--peer ADDR:PORT] [--key KEY] \
                     [--addr-key KEY] [--history-limit N]";

/// Makes `server_run` print its address once it is bound.
const DEBUG_FLAGS: u64 = 1;

struct Arguments {
    listen: SocketAddr,
    peer: Option<SocketAddr>,
    key: String,
    addr_key: String,
    history_limit: usize,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let listen = match with_port(arguments.listen) {
        Ok(listen) => listen,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    thread::spawn(exit_with_stdin);
    mles_utils::server_run(
        listen,
        arguments.peer,
        arguments.key,
        arguments.addr_key,
        arguments.history_limit,
        DEBUG_FLAGS,
    );
    // It only comes back when it could not run.
    ExitCode::FAILURE
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        listen: words.next()?.parse().ok()?,
        peer: None,
        key: String::new(),
        addr_key: String::new(),
        history_limit: 100,
    };
    while let Some(option) = words.next() {
        let value = words.next()?;
        match option.as_str() {
            "--peer" => arguments.peer = Some(value.parse().ok()?),
            "--key" => arguments.key = value,
            "--addr-key" => arguments.addr_key = value,
            "--history-limit" => arguments.history_limit = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(arguments)
}

/// `server_run` does not tell which port it got for 0, so the port is chosen here.
fn with_port(listen: SocketAddr) -> io::Result<SocketAddr> {
    if listen.port() == 0 {
        TcpListener::bind(listen)?.local_addr()
    } else {
        Ok(listen)
    }
}

fn exit_with_stdin() {
    let mut ignored = [0; 256];
    let mut stdin = io::stdin();
    while matches!(stdin.read(&mut ignored), Ok(n) if n > 0) {}
    exit(0);
}
