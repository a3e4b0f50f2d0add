//! What a fleet needs, and what does not go together with one.

use super::{Case, file, options, value};

const FLEET: &str = "[fleet]\nservers = \"nats://a\"\nname = \"demo\"\n";

#[track_caller]
fn assert_error(text: &str, expected: &str) {
    assert_eq!(file(text).error(), expected);
}

#[test]
fn servers_and_a_name_make_a_node() {
    let resolved = options(&[
        ("fleet", &["nats://a:1", "tls://b"]),
        ("fleet_name", &["demo"]),
    ])
    .ok();
    assert!(resolved.config.settings.fleet.is_on());
    assert_eq!(
        value(&resolved, "fleet"),
        "[\"nats://a:1\", \"tls://b:4222\"]"
    );
    let environment = [("MLES_FLEET", "a,b"), ("MLES_FLEET_NAME", "demo")];
    let by_environment = Case {
        environment: &environment,
        ..Case::default()
    };
    let shown = value(&by_environment.ok(), "fleet");
    assert_eq!(shown, "[\"nats://a:4222\", \"nats://b:4222\"]");
    assert!(!file("").ok().config.settings.fleet.is_on());
}

#[test]
fn one_without_the_other_is_refused() {
    assert_error(
        "[fleet]\nservers = \"nats://a\"",
        "mles.toml:2: a node needs the name of its fleet: set `name` of [fleet] (--fleet-name)",
    );
    assert_error(
        "[fleet]\nname = \"demo\"",
        "mles.toml:2: a fleet has a name and no servers, so this one would serve alone: set `servers` of [fleet] \
         (--fleet)",
    );
}

#[test]
fn a_fleet_has_neither_upstreams_nor_histories_on_disk() {
    assert_error(
        &format!("{FLEET}[peer]\nupstreams = \"b\""),
        "mles.toml:5: [peer] and [fleet] do not go together: links to an upstream would break the order that all \
         nodes have; remove one of them",
    );
    let disk = "mles.toml:5: history = \"disk\" does not go together with [fleet], whose log keeps the histories: use \
                \"memory\", or remove [fleet]";
    assert_error(&format!("{FLEET}[channel]\nhistory = \"disk\""), disk);
    let rule = "[[channel_rule]]\npattern = \"a\"\nhistory = \"disk\"\n[store]\ndir = \"d\"";
    let error = file(&format!("{FLEET}{rule}")).error();
    assert!(
        error.contains("does not go together with [fleet]"),
        "{error}"
    );
}

#[test]
fn a_wrong_server_or_name_is_told_without_its_secrets() {
    let expected = "expected NATS servers as in \"nats://10.0.0.1:4222\" or \"tls://nats.example\"; a login has \
                    options of its own";
    assert_error(
        "[fleet]\nservers = [\"nats://me:hunter2@a\"]",
        &format!("mles.toml:2: `servers` is an address with a login; {expected}"),
    );
    assert_error(
        "[fleet]\nservers = \"http://a\"",
        &format!("mles.toml:2: `servers` is \"http://a\"; {expected}"),
    );
    assert_error(
        "[fleet]\nname = \"a.b\"",
        "mles.toml:2: `name` is \"a.b\"; expected a name of at most 32 letters, digits, - and _",
    );
}

#[test]
fn there_is_one_login_and_its_files_can_be_read() {
    assert_error(
        &format!("{FLEET}user = \"node\""),
        "mles.toml:4: `user` of [fleet] is set and `password_file` is not: they go together",
    );
    let key = "\"tests/data/key\"";
    assert_error(
        &format!("{FLEET}token_file = {key}\nnkey_file = {key}"),
        "mles.toml:5: [fleet] has several logins; keep one of `user` with `password_file`, `token_file`, `nkey_file` \
         and `creds_file`",
    );
    for option in ["token_file", "nkey_file", "creds_file"] {
        let error = file(&format!("{FLEET}{option} = \"no/such/file\"")).error();
        assert!(
            error.starts_with("mles.toml:4: cannot read the "),
            "{error}"
        );
        assert!(error.contains("no/such/file"), "{error}");
    }
    assert_error(
        &format!("{FLEET}client_cert = \"c\""),
        "mles.toml:4: `client_cert` of [fleet] is set and `client_key` is not: they go together",
    );
}

/// A record has to fit into a message of NATS, whose limit is 1 MiB by default.
#[test]
fn the_largest_frame_of_a_node_fits_into_what_nats_takes() {
    assert_eq!(value(&file(FLEET).ok(), "max_frame"), "\"960KiB\"");
    let own = format!("{FLEET}[limits]\nmax_frame = \"2MiB\"");
    assert_eq!(value(&file(&own).ok(), "max_frame"), "\"2MiB\"");
}

#[test]
fn settings_of_no_fleet_are_a_warning() {
    let resolved = file("[fleet]\npatience = \"5s\"").ok();
    let expected = ["what [fleet] says has no effect: it names no servers"];
    assert_eq!(resolved.warnings, expected);
}
