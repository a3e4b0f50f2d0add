//! `mles dev-cert`: a certificate to try TLS with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use thiserror::Error;

use super::exit;
use super::output::{print, printed, say};

/// The names that every certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(86_400);
/// The days that it is valid for. Browsers refuse certificates that are valid for much longer.
const DAYS: u32 = 365;
/// The mode of a file that only its owner may read.
const PRIVATE: u32 = 0o600;
/// The mode of a file that anyone may read.
const PUBLIC: u32 = 0o644;

/// Create a self-signed certificate for trying out TLS
#[derive(clap::Args)]
#[command(after_help = "\
Writes cert.pem and key.pem, and prints commands that use them. Only you can read the key file. Clients \
trust the certificate when they are given the file (--ca), browsers when you tell them to. For a server \
that others use, get a certificate from a CA.

Examples:
  mles dev-cert
  mles dev-cert --out certs --name broker.local --name 192.168.1.7

Exit codes:
  0  both files are written
  1  they are not
  2  wrong arguments")]
pub(super) struct DevCertArgs {
    /// Directory to write the files to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Host name or address to add to localhost, 127.0.0.1 and ::1; can be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,

    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Error)]
enum DevCertError {
    #[error("{} exists already; --force overwrites it", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("no certificate can be for these names: {0}")]
    Names(#[source] rcgen::Error),
    #[error("cannot make a certificate: {0}")]
    Make(#[source] rcgen::Error),
}

pub(super) fn run(args: DevCertArgs) -> ExitCode {
    match dev_cert(&args) {
        Ok(commands) => printed(print(&commands)),
        Err(error) => {
            say(format_args!("mles: {error}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Writes the files, and returns the commands that use them.
fn dev_cert(args: &DevCertArgs) -> Result<String, DevCertError> {
    let mut names: Vec<_> = NAMES.iter().map(ToString::to_string).collect();
    for name in &args.names {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let (cert, key) = pair(names.clone())?;
    let files = [
        (args.out.join("key.pem"), key, PRIVATE),
        (args.out.join("cert.pem"), cert, PUBLIC),
    ];
    for (path, ..) in &files {
        if !args.force && path.symlink_metadata().is_ok() {
            return Err(DevCertError::Exists(path.clone()));
        }
    }
    write_failed(&args.out, fs::create_dir_all(&args.out))?;
    for (path, text, mode) in &files {
        write_failed(path, write(path, text, *mode))?;
    }
    let [(key, ..), (cert, ..)] = &files;
    say(format_args!(
        "Wrote {} and {}, valid for {DAYS} days, for {}. To try them:",
        cert.display(),
        key.display(),
        names.join(", ")
    ));
    let (cert, key) = (shell_word(cert), shell_word(key));
    Ok(format!(
        "mles serve --tls 127.0.0.1:8443 --tls-cert {cert} --tls-key {key}\n\
         mles sub --server tls://localhost:8443 --ca {cert} room\n\
         mles pub --server tls://localhost:8443 --ca {cert} room hello\n"
    ))
}

/// Creates a certificate for `names` that has signed itself, and its key.
fn pair(names: Vec<String>) -> Result<(String, String), DevCertError> {
    let mut params = CertificateParams::new(names).map_err(DevCertError::Names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "mles dev-cert");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks differ.
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + DAY * DAYS).into();
    let key = KeyPair::generate().map_err(DevCertError::Make)?;
    let cert = params.self_signed(&key).map_err(DevCertError::Make)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// Writes a new file, in the place of what was there: that may have been open to others.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

fn write_failed(path: &Path, result: io::Result<()>) -> Result<(), DevCertError> {
    result.map_err(|source| DevCertError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Returns a path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
