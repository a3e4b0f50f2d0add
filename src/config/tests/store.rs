//! Where histories are kept on disk, and how often they are written.

use super::{Case, environment, file, value};

const NEEDS_DIR: &str =
    "history = \"disk\" needs a directory for the store: set `dir` of [store] (--store-dir)";

#[test]
fn a_history_on_disk_needs_a_directory() {
    let disk = "[channel]\nhistory = \"disk\"";
    assert_eq!(file(disk).error(), format!("mles.toml:2: {NEEDS_DIR}"));
    let rule = "[[channel_rule]]\npattern = \"a\"\nhistory = \"disk\"";
    assert_eq!(file(rule).error(), NEEDS_DIR);
    let with_dir = format!("{rule}\n[store]\ndir = \"/var/lib/mles\"");
    assert_eq!(
        value(&file(&with_dir).ok(), "store_dir"),
        "\"/var/lib/mles\""
    );
}

#[test]
fn a_service_manager_may_name_the_directory() {
    let managed = [("STATE_DIRECTORY", "/var/lib/mles:/var/lib/other")];
    let case = Case {
        file: "[channel]\nhistory = \"disk\"",
        environment: &managed,
        ..Case::default()
    };
    assert_eq!(value(&case.ok(), "store_dir"), "\"/var/lib/mles\"");
    let in_memory = environment(&managed).ok();
    assert_eq!(value(&in_memory, "store_dir"), "not set");
    assert_eq!(in_memory.warnings, [""; 0]);
}

#[test]
fn a_store_without_channels_is_a_warning() {
    let resolved = file("[store]\ndir = \"d\"").ok();
    let expected = ["store_dir has no effect: no channel has history = \"disk\""];
    assert_eq!(resolved.warnings, expected);
}

#[test]
fn a_store_syncs_by_an_interval_or_a_word() {
    for written in ["1ms", "100ms", "2s", "1h", "batch", "os"] {
        let text = format!("[store]\nsync = \"{written}\"");
        let shown = value(&file(&text).ok(), "store_sync");
        assert_eq!(shown, format!("\"{written}\""));
    }
    for written in ["\"0ms\"", "\"500us\"", "\"2h\"", "\"always\"", "5"] {
        let error = file(&format!("[store]\nsync = {written}")).error();
        let expected = "expected a duration from 1ms to 1h, with a unit as in \"500ms\", \"10s\" or \"5m\", \
                        \"batch\" or \"os\"";
        assert_eq!(
            error,
            format!("mles.toml:2: `sync` is {written}; {expected}")
        );
    }
}
