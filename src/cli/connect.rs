//! What `pub`, `sub` and `chat` have in common: options of the connection, and exit codes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::client::{Client, ClientTls, ClientTlsOptions, Error, Keyring};
use crate::server_name::ServerName;
use clap::builder::NonEmptyStringValueParser;

/// Shown at the end of the help of every client command.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the server cannot be reached or the connection was lost, or reading or writing failed
  2    wrong arguments, or a message too large
  3    the server refused the join: wrong key, connection id in use, or a limit
  130  interrupted (Ctrl-C)";

/// The heading of the options for TLS.
const TLS: &str = "TLS";

/// Where and as whom to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// Server to connect to; the port is 8077 if not given, tls:// in front asks for TLS
    #[arg(long, short, env = "MLES_SERVER", value_name = "[tls://]HOST[:PORT]")]
    #[arg(default_value = "localhost")]
    server: String,

    /// Name to join as [default: the user's name and a random suffix]
    #[arg(long, short, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    uid: Option<String>,

    /// Key shared with the server. Other users of this machine can read it from the process list:
    /// prefer the environment or --key-file
    #[arg(long, env = "MLES_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,

    /// File whose first line is the shared key; goes before --key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Key that the server mixes with this machine's address, if it has no shared key. Does not
    /// work through NAT
    #[arg(
        long,
        env = "MLES_ADDR_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    addr_key: Option<String>,

    /// Take a random connection id, so that one name can join a channel several times
    #[arg(long)]
    random_cid: bool,

    /// Talk TLS with the server, as tls:// in front of its name does
    #[arg(long, help_heading = TLS)]
    tls: bool,

    /// PEM file with the authorities to trust in the place of the system's; the certificate of a
    /// server that signed itself will do
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    ca: Option<PathBuf>,

    /// Do not check who the server is: whoever is on the way can read and change everything
    #[arg(long, conflicts_with = "ca", help_heading = TLS)]
    insecure: bool,

    /// PEM file with a certificate to show to a server that asks for one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = TLS)]
    client_cert: Option<PathBuf>,

    /// PEM file with the private key of that certificate
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = TLS)]
    client_key: Option<PathBuf>,
}

impl ConnectArgs {
    /// The client that these options describe.
    pub(crate) fn client(self) -> Result<Client, Failure> {
        let tls = self.tls()?;
        let shared = match &self.key_file {
            None => self.key,
            Some(path) => Some(read_key(path).map_err(|error| {
                Failure::Usage(format!(
                    "cannot take the key from {}: {error}",
                    path.display()
                ))
            })?),
        };
        let uid = self.uid.unwrap_or_else(default_uid);
        let mut client = Client::new(self.server, uid).keyring(Keyring::new(shared, self.addr_key));
        if let Some(tls) = tls {
            client = client.tls(tls);
        }
        Ok(if self.random_cid {
            client.random_cid()
        } else {
            client
        })
    }
}

impl ConnectArgs {
    /// How to talk TLS, if that is asked for.
    fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        let target: ServerName = self.server.parse().map_err(Error::from)?;
        let is_tls = self.tls || target.is_tls();
        if !is_tls {
            // Whoever gave these expects more than a connection that anyone can read.
            let without = self.insecure || self.client_cert.is_some() || self.ca.is_some();
            return if without {
                Err(Failure::Usage(
                    "--ca, --insecure and --client-cert are for TLS: add --tls, or write tls:// in \
                     front of the server"
                        .to_owned(),
                ))
            } else {
                Ok(None)
            };
        }
        if self.insecure {
            eprintln!(
                "mles: WARNING: --insecure: nobody checks who the server is; whoever is on the way \
                 can read and change everything, and take the key"
            );
        }
        let mut options = ClientTlsOptions::default();
        options.ca.clone_from(&self.ca);
        options.insecure = self.insecure;
        options.cert.clone_from(&self.client_cert);
        options.key.clone_from(&self.client_key);
        let tls = ClientTls::new(options);
        tls.map(Some)
            .map_err(|error| Failure::Usage(error.to_string()))
    }
}

fn read_key(path: &PathBuf) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    match text.lines().next() {
        Some(key) if !key.is_empty() => Ok(key.to_owned()),
        _ => Err(io::Error::other("its first line is empty")),
    }
}

/// A name that differs from one command to the next, so that one user's commands do not clash.
fn default_uid() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.as_deref().unwrap_or("mles");
    format!("{user}-{:08x}", rand::random::<u32>())
}

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user's mistake, which trying again does not mend.
    Usage(String),
    /// The session failed.
    Session(Error),
    /// The server closed the session.
    ClosedByServer,
    /// Reading the input or writing the output failed.
    Local(io::Error),
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Session(Error::Address(_) | Error::Message(_)) => 2,
            Self::Session(Error::Refused { .. }) => 3,
            Self::Session(_) | Self::ClosedByServer | Self::Local(_) => 1,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Session(error) => error.fmt(f),
            Self::ClosedByServer => f.write_str("the server closed the connection"),
            Self::Local(error) => error.fmt(f),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

/// Says on stderr what went wrong, and gives the exit code.
///
/// A reader that has closed our stdout has seen enough: that is no failure.
pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Local(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if !matches!(failure, Failure::Interrupted) {
                eprintln!("mles: {failure}");
            }
            ExitCode::from(failure.code())
        }
    }
}
