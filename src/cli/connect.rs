//! Options of the connection, which `pub`, `sub` and `chat` have in common.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::NonEmptyStringValueParser;

use super::failure::CommandFailure;
use super::output::say;
use crate::client::{Client, ClientTls, ClientTlsOptions, Error, Keyring};
use crate::config::{Environment, KeySources, Problem, Secret, ValueOrigin};
use crate::server_name::ServerName;

/// The server to connect to if nobody names one.
const DEFAULT_SERVER: &str = "localhost";
/// The heading of the options for TLS.
const TLS: &str = "TLS";

/// The server to connect to, the name and the keys to join with.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// Server to connect to; the port is 8077 if not given, tls:// in front asks for TLS
    /// [env: MLES_SERVER] [default: localhost]
    #[arg(long, short, value_name = "[tls://]HOST[:PORT]")]
    server: Option<String>,

    /// Name to join as [default: the user's name and a random suffix]
    #[arg(long, short, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    uid: Option<String>,

    /// Key shared with the server. Other users of this machine can read it from the process list:
    /// prefer the environment or --key-file [env: MLES_KEY]
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    key: Option<String>,

    /// File that holds the shared key, on one line. An option, for the key or its file, wins over the
    /// environment [env: MLES_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Key that the server mixes with this machine's address, if it has no shared key. Does not
    /// work through NAT [env: MLES_ADDR_KEY]
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
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
    /// Creates the client that these options and the environment describe.
    pub(crate) fn client(self) -> Result<Client, CommandFailure> {
        let environment = Environment::of_process();
        let text = |name| match environment.text(name) {
            Ok(found) => Ok(found.map(|(text, _)| text.to_owned())),
            Err(problem) => Err(CommandFailure::Usage(problem.to_string())),
        };
        let server = match &self.server {
            Some(server) => server.clone(),
            None => text("MLES_SERVER")?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let tls = self.tls(&server)?;
        let shared = self.shared_key(&environment)?;
        let addr_key = match self.addr_key {
            Some(key) => Some(key),
            None => text("MLES_ADDR_KEY")?,
        };
        let uid = self.uid.unwrap_or_else(default_uid);
        let mut client = Client::new(server, uid).keyring(Keyring::new(shared, addr_key));
        if let Some(tls) = tls {
            client = client.tls(tls);
        }
        Ok(if self.random_cid {
            client.random_cid()
        } else {
            client
        })
    }

    /// Returns the shared key, by the rules of the server.
    fn shared_key(&self, environment: &Environment) -> Result<Option<String>, CommandFailure> {
        let usage = |problem: Problem| CommandFailure::Usage(problem.to_string());
        let by_option = |name: &str| ValueOrigin::Flag(format!("--{name}"));
        let key = match &self.key {
            Some(key) => Some((Secret(key.clone()), by_option("key"))),
            None => environment
                .text("MLES_KEY")
                .map_err(usage)?
                .map(|(key, origin)| (Secret(key.to_owned()), origin)),
        };
        let file = match &self.key_file {
            Some(file) => Some((file.clone(), by_option("key-file"))),
            None => environment.get("MLES_KEY_FILE").map(|file| {
                let origin = ValueOrigin::Env("MLES_KEY_FILE".to_owned());
                (PathBuf::from(file), origin)
            }),
        };
        let mut warnings = Vec::new();
        let key = KeySources { key, file }.resolve(&mut warnings);
        for warning in warnings {
            say(format_args!("mles: WARNING: {warning}"));
        }
        Ok(key.map_err(usage)?.map(|key| key.0))
    }

    /// Returns the configuration of TLS, if TLS is asked for.
    fn tls(&self, server: &str) -> Result<Option<ClientTls>, CommandFailure> {
        let target: ServerName = server.parse().map_err(Error::from)?;
        let is_tls = self.tls || target.is_tls();
        if !is_tls {
            // Whoever gave these expects more than a connection that anyone can read.
            let without = self.insecure || self.client_cert.is_some() || self.ca.is_some();
            return if without {
                Err(CommandFailure::Usage(
                    "--ca, --insecure and --client-cert are for TLS: add --tls, or write tls:// in \
                     front of the server"
                        .to_owned(),
                ))
            } else {
                Ok(None)
            };
        }
        if self.insecure {
            say(
                "mles: WARNING: --insecure: nobody checks who the server is; whoever is on the way \
                 can read and change everything, and take the key",
            );
        }
        let mut options = ClientTlsOptions::default();
        options.ca.clone_from(&self.ca);
        options.insecure = self.insecure;
        options.cert.clone_from(&self.client_cert);
        options.key.clone_from(&self.client_key);
        let tls =
            ClientTls::new(options).map_err(|error| CommandFailure::Usage(error.to_string()))?;
        for warning in tls.warnings(SystemTime::now()) {
            say(format_args!("mles: WARNING: {warning}"));
        }
        Ok(Some(tls))
    }
}

/// Makes up a name that differs from one command to the next, so that one user's commands do not
/// clash.
fn default_uid() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.as_deref().unwrap_or("mles");
    format!("{user}-{:08x}", rand::random::<u32>())
}
