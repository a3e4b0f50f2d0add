//! `mles check-config` as a process: what it prints, what it keeps to itself, how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `mles` with nothing of the caller's settings in its environment.
fn mles(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file that is gone when the test is over.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mles-{}-{name}.toml", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns what `check-config` prints for a good file.
fn resolved(file: &str, environment: &[(&str, &str)]) -> String {
    let output = mles(&["check-config", file], environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Returns the complaints of `check-config`.
fn complaint(name: &str, content: &str) -> String {
    let file = File::new(name, content);
    let output = mles(&["check-config", file.path()], &[]);
    assert_eq!(output.status.code(), Some(1), "{content} was taken");
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

#[test]
fn what_is_printed_can_be_loaded_again() {
    let path = configs().join("high-fan-out.toml");
    let key = [("MLES_KEY", "secret")];
    let first = resolved(path.to_str().unwrap(), &key);
    let again = File::new("again", &first);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(" # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&resolved(again.path(), &key)), values(&first));
}

#[test]
fn a_secret_is_never_printed() {
    let file = File::new("secret", "[auth]\nkey = \"hush-in-file\"\n");
    let output = resolved(file.path(), &[("MLES_ADDR_KEY", "hush-in-env")]);
    assert!(!output.contains("hush"), "{output}");
    let wrong = complaint("wrong-secret", "[auth]\nkey = [\"hush\"]\n");
    assert!(!wrong.contains("hush"), "{wrong}");
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let wrong = complaint("unknown", "[limits]\nmax_uid = 3\nmax_fram = 100\n");
    assert!(wrong.contains(":3: unknown key `max_fram`"), "{wrong}");
    assert!(wrong.contains("did you mean `max_frame`"), "{wrong}");
    let wrong = complaint("section", "[limit]\n");
    assert!(wrong.contains(":1:") && wrong.contains("limits"), "{wrong}");
}

#[test]
fn a_missing_file_is_told() {
    let output = mles(&["check-config", "/nonexistent/mles.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/mles.toml"));
}

/// A folder with a certificate that has signed itself, and its key.
fn certificate(change: impl FnOnce(&mut rcgen::CertificateParams)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    folder
}

/// A file with a TLS listener, and the certificate of that folder.
fn with_tls(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[tls]\nlisten = \"127.0.0.1:8443\"\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n"
    )
}

/// Whatever keeps a server from starting is found, with its place, and `serve` says the same.
#[test]
fn what_a_start_would_find_is_found() {
    let good = certificate(|_| {});
    let other = certificate(|_| {});
    let swapped = format!(
        "[tls]\nlisten = 8443\ncert = \"{0}/key.pem\"\nkey = \"{0}/cert.pem\"\n",
        good.path().display()
    );
    let mixed = format!(
        "[tls]\nlisten = 8443\ncert = \"{}/cert.pem\"\nkey = \"{}/key.pem\"\n",
        good.path().display(),
        other.path().display()
    );
    let peer = |lines: &str| format!("[peer]\nupstreams = \"tls://127.0.0.1:1\"\n{lines}\n");
    let missing = Path::new("/nonexistent");
    for (name, content, place, complaint) in [
        (
            "cert",
            with_tls(missing),
            ":3",
            "cannot read /nonexistent/cert.pem",
        ),
        ("swapped", swapped, ":3", "are certificate and key swapped?"),
        ("mixed", mixed, ":3", "does not belong to the key"),
        (
            "client-ca",
            with_tls(good.path()) + "client_ca = \"/nonexistent\"\n",
            ":5",
            "cannot read /nonexistent",
        ),
        (
            "peer-ca",
            peer("ca = \"/nonexistent\""),
            ":3",
            "cannot read /nonexistent",
        ),
        (
            "peer-key",
            peer("insecure = true\nclient_cert = \"/x\"\nclient_key = \"/y\""),
            ":4",
            "cannot read /x",
        ),
        (
            "address",
            "[auth]\nkey = \"k\"\n[server]\nlisten = \"192.0.2.1:1\"\n".to_owned(),
            ":4",
            "cannot listen on 192.0.2.1:1",
        ),
        (
            "congestion",
            "[limits]\ntcp_congestion = \"carrier-pigeon\"\n".to_owned(),
            ":2",
            "the congestion control \"carrier-pigeon\" cannot be used",
        ),
        (
            "no-key",
            "[auth]\naddr_key = \"k\"\n[ws]\nlisten = 8076\n".to_owned(),
            ":4",
            "WebSocket needs the shared key",
        ),
    ] {
        let wrong = self::complaint(name, &content);
        assert!(wrong.contains(complaint), "{wrong}");
        assert!(wrong.contains(&format!(".toml{place}: ")), "{wrong}");
        let file = File::new(name, &content);
        let output = mles(&["serve", "--config", file.path()], &[]);
        let wrong = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{wrong}");
        assert!(wrong.contains(complaint), "{wrong}");
    }
}

/// A server starts without them, as they may come up later; a name with a typing error never does.
#[test]
fn upstreams_that_cannot_be_found_are_told() {
    let content = "[peer]\nupstreams = [\"127.0.0.1\", \"no-such-host.invalid:1\"]\n";
    let wrong = complaint("upstream", content);
    assert!(
        wrong.contains(".toml:2: the upstream no-such-host.invalid:1 cannot be found: "),
        "{wrong}"
    );
    assert_eq!(wrong.lines().count(), 1, "{wrong}");
}

#[test]
fn all_problems_are_told_at_once() {
    let content = with_tls(Path::new("/nonexistent"))
        + "[peer]\nupstreams = \"tls://x.invalid\"\nca = \"/y\"\n";
    let wrong = complaint("all", &content);
    for part in [
        ".toml:3: cannot read",
        ".toml:7: cannot read /y",
        ".toml:6: the upstream",
    ] {
        assert!(wrong.contains(part), "{wrong}");
    }
}

#[test]
fn certificates_that_are_out_of_date_are_warned_of() {
    let old = certificate(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    let file = File::new("old", &with_tls(old.path()));
    let output = mles(&["check-config", file.path()], &[]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("warning: the certificate in "), "{said}");
    assert!(said.contains(" has expired "), "{said}");
}

/// Ports that a running server has are no problem.
#[test]
fn a_running_server_does_not_matter() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let file = File::new("running", &format!("[server]\nlisten = \"{address}\"\n"));
    resolved(file.path(), &[]);
}
