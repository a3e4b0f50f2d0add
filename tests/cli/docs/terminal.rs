//! A shell on a machine of its own, for the commands of one section.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use tempfile::TempDir;

use super::checkout;
use crate::common::{PATIENCE, wait_until};

/// What makes the machine: a network with loopback alone, names that the documents use, and a checkout
/// in which writing changes nothing outside.
const MACHINE: &str = r#"
set -e
ip link set lo up
printf '127.0.0.1 localhost broker.example\n::1 localhost\n' >"$MACHINE/hosts"
mount --bind "$MACHINE/hosts" /etc/hosts
mkdir "$MACHINE/layers" "$MACHINE/mles"
mount -t tmpfs tmpfs "$MACHINE/layers"
mkdir "$MACHINE/layers/upper" "$MACHINE/layers/work"
mount -t overlay overlay "$MACHINE/mles" \
    -o "lowerdir=$CHECKOUT,upperdir=$MACHINE/layers/upper,workdir=$MACHINE/layers/work"
# An answer that refuses a request is a failure.
printf 'fail-with-body\nsilent\nshow-error\n' >"$MACHINE/.curlrc"
export CURL_HOME="$MACHINE"
cd "$MACHINE/mles"
for built in target interop/target; do
    mkdir -p "$built"
    mount -t tmpfs tmpfs "$built"
done
mkdir target/release
ln -s "$LOADGEN" target/release/loadgen
set +e
"#;

/// Lets cargo ask the compiler what it is, and compile nothing.
const PLAN: &str = r#"#!/bin/sh
case " $* " in *" -vV "* | *" --print"*) exec "$@" ;; esac
echo "planned: everything up to here is right" >&2
exit 1
"#;

/// The shell, and what runs in it.
pub(super) struct Terminal {
    shell: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    folder: TempDir,
    commands: usize,
}

/// What a command has come to.
pub(super) struct Outcome {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A command that runs in the background.
pub(super) struct Background {
    pub(super) command: String,
    files: PathBuf,
}

impl Terminal {
    /// Opens one, or tells why there can be none here.
    pub(super) fn open() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let mles = env!("CARGO_BIN_EXE_mles");
        let loadgen = PathBuf::from(mles).with_file_name("loadgen");
        std::os::unix::fs::symlink(mles, bin.join("mles")).unwrap();
        std::os::unix::fs::symlink(&loadgen, bin.join("loadgen")).unwrap();
        script(&bin.join("plan"), PLAN);
        // For the documents that ask for the process of a broker.
        script(&bin.join("pidof"), "#!/bin/sh\necho 1\n");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());

        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
        command.arg("--mount-proc");
        command.args(["bash", "--norc"]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
            command.env_remove(name);
        }
        command.env_remove("CARGO_TARGET_DIR");
        command
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("MACHINE", folder.path())
            .env("CHECKOUT", checkout())
            .env("LOADGEN", loadgen)
            .env("URL", checkout());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let stderr = fs::File::create(folder.path().join("shell")).unwrap();
        let mut shell = command
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("no `unshare`: {error}"))?;
        let mut terminal = Self {
            stdin: shell.stdin.take(),
            answers: lines(BufReader::new(shell.stdout.take().unwrap())),
            shell,
            folder,
            commands: 0,
        };
        match terminal.ask(&format!("{MACHINE}\necho ready")) {
            Some(answer) if answer == "ready" => Ok(terminal),
            _ => Err(format!(
                "no namespaces and overlays here, which take root: {}",
                terminal.complaints().trim()
            )),
        }
    }

    /// Gives the shell a line, and waits for its answer; `None` if it has ended.
    fn ask(&mut self, line: &str) -> Option<String> {
        let stdin = self.stdin.as_mut().unwrap();
        // A shell that has ended shows it by its missing answer.
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no end in sight: {line}"),
        }
    }

    /// What the shell itself has said.
    fn complaints(&self) -> String {
        fs::read_to_string(self.folder.path().join("shell")).unwrap()
    }

    /// A new set of files for the output of a command.
    fn files(&mut self) -> PathBuf {
        self.commands += 1;
        self.folder.path().join(self.commands.to_string())
    }

    /// Runs a command to its end, in the shell itself: what it exports and where it goes stays.
    pub(super) fn run(&mut self, command: &str) -> Outcome {
        let files = self.files();
        let at = files.display();
        let answer = self.ask(&format!(
            "{{\n{command}\n}} >{at}.out 2>{at}.err </dev/null; echo $?"
        ));
        let Some(code) = answer else {
            panic!("the shell has ended at {command}: {}", self.complaints());
        };
        Outcome {
            code: code.parse().unwrap(),
            stdout: read(&files, "out"),
            stderr: read(&files, "err"),
        }
    }

    /// Starts a command that goes on, with a standard input that is open.
    pub(super) fn start(&mut self, command: &str) -> Background {
        let files = self.files();
        let at = files.display();
        let answer = self.ask(&format!(
            "mkfifo {at}.in\n{{ {{\n{command}\n}} <>{at}.in >{at}.out 2>{at}.err; \
             echo $? >{at}.code; }} &\necho started"
        ));
        assert_eq!(answer.as_deref(), Some("started"), "{}", self.complaints());
        let background = Background {
            command: command.to_owned(),
            files,
        };
        wait_until("its output is open", || {
            background.files.with_extension("err").exists()
        });
        background
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell is the first process of its machine and goes with `unshare`, so nothing outlives it.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Background {
    pub(super) fn stdout(&self) -> String {
        read(&self.files, "out")
    }

    pub(super) fn stderr(&self) -> String {
        read(&self.files, "err")
    }

    /// The exit code, once it has ended.
    pub(super) fn code(&self) -> Option<i32> {
        let code = fs::read_to_string(self.files.with_extension("code")).ok()?;
        code.trim().parse().ok()
    }

    /// Waits until it has printed this line, and fails at once if it ends without.
    pub(super) fn wait_for_line(&self, line: &str) {
        wait_until(&format!("`{}` prints {line:?}", self.command), || {
            let ended = self.code();
            let is_there = self.stdout().lines().any(|printed| printed == line);
            assert!(is_there || ended.is_none(), "{self}");
            is_there
        });
    }

    /// Waits until its standard error has this text.
    pub(super) fn wait_until_said(&self, text: &str) {
        wait_until(&format!("`{}` says {text:?}", self.command), || {
            let ended = self.code();
            let is_there = self.stderr().contains(text);
            assert!(is_there || ended.is_none(), "{self}");
            is_there
        });
    }

    /// Types a line into its standard input.
    pub(super) fn type_line(&self, line: &str) {
        let path = self.files.with_extension("in");
        let mut stdin = fs::OpenOptions::new().write(true).open(path).unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl std::fmt::Display for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (code, stdout, stderr) = (self.code(), self.stdout(), self.stderr());
        let command = &self.command;
        write!(f, "`{command}` ended with {code:?}:\n{stdout}{stderr}")
    }
}

fn read(files: &std::path::Path, end: &str) -> String {
    let bytes = fs::read(files.with_extension(end)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn script(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn lines(mut from: BufReader<std::process::ChildStdout>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|n| n > 0) {
            if sender.send(line.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}
