//! Help, completions, manual pages, and complaints about arguments.

use std::fs;
use std::process::{Command, Stdio};

use crate::program::{mles, taken};

fn run(args: &[&str]) -> (i32, String, String) {
    taken(&mles().args(args).stdin(Stdio::null()).output().unwrap())
}

/// Feeds `input` to a program; `None` if there is no such program.
fn fed(program: &str, args: &[&str], input: &str) -> Option<(i32, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, input).unwrap();
    let mut command = Command::new(program);
    command.args(args).stdin(fs::File::open(&path).unwrap());
    match command.output() {
        Ok(output) => Some(taken(&output)),
        Err(error) => {
            eprintln!("SKIPPED: no {program}: {error}");
            None
        }
    }
}

#[test]
fn the_help_groups_the_commands_and_ends_with_examples() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    let places: Vec<_> = [
        "Usage:",
        "Broker:",
        "  serve ",
        "Clients:",
        "  pub ",
        "  sub ",
        "Shell:",
        "Options:",
        "Examples:",
        "  mles pub room hello ",
    ]
    .iter()
    .map(|part| {
        help.find(part)
            .unwrap_or_else(|| panic!("no {part} in {help}"))
    })
    .collect();
    assert!(places.is_sorted(), "{help}");
    assert_eq!(run(&["-h"]).1, help);
    assert_eq!(run(&["help"]).1, help);
}

#[test]
fn a_wrong_argument_is_one_line_and_exit_code_2() {
    for args in [
        &["--listen", "127.0.0.1:0"][..],
        &["--bogus"],
        &["sreve"],
        &["sub"],
        &["sub", "-t", "room"],
        &["pub", "room", "--bogus"],
        &["serve", "--shards", "many"],
        &["completions"],
        &["completions", "tcsh"],
        &["man", "bogus"],
        &["man", "sub", "--out", "/tmp"],
    ] {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(
            stderr.starts_with("mles: ") && stderr.lines().count() == 1,
            "{args:?}: {stderr}"
        );
    }
    let (_, _, stderr) = run(&["--listen", "127.0.0.1:0"]);
    assert!(stderr.contains("`mles serve --listen ...`"), "{stderr}");
}

#[test]
fn a_completion_script_is_one_that_its_shell_takes() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = run(&["completions", shell]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(script.contains("check-config"), "{shell}: {script}");
        if ["bash", "zsh", "fish"].contains(&shell)
            && let Some((code, _, stderr)) = fed(shell, &["-n"], &script)
        {
            assert_eq!((code, stderr.as_str()), (0, ""), "{shell}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let script = run(&["completions", "bash"]).1;
    for (words, at, expected) in [
        ("mles s", 1, "serve status sub store"),
        ("mles sub --cou", 2, "--count"),
        ("mles completions f", 2, "fish"),
    ] {
        let current = words.split(' ').nth(at).unwrap();
        let asks = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}\n_mles mles '{current}' mles\n\
             echo \"${{COMPREPLY[@]}}\"\n"
        );
        let Some((code, replies, stderr)) = fed("bash", &["--norc", "-s"], &asks) else {
            return;
        };
        assert_eq!((code, replies.trim()), (0, expected), "{words}: {stderr}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let (code, stdout, stderr) = run(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    for (file, command) in [
        ("mles.1", None),
        ("mles-sub.1", Some("sub")),
        ("mles-serve.1", Some("serve")),
    ] {
        let written = fs::read_to_string(out.join(file)).unwrap();
        let args: Vec<_> = ["man"].into_iter().chain(command).collect();
        assert_eq!(run(&args).1, written, "{file}");
        assert!(
            written.contains(".TH") && written.contains(".SH"),
            "{written}"
        );
        if let Some((code, text, stderr)) = fed("man", &["--warnings", "-l", "-"], &written) {
            assert_eq!((code, stderr.as_str()), (0, ""), "{file}");
            assert!(text.contains("NAME") && text.contains("OPTIONS"), "{text}");
        }
    }
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        26,
        "a page too many or too few"
    );
    let under_a_file = out.join("mles.1").join("x");
    let (code, _, stderr) = run(&["man", "--out", under_a_file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cannot write") && stderr.lines().count() == 1,
        "{stderr}"
    );
}
