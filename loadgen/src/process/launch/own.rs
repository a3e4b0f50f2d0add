//! Servers of this project and of its reference, which speak the same protocol.

use std::io;
use std::path::PathBuf;

use super::certificate::Certificate;
use super::{Invocation, Place, Programs, Recipe, Version, words};

/// Our server with the listener of `door` and no other.
pub(super) fn mles(
    door: Door,
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let listen = format!("127.0.0.1:{}", place.port);
    let history = programs.history.to_string();
    let mut args = words(&["serve", door.option(), &listen, "--history-limit", &history]);
    args.push("--allow-anonymous".into());
    if door != Door::Tcp {
        args.extend(words(&["--listen", "none"]));
    }
    if let Some(shards) = programs.shards {
        args.extend(words(&["--shards", &shards.to_string()]));
    }
    let mut files = Vec::new();
    if door.is_tls() {
        let [cert, key] = Certificate::new()?.files(place);
        for (option, (path, _)) in [("--tls-cert", &cert), ("--tls-key", &key)] {
            args.extend([option.into(), path.into()]);
        }
        files.extend([cert, key]);
    }
    Ok(Recipe {
        start: Invocation {
            program,
            args,
            env: Vec::new(),
        },
        helper: None,
        files,
        version: Version::Printed(&["--version"]),
        settings: door.settings(),
    })
}

/// Where clients come in to our server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Tcp,
    WebSocket,
    Tls,
    WebSocketTls,
}

impl Door {
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
            "no history but in history-join; no key, anyone may join; a certificate made for the run"
        } else {
            "no history but in history-join; no key, anyone may join"
        }
    }
}

pub(super) fn reference(program: PathBuf, place: Place<'_>, history: usize) -> Recipe {
    let listen = format!("127.0.0.1:{}", place.port);
    let history = history.to_string();
    Recipe {
        start: Invocation {
            program,
            args: words(&[&listen, "--history-limit", &history]),
            env: Vec::new(),
        },
        helper: None,
        files: Vec::new(),
        // The lock file of `interop` pins it; the program itself does not tell.
        version: Version::Known("mles-utils 1.1.7".to_owned()),
        settings: "no history but in history-join; no key",
    }
}

/// It has no listener but the one for WebSocket over TLS, on all addresses, and always a history.
pub(super) fn reference_v2(
    program: PathBuf,
    place: Place<'_>,
    history: usize,
) -> io::Result<Recipe> {
    let (port, limit) = (place.port.to_string(), history.max(1).to_string());
    let mut args = words(&["--domains", "localhost", "--port", &port, "--limit", &limit]);
    args.extend(words(&["--filelimit", "20000", "--per-ip-limit", "20000"]));
    for option in ["--cache", "--wwwroot"] {
        args.extend([option.into(), place.dir.into()]);
    }
    Ok(Recipe {
        start: Invocation {
            program,
            args,
            env: Vec::new(),
        },
        helper: None,
        files: vec![Certificate::new()?.acme_cache(place)],
        // scripts/setup pins it; the program itself does not tell.
        version: Version::Known("mles 2.9.4".to_owned()),
        settings: "a history of one message for each channel, the least, but in history-join; no key; a certificate made \
                   for the run; limits on connections raised to 20000",
    })
}

pub(super) fn null(program: PathBuf, place: Place<'_>) -> Recipe {
    let listen = format!("127.0.0.1:{}", place.port);
    Recipe {
        start: Invocation {
            program,
            args: words(&["null-relay", "--listen", &listen]),
            env: Vec::new(),
        },
        helper: None,
        files: Vec::new(),
        version: Version::Printed(&["--version"]),
        settings: "copies frames to the channel's members, checks nothing, keeps nothing",
    }
}
