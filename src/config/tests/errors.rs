//! Messages about mistakes: they name the key, the line, and what to do.

use super::{Case, environment, file, options};

#[track_caller]
fn assert_error(text: &str, expected: &str) {
    assert_eq!(file(text).error(), expected);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    assert_error(
        "[limits]\n\nmax_frme = 5",
        "mles.toml:3: unknown key `max_frme` in [limits]; did you mean `max_frame`?",
    );
    assert_error(
        "[channel]\nhistory-limit = 5",
        "mles.toml:2: unknown key `history-limit` in [channel]; did you mean `history_limit`?",
    );
    assert_error(
        "[[channel_rule]]\npatern = \"a\"\npattern = \"b\"",
        "mles.toml:2: unknown key `patern` in [[channel_rule]]; did you mean `pattern`?",
    );
}

#[test]
fn a_key_that_resembles_none_gets_the_list() {
    assert_error(
        "[log]\nwhatever = 5",
        "mles.toml:2: unknown key `whatever` in [log]; known there: format, level",
    );
}

#[test]
fn a_key_in_the_wrong_place_is_told_its_own() {
    assert_error(
        "listen = 5",
        "mles.toml:1: unknown key `listen` outside of any section; `listen` belongs in [server]",
    );
    assert_error(
        "[channel]\nmax_frame = 5",
        "mles.toml:2: unknown key `max_frame` in [channel]; `max_frame` belongs in [limits]",
    );
    assert_error(
        "[log]\nlog_level = \"info\"",
        "mles.toml:2: unknown key `log_level` in [log]; `level` belongs in [log]",
    );
}

#[test]
fn a_period_that_the_deadline_would_cut_is_refused() {
    assert_error(
        "[server]\ndrain_period = \"1m\"",
        "mles.toml:2: `drain_period` is 60s, more than the 10s of `drain_deadline`: clients would be cut off; \
         raise `drain_deadline`",
    );
}

#[test]
fn an_unknown_section_is_named_with_the_nearest() {
    assert_error(
        "\n[sever]\nlisten = 5",
        "mles.toml:2: unknown key `sever` outside of any section; did you mean `server`?",
    );
    assert_error(
        "[[channel_rules]]\npattern = \"a\"",
        "mles.toml:1: unknown key `channel_rules` outside of any section; \
         did you mean `channel_rule`?",
    );
}

#[test]
fn a_wrong_value_is_shown_with_what_is_allowed() {
    for (section, line, expected) in [
        (
            "server",
            "shards = 0",
            "`shards` is 0; expected an integer from 1 to 1024, or \"auto\"",
        ),
        (
            "server",
            "shards = 5000",
            "`shards` is 5000; expected an integer from 1 to 1024, or \"auto\"",
        ),
        (
            "server",
            "shards = \"4\"",
            "`shards` is \"4\"; expected an integer from 1 to 1024, or \"auto\"",
        ),
        ("server", "pin = 1", "`pin` is 1; expected true or false"),
        (
            "server",
            "listen = true",
            "`listen` is true; expected IP addresses, ports, or both, as in \"127.0.0.1:8077\", \"[::1]:8077\", \"0.0.0.0\" or 8077, or \"none\"",
        ),
        (
            "tls",
            "listen = \"127.0.0.1\"",
            "`listen` is \"127.0.0.1\"; expected IP addresses with ports, or ports, as in \"127.0.0.1:8443\", \"[::]:8443\" or 8443, or \"none\"",
        ),
        (
            "ws",
            "origin = \"chat.example\"",
            "`origin` is \"chat.example\"; expected origins as in \"https://chat.example\" or \"http://localhost:3000\", or \"*\"",
        ),
        (
            "server",
            "listen = [1, \"host\"]",
            "`listen` is [1, \"host\"]; expected IP addresses, ports, or both, as in \"127.0.0.1:8077\", \"[::1]:8077\", \"0.0.0.0\" or 8077, or \"none\"",
        ),
        (
            "limits",
            "max_uid = -1",
            "`max_uid` is -1; expected a size from 1 to 64KiB, in bytes or with a unit as in \"512KiB\" or \"1MB\"",
        ),
        (
            "limits",
            "max_frame = \"12Q\"",
            "`max_frame` is \"12Q\"; expected a size from 64 to 16777231, in bytes or with a unit as in \"512KiB\" or \"1MB\"",
        ),
        (
            "limits",
            "max_frame = \"17MiB\"",
            "`max_frame` is \"17MiB\"; expected a size from 64 to 16777231, in bytes or with a unit as in \"512KiB\" or \"1MB\"",
        ),
        (
            "limits",
            "max_frame = \"99999999999TiB\"",
            "`max_frame` is \"99999999999TiB\"; expected a size from 64 to 16777231, in bytes or with a unit as in \"512KiB\" or \"1MB\"",
        ),
        (
            "limits",
            "max_channels = 1.5",
            "`max_channels` is 1.5; expected an integer from 1 to 100000000",
        ),
        (
            "limits",
            "max_channels = {}",
            "`max_channels` is a table; expected an integer from 1 to 100000000",
        ),
        (
            "limits",
            "join_deadline = 5",
            "`join_deadline` is 5; expected a duration from 10ms to 1h, with a unit as in \"500ms\", \"10s\" or \"5m\"",
        ),
        (
            "limits",
            "join_deadline = \"0s\"",
            "`join_deadline` is \"0s\"; expected a duration from 10ms to 1h, with a unit as in \"500ms\", \"10s\" or \"5m\"",
        ),
        (
            "limits",
            "join_deadline = 2026-01-01",
            "`join_deadline` is 2026-01-01; expected a duration from 10ms to 1h, with a unit as in \"500ms\", \"10s\" or \"5m\"",
        ),
        (
            "channel",
            "slow_policy = \"drop\"",
            "`slow_policy` is \"drop\"; expected one of \"disconnect\", \"drop-oldest\", \"backpressure\"",
        ),
        (
            "channel",
            "history_age = \"never\"",
            "`history_age` is \"never\"; expected a duration from 10ms to 1year, with a unit as in \"500ms\", \"10s\" or \"5m\", or \"unlimited\"",
        ),
        (
            "log",
            "level = \"inof\"",
            "`level` is \"inof\"; expected error, warn, info, debug, trace or off, or levels by module as in \"warn,mles::shard=debug\"",
        ),
        (
            "log",
            "level = \"mles=loud\"",
            "`level` is \"mles=loud\"; expected error, warn, info, debug, trace or off, or levels by module as in \"warn,mles::shard=debug\"",
        ),
    ] {
        let text = format!("# a comment\n[{section}]\n{line}");
        assert_error(&text, &format!("mles.toml:3: {expected}"));
    }
}

#[test]
fn a_wrong_value_of_a_secret_is_not_shown() {
    assert_error(
        "[auth]\nkey = 12345",
        "mles.toml:2: `key` is an integer; expected a string that is not empty",
    );
    assert_error(
        "[auth]\naddr_key = \"\"",
        "mles.toml:2: `addr_key` is empty; expected a string that is not empty",
    );
}

#[test]
fn sections_and_rules_must_be_tables() {
    assert_error(
        "limits = 3",
        "mles.toml:1: `limits` is 3; expected a table, [limits]",
    );
    assert_error(
        "\n[channel_rule]\npattern = \"a\"",
        "mles.toml:2: `channel_rule` is a table; expected tables, each headed [[channel_rule]]",
    );
    assert_error(
        "[[channel_rule]]\npattern = 3",
        "mles.toml:2: `pattern` is 3; expected a string that is not empty",
    );
    assert_error(
        "\n[[channel_rule]]\nhistory_limit = 3",
        "mles.toml:2: this [[channel_rule]] has no `pattern`; expected one such as \"telemetry.*\"",
    );
    assert_error(
        "[[channel_rule]]\npattern = \"a\"\n[[channel_rule]]\npattern = \"a\"",
        "mles.toml:4: the pattern \"a\" is already in line 2, and the first match applies",
    );
}

#[test]
fn text_that_is_not_toml_is_told_by_its_line() {
    let error = file("[server]\nshards = = 3").error();
    assert!(error.starts_with("mles.toml:2: not TOML: "), "{error}");
    let error = file("[server]\npin = true\n\npin = false").error();
    assert!(
        error.starts_with("mles.toml:4: not TOML: duplicate key"),
        "{error}"
    );
    let error = file("[auth]\nkey = hunter2").error();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_file() {
    let case = Case {
        file: "[server]\nfoo = 1\n[channel]\nqueue_bytes = true\n[auth]\nkey = 5",
        environment: &[("MLES_PIN", "perhaps")],
        options: &[("max_uid", &["none"])],
    };
    let error = case.error();
    let places: Vec<_> = error
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "mles.toml:2",
            "mles.toml:4",
            "mles.toml:6",
            "MLES_PIN",
            "--max-uid"
        ]
    );
}

#[test]
fn variables_and_options_are_named_as_the_place() {
    let case = environment(&[("MLES_SLOW_POLICY", "drop")]);
    assert!(
        case.error()
            .starts_with("MLES_SLOW_POLICY: `slow_policy` is \"drop\"")
    );
    let case = options(&[("write_deadline", &["10"])]);
    assert!(
        case.error()
            .starts_with("--write-deadline: `write_deadline` is \"10\"")
    );
}

#[test]
fn values_that_do_not_fit_together_are_told_by_what_to_change() {
    assert_error(
        "[channel]\nqueue_bytes = \"1KiB\"",
        "mles.toml:2: `queue_bytes` is 1024 bytes, less than the 16777231 of `max_frame`: the \
         largest frame could not be sent to anyone; raise `queue_bytes` or lower `max_frame`",
    );
    assert_error(
        "[limits]\npartial_bytes = \"1KiB\"",
        "mles.toml:2: `partial_bytes` is 1024 bytes, less than the 16777231 of `max_frame`: the \
         largest frame could not be received; raise `partial_bytes` or lower `max_frame`",
    );
    assert_error(
        "[channel]\nhistory_bytes = 0",
        "mles.toml:2: `history_bytes` is 0, so none of the 100 frames of `history_limit` could be \
         kept; set `history_limit` to 0 too, or raise `history_bytes`",
    );
    file("[channel]\nhistory_bytes = 0\nhistory_limit = 0").ok();
    assert_error(
        "[server]\nlisten = [\"127.0.0.1:8077\", 8078, 8077]",
        "mles.toml:2: 127.0.0.1:8077 is listed twice",
    );
    file("[server]\nlisten = [0, 0]").ok();
}

#[test]
fn a_rule_is_told_by_its_own_line() {
    assert_error(
        "[[channel_rule]]\npattern = \"a\"\nhistory_bytes = 0",
        "mles.toml:3: `history_bytes` is 0, so none of the 100 frames of `history_limit` could be \
         kept; set `history_limit` to 0 too, or raise `history_bytes`",
    );
    // What is wrong with the default is not repeated for a rule that has nothing to do with it.
    let text = "[channel]\nqueue_bytes = 5\n[[channel_rule]]\npattern = \"a\"\nhistory_limit = 3";
    assert_eq!(file(text).error().lines().count(), 1);
}

#[test]
fn listening_beyond_loopback_needs_a_key() {
    for address in ["0.0.0.0", "[::]:1", "192.0.2.1:8077"] {
        let error = options(&[("listen", &["127.0.0.1:2", address])]).error();
        assert!(
            error.starts_with("--listen: refusing to listen on "),
            "{error}"
        );
        for way in [
            "--key-file",
            "MLES_KEY",
            "--key",
            "127.0.0.1",
            "--allow-anonymous",
        ] {
            assert!(error.contains(way), "{error}");
        }
        for way in ["key", "addr_key", "allow_anonymous"] {
            let word: &[&str] = &["true"];
            options(&[("listen", &[address]), (way, word)]).ok();
        }
    }
    for address in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        options(&[("listen", &[address])]).ok();
    }
}

#[test]
fn listeners_of_all_kinds_are_checked() {
    assert_error(
        "[ws]\nlisten = 8077",
        "mles.toml:2: 127.0.0.1:8077 is listed twice; the default of `listen` is one of \
         them (listen = \"none\" turns it off)",
    );
    assert_error(
        "[auth]\nkey = \"k\"\n[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n[ws]\nlisten = \
         \"0.0.0.0:2\"",
        "mles.toml:6: 127.0.0.1:2 overlaps 0.0.0.0:2: remove one of them, or use another port",
    );
    assert_error(
        "[auth]\nkey = \"k\"\n[ws]\nlisten = \"[::]:8077\"",
        "mles.toml:4: 127.0.0.1:8077 overlaps [::]:8077, which takes IPv4 too: remove one of them, or \
         use another port; the default of `listen` is one of \
         them (listen = \"none\" turns it off)",
    );
    file("[auth]\nkey = \"k\"\n[server]\nlisten = [\"0.0.0.0:1\", \"[::]:1\"]").ok();
    file("[auth]\nkey = \"k\"\n[server]\nlisten = \"0.0.0.0:1\"\n[ws]\nlisten = \"[::]:1\"").ok();
    assert_error(
        "[server]\nlisten = []",
        "mles.toml:2: no address to listen on: set `listen`, or a listener of [tls] or [ws] (--listen, \
         --tls, --tls-ws or --ws)",
    );
    for section in ["tls", "ws"] {
        let text = format!("[auth]\nallow_anonymous = false\n[{section}]\nlisten = \"0.0.0.0:1\"");
        let error = Case {
            file: &text,
            environment: &[("MLES_TLS_CERT", "c"), ("MLES_TLS_KEY", "k")],
            ..Case::default()
        }
        .error();
        let expected = "mles.toml:4: refusing to listen on 0.0.0.0:1 without a key: ";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_certificate_and_its_key_go_together() {
    assert_error(
        "[tls]\nlisten = 8443\ncert = \"c\"",
        "mles.toml:3: `cert` of [tls] is set and `key` is not: they go together",
    );
    assert_error(
        "[tls]\nkey = \"k\"",
        "mles.toml:2: `key` of [tls] is set and `cert` is not: they go together",
    );
    assert_error(
        "[peer]\nclient_key = \"k\"",
        "mles.toml:2: `client_key` of [peer] is set and `client_cert` is not: they go together",
    );
    for listener in ["listen", "ws"] {
        let error = file(&format!("[tls]\n{listener} = 8443")).error();
        let expected = "mles.toml:2: TLS listeners need a certificate and its key: ";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn trust_beyond_loopback_is_for_those_who_let_anyone_join() {
    let open = "[auth]\nkey = \"k\"\n[ws]\nlisten = \"[::]:1\"\ntrust = true";
    let error = file(open).error();
    let expected = "mles.toml:5: refusing to accept joins without a key on [::]:1: ";
    assert!(error.starts_with(expected), "{error}");
    file(&open.replace("[::]", "[::1]")).ok();
    file(&open.replace("[ws]", "allow_anonymous = true\n[ws]")).ok();
}

#[test]
fn what_websocket_settings_must_agree_on() {
    assert_error(
        "[ws]\nmax_message = \"2MiB\"\n[limits]\nmax_frame = \"1MiB\"",
        "mles.toml:4: `max_message` of [ws] is 2097152 bytes, more than the 1048576 of \
         `max_frame`: such a message could not be forwarded; lower `max_message` or raise \
         `max_frame`",
    );
    assert_error(
        "[ws]\nping_timeout = \"5s\"",
        "mles.toml:2: `ping_timeout` of [ws] is 5s, less than the 24s of `ping_interval`: clients \
         would be disconnected before they are pinged",
    );
}

#[test]
fn key_files_that_cannot_be_used() {
    assert_error(
        "[auth]\nkey = \"k\"\nkey_file = \"f\"",
        "mles.toml:3: both `key` and `key_file` are set; keep one of them",
    );
    let error = file("[auth]\nkey_file = \"/nonexistent/key\"").error();
    assert!(
        error.starts_with("mles.toml:2: cannot read the key from /nonexistent/key: "),
        "{error}"
    );
    assert_error(
        "[auth]\nkey_file = \"/dev/null\"",
        "mles.toml:2: the key file /dev/null is empty",
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use crate::config::{Environment, Sources, resolve};

    let value = OsString::from_vec(vec![0xFF]);
    let sources = Sources {
        environment: Environment::new([("MLES_KEY".to_owned(), value)]),
        ..Sources::default()
    };
    let error = resolve(&sources).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "MLES_KEY: not UTF-8");
}
