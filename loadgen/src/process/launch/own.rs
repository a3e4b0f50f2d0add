//! Servers of this project and of its reference, which speak the same protocol.

use std::path::PathBuf;

use super::{Invocation, Place, Programs, Recipe, Version, words};

pub(super) fn mles(program: PathBuf, place: Place<'_>, programs: &Programs) -> Recipe {
    let listen = format!("127.0.0.1:{}", place.port);
    let history = programs.history.to_string();
    let mut args = words(&["serve", "--listen", &listen, "--history-limit", &history]);
    args.push("--allow-anonymous".into());
    if let Some(shards) = programs.shards {
        args.extend(words(&["--shards", &shards.to_string()]));
    }
    Recipe {
        start: Invocation {
            program,
            args,
            env: Vec::new(),
        },
        helper: None,
        files: Vec::new(),
        version: Version::Printed(&["--version"]),
        settings: "no history but in history-join; no key, anyone may join",
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
