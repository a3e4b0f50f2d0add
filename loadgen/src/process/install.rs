//! Debian's packages of brokers, installed for their programs alone.
//!
//! # Invariant
//! No service is started by the installation nor left enabled: what Debian's packages ask before they
//! start one says no meanwhile, and afterwards says again what it said before.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::Programs;
use super::launch::in_path;
use crate::adapter::Broker;
use crate::say::tell;

/// What the packages ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Says no to everything.
const FORBID: &str = "#!/bin/sh\nexit 101\n";
/// There where systemd runs the machine.
const SYSTEMD: &str = "/run/systemd/system";
/// Units that come with the packages, beside those with a package's own name: Erlang's.
const OTHER_UNITS: [&str; 2] = ["epmd.service", "epmd.socket"];
/// Bytes of a program's last words that an error quotes.
const LAST_WORDS: usize = 600;

/// Packages could not be installed.
#[derive(Debug, Error)]
pub(crate) enum InstallError {
    /// Somebody else has to do it.
    #[error("--install needs root: run this as root, or apt-get install {0}")]
    NotRoot(String),
    /// The system has other packages than Debian's.
    #[error("--install needs apt-get, which is not there; wanted: {0}")]
    NoApt(String),
    /// Services could not be kept from starting, or the way they were before not be brought back.
    #[error("cannot change {path}: {source}")]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program that does the work failed.
    #[error("{command} failed: {said}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// The end of its output, or why it did not start.
        said: String,
    },
}

/// Installs what is missing of `brokers`. Those that Debian has no package of are left to whoever
/// starts them.
///
/// # Errors
/// See [`InstallError`]. Nothing is asked for when nothing is missing.
pub(crate) fn install(brokers: &[Broker], programs: &Programs) -> Result<(), InstallError> {
    let missing = brokers.iter().filter(|&&it| !programs.has(it));
    let mut packages: Vec<_> = missing.filter_map(|&it| package(it)).collect();
    // Two brokers may come with one package.
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(InstallError::NotRoot(packages.join(" ")));
    }
    let apt = in_path("apt-get").ok_or_else(|| InstallError::NoApt(packages.join(" ")))?;
    tell(format_args!("installing {}", packages.join(" ")));
    let services = Services::forbid(Path::new(POLICY))?;
    if let Err(error) = run(&apt, &["-qq", "update"]) {
        // The lists that are here may do.
        tell(error);
    }
    let options = ["-qq", "install", "-y", "--no-install-recommends"];
    run(&apt, &[options.as_slice(), &packages].concat())?;
    disable(&packages);
    services.allow()
}

/// The Debian package with the program of `broker`.
pub(super) fn package(broker: Broker) -> Option<&'static str> {
    match broker {
        Broker::Nats => Some("nats-server"),
        Broker::Redis => Some("redis-server"),
        Broker::Mosquitto => Some("mosquitto"),
        Broker::Rabbitmq | Broker::RabbitmqMqtt => Some("rabbitmq-server"),
        Broker::Mles
        | Broker::MlesWs
        | Broker::MlesV2
        | Broker::MlesTls
        | Broker::MlesWss
        | Broker::Reference
        | Broker::ReferenceV2
        | Broker::Null => None,
    }
}

/// Keeps the services from starting with the machine.
fn disable(packages: &[&str]) {
    if !Path::new(SYSTEMD).is_dir() {
        return;
    }
    let own = packages.iter().map(|package| format!("{package}.service"));
    for unit in own.chain(OTHER_UNITS.map(str::to_owned)) {
        // Not every package has each of them.
        let _ = run(
            Path::new("systemctl"),
            &["--quiet", "disable", "--now", &unit],
        );
    }
}

/// Runs a program to its end without a question asked.
fn run(program: &Path, args: &[&str]) -> Result<(), InstallError> {
    let failed = |said| InstallError::Failed {
        command: format!("{} {}", program.display(), args.join(" ")),
        said,
    };
    let output = Command::new(program)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let end = &said[said.len().saturating_sub(LAST_WORDS)..];
    Err(failed(String::from_utf8_lossy(end).trim().to_owned()))
}

/// Services are forbidden until this is dropped.
struct Services {
    policy: PathBuf,
    /// Where the policy is that was there before.
    before: PathBuf,
    restored: bool,
}

impl Services {
    fn forbid(policy: &Path) -> Result<Self, InstallError> {
        let services = Self {
            policy: policy.to_owned(),
            before: policy.with_extension("d.before-loadgen"),
            restored: false,
        };
        let changed = services.put_aside().and_then(|()| services.put_ours());
        changed.map_err(|source| services.failed(source))?;
        Ok(services)
    }

    /// Puts everything back, and says whether that went well.
    fn allow(mut self) -> Result<(), InstallError> {
        self.restored = true;
        self.restore().map_err(|source| self.failed(source))
    }

    fn put_aside(&self) -> io::Result<()> {
        // What is already aside was left there by a run that was killed: then what is in its place
        // is ours.
        if self.policy.exists() && !self.before.exists() {
            fs::rename(&self.policy, &self.before)?;
        }
        Ok(())
    }

    fn put_ours(&self) -> io::Result<()> {
        fs::write(&self.policy, FORBID)?;
        fs::set_permissions(&self.policy, fs::Permissions::from_mode(0o755))
    }

    fn restore(&self) -> io::Result<()> {
        if self.before.exists() {
            fs::rename(&self.before, &self.policy)
        } else {
            fs::remove_file(&self.policy)
        }
    }

    fn failed(&self, source: io::Error) -> InstallError {
        InstallError::Policy {
            path: self.policy.clone(),
            source,
        }
    }
}

impl Drop for Services {
    /// After an error, which is what gets told.
    fn drop(&mut self) {
        if !self.restored {
            let _ = self.restore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_executable(path: &Path) -> bool {
        let metadata = path.metadata();
        metadata.is_ok_and(|it| it.permissions().mode() & 0o111 == 0o111)
    }

    #[test]
    fn services_are_forbidden_for_a_while() {
        let dir = tempfile::tempdir().expect("a directory");
        let policy = dir.path().join("policy-rc.d");
        let services = Services::forbid(&policy).expect("it can be written");
        assert_eq!(fs::read_to_string(&policy).expect("it is there"), FORBID);
        assert!(is_executable(&policy));
        services.allow().expect("it can be removed");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn a_policy_that_was_there_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let policy = dir.path().join("policy-rc.d");
        fs::write(&policy, "theirs").expect("it can be written");
        // The first run is killed, the second fails, the third does well.
        std::mem::forget(Services::forbid(&policy).expect("it can be written"));
        drop(Services::forbid(&policy).expect("it can be written"));
        assert_eq!(fs::read_to_string(&policy).expect("it is there"), "theirs");
        let services = Services::forbid(&policy).expect("it can be written");
        assert_eq!(fs::read_to_string(&policy).expect("it is there"), FORBID);
        services.allow().expect("it can be put back");
        assert_eq!(fs::read_to_string(&policy).expect("it is there"), "theirs");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = run(Path::new("/bin/sh"), &["-c", "echo why not >&2; exit 3"]);
        let said = error.expect_err("it fails").to_string();
        assert!(
            said.starts_with("/bin/sh -c") && said.ends_with("why not"),
            "{said}"
        );
    }
}
