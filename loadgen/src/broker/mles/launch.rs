//! How servers of Mles are started.

use std::io;
use std::path::PathBuf;

use super::certificate::Certificate;
use crate::broker::nats;
use crate::broker::program::KEPT;
use crate::broker::{Drained, Programs};
use crate::process::{Front, Helper, Place, Recipe, Version, free_address, words};

/// What this project's server takes for clients on its own machine where `tcp_congestion` is not set.
const LOOPBACK_CONGESTION: &str = "reno";

/// What one address may have, for the scenario of most clients: all are on loopback.
const CONNECTIONS: &str = "20000";

/// The listener of this project's server that clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Tcp,
    WebSocket,
    Tls,
    WebSocketTls,
}

impl Listener {
    fn option(self) -> &'static str {
        match self {
            Self::Tcp => "--listen",
            Self::WebSocket => "--ws",
            Self::Tls => "--tls",
            Self::WebSocketTls => "--tls-ws",
        }
    }

    fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    fn settings(self) -> &'static str {
        if self.is_tls() {
            "no history but in history-join; no key, anyone may join; max_connections_per_address raised to 20000; a \
             certificate made for the run"
        } else {
            "no history but in history-join, and in reconnect-storm for those that resume; no key, anyone may join; \
             max_connections_per_address raised to 20000"
        }
    }
}

/// Starts this project's server with one listener and no other.
pub(super) fn mles(
    listener: Listener,
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let (listen, history) = (place.listen(), programs.history.to_string());
    let mut args = words(&["serve", listener.option(), &listen]);
    args.extend(words(&["--history-limit", &history, "--allow-anonymous"]));
    args.extend(words(&["--max-connections-per-address", CONNECTIONS]));
    match programs.drained {
        Some(Drained::Upstream(addr)) => args.extend(words(&["--listen", &addr.to_string()])),
        _ if listener != Listener::Tcp => args.extend(words(&["--listen", "none"])),
        _ => {}
    }
    if let Some(Drained::Downstream { upstream, period }) = programs.drained {
        let [period, deadline] = [period, 2 * period].map(|it| format!("{}ms", it.as_millis()));
        args.extend(words(&["--peer", &upstream.to_string()]));
        args.extend(words(&[
            "--drain-period",
            &period,
            "--drain-deadline",
            &deadline,
        ]));
    }
    if let Some(shards) = programs.shards {
        args.extend(words(&["--shards", &shards.to_string()]));
    }
    if let Some(name) = &programs.congestion {
        args.extend(words(&["--tcp-congestion", name]));
    }
    let mut files = Vec::new();
    if listener.is_tls() {
        let [cert, key] = Certificate::new()?.files(place);
        for (option, (path, _)) in [("--tls-cert", &cert), ("--tls-key", &key)] {
            args.extend([option.into(), path.into()]);
        }
        files.extend([cert, key]);
    }
    let congestion = programs
        .congestion
        .as_deref()
        .unwrap_or(LOOPBACK_CONGESTION);
    Ok(Recipe {
        files,
        congestion: Some(congestion.to_owned()),
        ..Recipe::new(program, args, listener.settings())
    })
}

/// Starts this project's server with histories on disk, of which it syncs as `sync` says.
pub(super) fn mles_on_disk(
    sync: &str,
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let programs = Programs {
        history: programs.history.max(KEPT),
        ..programs.clone()
    };
    let mut recipe = mles(Listener::Tcp, program, place, &programs)?;
    let args = &mut recipe.start.args;
    args.extend(words(&[
        "--history",
        "disk",
        "--store-sync",
        sync,
        "--store-dir",
    ]));
    args.push(place.dir.join("store").into());
    Ok(Recipe {
        settings: "a history of 1000 messages for each channel, on disk; no key, anyone may join; \
                   max_connections_per_address raised to 20000",
        ..recipe
    })
}

/// Starts a NATS server, and three servers of this project that are nodes of a fleet on its JetStream.
pub(super) fn mles_fleet(
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let node = super::TCP.program.find(programs).ok_or_else(|| {
        let why = format!("mles is not installed{}", super::TCP.program.hint());
        io::Error::new(io::ErrorKind::NotFound, why)
    })?;
    let [engine, name] = [format!("nats://{}", place.listen()), "loadgen".to_owned()];
    let init = ["fleet", "init", &engine, "--name", &name, "--replicas", "1"];
    let prepare = Recipe::new(node.clone(), words(&init), "").start;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let addr = free_address()?;
        let place = Place {
            port: addr.port(),
            ..place
        };
        let mut start = mles(Listener::Tcp, node.clone(), place, programs)?.start;
        let fleet = ["--fleet", &engine, "--fleet-name", &name];
        start.args.extend(words(&fleet));
        nodes.push(Helper { start, addr });
    }
    let congestion = programs.congestion.as_deref();
    Ok(Recipe {
        front: Some(Front { prepare, nodes }),
        settings: "JetStream with its default sync_interval, a stream with one replica in files; three nodes on it, publishers \
                   at the first and subscribers at all; no history but in history-join; no key, anyone may join; \
                   max_connections_per_address raised to 20000",
        congestion: Some(congestion.unwrap_or(LOOPBACK_CONGESTION).to_owned()),
        ..nats::jetstream(program, place, programs)?
    })
}

/// Starts the reference server of `interop`.
pub(super) fn reference(program: PathBuf, place: Place<'_>, programs: &Programs) -> Recipe {
    let history = programs.history.to_string();
    let args = words(&[&place.listen(), "--history-limit", &history]);
    Recipe {
        // The lock file of `interop` pins it; the program itself does not tell.
        version: Version::Known("mles-utils 1.1.7".to_owned()),
        ..Recipe::new(program, args, "no history but in history-join; no key")
    }
}

/// Starts the server mles 2.9.4. It has no listener but the one for WebSocket over TLS, on all addresses, and
/// always a history.
pub(super) fn reference_v2(
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let (port, limit) = (place.port.to_string(), programs.history.max(1).to_string());
    let mut args = words(&["--domains", "localhost", "--port", &port, "--limit", &limit]);
    args.extend(words(&["--filelimit", "20000", "--per-ip-limit", "20000"]));
    for option in ["--cache", "--wwwroot"] {
        args.extend([option.into(), place.dir.into()]);
    }
    let settings = "a history of one message for each channel, the least, but in history-join; no key; a certificate made \
                    for the run; limits on connections raised to 20000";
    Ok(Recipe {
        files: vec![Certificate::new()?.acme_cache(place)],
        // scripts/setup pins it; the program itself does not tell.
        version: Version::Known("mles 2.9.4".to_owned()),
        ..Recipe::new(program, args, settings)
    })
}
