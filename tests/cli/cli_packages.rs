//! The files that packages and images are made of: their settings are accepted, and what they have in common agrees.

use std::fs;
use std::path::Path;

use crate::program::{mles, taken};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Checks settings whose secrets are in `folder`.
fn check_config(text: &str, folder: &Path) {
    let file = folder.join("mles.toml");
    fs::write(&file, text).unwrap();
    let output = mles().arg("check-config").arg(&file).output().unwrap();
    let (code, _, complaint) = taken(&output);
    assert_eq!(code, 0, "{complaint}");
    // How many files may be open here says nothing about the settings.
    let mut complaints = complaint
        .lines()
        .filter(|line| !line.contains("max_connections lowered"));
    assert_eq!(complaints.next(), None, "{text}");
}

#[test]
fn the_settings_of_the_debian_package_are_accepted_with_and_without_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let text = read("configs/debian/mles.toml");
    check_config(&text, folder.path());
    let key = folder.path().join("key");
    fs::write(&key, "a long random string").unwrap();
    std::process::Command::new("chmod")
        .arg("600")
        .arg(&key)
        .status()
        .unwrap();
    let network = text
        .replace(
            "# key_file = \"/etc/mles/key\"",
            &format!("key_file = {key:?}"),
        )
        .replace("listen = [\"127.0.0.1:8077\"]", "")
        .replace("# listen = [\"[::]:8077\"]", "listen = [\"[::]:8077\"]");
    assert!(network.contains("\nlisten = [\"[::]:8077\"]") && network.contains("\nkey_file"));
    check_config(&network, folder.path());
}

#[test]
fn the_settings_for_kubernetes_are_accepted_and_fit_the_pod() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = read("configs/kubernetes/mles.yaml");
    let settings = manifests.split("mles.toml: |\n").nth(1).unwrap();
    let settings: Vec<_> = settings
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(str::trim)
        .collect();
    for secret in ["key", "admin-token"] {
        fs::write(folder.path().join(secret), "a long random string").unwrap();
        let file = folder.path().join(secret);
        std::process::Command::new("chmod")
            .arg("600")
            .arg(file)
            .status()
            .unwrap();
    }
    let settings = settings.join("\n");
    let here = settings.replace("/run/secrets/mles", folder.path().to_str().unwrap());
    check_config(&here, folder.path());
    let number = |text: &str, key: &str| -> u32 {
        let value = text
            .split(key)
            .nth(1)
            .unwrap()
            .trim_start_matches([' ', '=', ':', '"']);
        let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let stop = number(&settings, "drain_grace") + number(&settings, "drain_deadline");
    assert!(number(&manifests, "terminationGracePeriodSeconds") > stop);
    for port in [8077, 8076, 8078] {
        assert!(settings.contains(&format!(":{port}\"")), "{port}");
        assert!(
            manifests.contains(&format!("containerPort: {port}")),
            "{port}"
        );
    }
}

#[test]
fn the_debian_changelog_is_of_this_version() {
    let changelog = read("configs/debian/changelog");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.starts_with(&format!("mles ({version}-")),
        "{version}: {changelog}"
    );
}

#[test]
fn the_image_is_built_with_the_oldest_rust_that_will_do() {
    let manifest = read("Cargo.toml");
    let rust = manifest.split("rust-version = \"").nth(1).unwrap();
    let rust = rust.split('"').next().unwrap();
    assert!(
        read("Dockerfile").contains(&format!("FROM rust:{rust}-slim")),
        "{rust}"
    );
}

/// The arguments of the image are those of the program: it fails for want of a key, and of nothing else.
#[test]
fn the_image_needs_nothing_but_a_key() {
    let dockerfile = read("Dockerfile");
    let command = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("CMD "))
        .unwrap();
    let arguments: Vec<String> = serde_json::from_str(command).unwrap();
    let output = mles().args(&arguments).output().unwrap();
    let (code, _, complaint) = taken(&output);
    assert_eq!(code, 1);
    let lines: Vec<_> = complaint.lines().collect();
    assert!(
        lines.len() == 1 && lines[0].contains("without a key"),
        "{complaint}"
    );
}
