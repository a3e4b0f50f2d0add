//! The files in `configs/`.

use super::{Case, file};
use crate::Settings;
use crate::config::{OPTIONS, Section};

const DEVELOPMENT: &str = include_str!("../../../configs/development.toml");
const PRODUCTION: &str = include_str!("../../../configs/production.toml");
const HIGH_FAN_OUT: &str = include_str!("../../../configs/high-fan-out.toml");
const ROOT: &str = include_str!("../../../configs/root.toml");
const PEER: &str = include_str!("../../../configs/peer.toml");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

fn with_key(text: &str) -> Case<'_> {
    Case {
        file: text,
        environment: &[("MLES_KEY", "secret")],
        ..Case::default()
    }
}

#[test]
fn development_works_as_it_is() {
    let resolved = file(DEVELOPMENT).ok();
    assert_eq!(resolved.warnings, [""; 0]);
    assert_eq!(resolved.config.settings.shards, Some(2));
}

#[test]
fn the_others_need_a_key_and_nothing_else() {
    for text in [PRODUCTION, HIGH_FAN_OUT] {
        let error = file(text).error();
        assert!(error.contains("refusing to listen on [::]:8077"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(with_key(text).ok().warnings, [""; 0]);
    }
}

#[test]
fn root_and_peer_fit_together_as_they_are() {
    let [root, peer] = [ROOT, PEER].map(|text| {
        let resolved = file(text).ok();
        assert_eq!(resolved.warnings, [""; 0]);
        resolved.config.settings
    });
    assert!(root.peer.upstreams.is_empty());
    let upstreams = peer.peer.upstreams.iter().map(ToString::to_string);
    let listen = root.listen.iter().map(ToString::to_string);
    assert!(upstreams.eq(listen));
    assert_ne!(root.listen, peer.listen);
    let common = |settings: &Settings| {
        let channel = &settings.channels.default;
        let limits = &settings.limits;
        (
            channel.history_frames,
            channel.history_bytes,
            channel.history_age,
            (limits.max_frame, limits.max_uid, limits.max_channel_name),
        )
    };
    assert_eq!(common(&root), common(&peer));
}

#[test]
fn production_has_every_key_in_its_section() {
    for section in Section::ALL {
        let header = format!("[{}]", section.name());
        let after = PRODUCTION
            .lines()
            .skip_while(|line| *line != header)
            .skip(1);
        let body: Vec<_> = after.take_while(|line| !line.starts_with('[')).collect();
        for opt in OPTIONS.iter().filter(|opt| opt.section == section) {
            let set = format!("{} = ", opt.key());
            let is_named = |line: &&str| line.trim_start_matches("# ").starts_with(&set);
            assert!(body.iter().any(is_named), "{opt:?}");
        }
    }
    assert_eq!(
        with_key(PRODUCTION)
            .ok()
            .config
            .settings
            .channels
            .patterns
            .len(),
        2
    );
}

#[test]
fn keys_that_are_commented_out_are_right_too() {
    let text = PRODUCTION
        .replace("# key = \"a ", "key = \"a ")
        .replace("# listen = ", "listen = ")
        .replace("# ws = ", "ws = ")
        .replace("# cert = ", "cert = ")
        .replace("# key = \"/", "key = \"/")
        .replace("# client_ca = ", "client_ca = ")
        .replace("# origin = ", "origin = ")
        .replace("# addr_key = ", "addr_key = ");
    file(&text).ok();
}

/// The keys and rules at the end of `configs/production.toml`, which are comments.
#[test]
fn rights_that_are_commented_out_are_right_too() {
    let folder = tempfile::tempdir().unwrap();
    let (_, rights) = PRODUCTION.split_once("# [[key]]").unwrap();
    let mut text = format!(
        "[[key]]{}",
        rights.replace("\n# ", "\n").replace("\n#\n", "\n\n")
    );
    for name in ["web", "sensors"] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("secret of {name}")).unwrap();
        let path = path.to_str().unwrap();
        text = text.replace(&format!("/etc/mles/{name}.key"), path);
    }
    let settings = with_key(&text).ok().config.settings;
    assert_eq!((settings.keys.len(), settings.rules.len()), (2, 4));
}

/// Help, `configs/production.toml` and OPERATIONS say what `check_names` does in the same words.
#[test]
fn check_names_is_explained_in_one_way() {
    let opt = OPTIONS
        .iter()
        .find(|opt| opt.name == "check_names")
        .unwrap();
    for text in [PRODUCTION, OPERATIONS] {
        let words = text.replace('#', " ").replace('`', "").to_lowercase();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains(&opt.help.to_lowercase()),
            "not said: {}",
            opt.help
        );
    }
}
